//! What stands under the one short lock: the memory of the rules, the snapshot made from it, and
//! who waits for the catalog to be told.
//!
//! [`Core::absorb`] is the only place where a change of the rules' memory becomes visible outside:
//! it alters the snapshot, and gives what has to be saved and run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use muster_health::ledger::Taken;
use muster_health::local::LocalChange;
use muster_health::sync::Settlement;
use muster_health::{Local, Moment};
use muster_model::Text;
use muster_model::command::Target;
use muster_model::definition::{CheckDefinition, Rule, Source};
use muster_registry::Refusal;
use muster_registry::call::Secret;
use muster_registry::local::{LocalCheck, LocalInstance, Vouched};
use tokio::sync::oneshot;

use super::saved::{Record, Saved, SavedCheck, SavedInstance, SavedWord};

/// The memory under the lock.
pub(super) struct Core {
    pub(super) local: Local,
    pub(super) vouched: Vouched,
    /// Tokens other than the agent's own, by what is written with them.
    tokens: BTreeMap<Target, Secret>,
    waiting: BTreeMap<Target, Vec<(u64, oneshot::Sender<Told>)>>,
    /// Until when the saved word on each TTL check holds.
    words_saved: BTreeMap<Text, Moment>,
}

/// What the catalog said to something it was told.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// It has it.
    Granted,
    /// It does not take it.
    Denied(Refusal),
    /// It could not be reached. It will be told again.
    Undecided(Refusal),
}

/// A check to be run by a rule from now on, or no longer.
pub(super) type Run = (Text, Option<(Arc<CheckDefinition>, Source)>);

/// What follows from changes of the memory.
#[derive(Default)]
pub(super) struct Effects {
    /// To be saved, in this order.
    pub(super) records: Vec<Record>,
    /// Checks to be run by a rule from now on, or no longer.
    pub(super) runs: Vec<Run>,
    /// Whether the snapshot is another.
    pub(super) has_changed: bool,
}

impl Core {
    pub(super) fn new(local: Local) -> Core {
        Core {
            local,
            vouched: Vouched::default(),
            tokens: BTreeMap::new(),
            waiting: BTreeMap::new(),
            words_saved: BTreeMap::new(),
        }
    }

    /// Remembers with which token a target is written. Before it is declared.
    pub(super) fn set_token(&mut self, target: Target, token: Secret) {
        match token.reveal().is_empty() {
            true => self.tokens.remove(&target),
            false => self.tokens.insert(target, token),
        };
    }

    /// The token to write a target with; empty: the agent's own.
    pub(super) fn token_of(&self, target: &Target) -> Secret {
        self.tokens.get(target).cloned().unwrap_or_default()
    }

    /// Takes the changes of the rules' memory over into the snapshot.
    pub(super) fn absorb(&mut self) -> Effects {
        let mut effects = Effects::default();
        for change in self.local.take_changes() {
            effects.has_changed = true;
            match change {
                LocalChange::Declared(Target::Instance(id)) => {
                    self.declared_instance(&id, &mut effects);
                }
                LocalChange::Declared(Target::Check(id)) => self.declared_check(&id, &mut effects),
                LocalChange::Withdrawn(target) => self.withdrawn(target, &mut effects),
                LocalChange::Heard(Target::Instance(id)) => self.show_instance(&id),
                LocalChange::Heard(Target::Check(id)) => self.show_check(&id),
                LocalChange::Declared(Target::Node) | LocalChange::Heard(Target::Node) => {}
            }
        }
        effects
    }

    /// Takes over what was read from disk, which need not be saved again.
    pub(super) fn absorb_restored(&mut self) -> Vec<Run> {
        self.absorb().runs
    }

    /// A record of the word on a TTL check, if the one saved says something else or will soon no
    /// longer hold.
    pub(super) fn word_everything_saved(
        &mut self,
        check_id: &Text,
        is_news: bool,
        now: Moment,
        wall_clock: Duration,
    ) -> Option<Record> {
        let own = self.local.check(check_id)?;
        let Rule::Ttl { ttl } = own.definition.rule else { return None };
        let holds_until = own.pulse().expires_at()?;
        let saved = self.words_saved.get(check_id);
        if !is_news && saved.is_some_and(|saved| holds_until.since(*saved) < ttl / 2) {
            return None;
        }
        self.words_saved.insert(check_id.clone(), holds_until);
        Some(Record::Word(SavedWord {
            check_id: check_id.clone(),
            status: own.check.status,
            output: own.check.output.clone(),
            holds_until: wall_clock + holds_until.since(now),
        }))
    }

    /// Waits until the catalog has been told of a target as it is now; nothing where it knows.
    pub(super) fn wait_for(&mut self, target: Target) -> Option<oneshot::Receiver<Told>> {
        let number = self.local.untold(&target)?;
        let (told, waiting) = oneshot::channel();
        self.waiting.entry(target).or_default().push((number, told));
        Some(waiting)
    }

    /// What became of a wish: settles it, and answers those who waited for it.
    pub(super) fn settle(&mut self, taken: &[Taken], told: &Told) {
        let settlement = match told {
            Told::Granted => Settlement::Granted,
            Told::Denied(_) => Settlement::Denied,
            Told::Undecided(_) => Settlement::Undecided,
        };
        self.local.settle(taken, settlement);
        for Taken { target, number } in taken {
            let Some(mut waiting) = self.waiting.remove(target) else { continue };
            for (_, waiter) in waiting.extract_if(.., |(own, _)| *own <= *number) {
                // Whoever waited may have gone.
                let _ = waiter.send(told.clone());
            }
            if !waiting.is_empty() {
                self.waiting.insert(target.clone(), waiting);
            }
        }
    }

    /// Everything that has to outlive the process. Words on TTL checks follow with their next
    /// renewal.
    pub(super) fn everything_saved(&mut self) -> Saved {
        self.words_saved.clear();
        let mut saved = Saved::default();
        for own in self.vouched.instances().filter(|own| own.source == Source::Client) {
            saved.fold(self.instance_record(own));
        }
        for own in self.vouched.checks().filter(|own| own.source == Source::Client) {
            saved.fold(self.check_record(own));
        }
        saved
    }

    fn declared_instance(&mut self, id: &Text, effects: &mut Effects) {
        let was_saved = self.vouched.instance(id).is_some_and(|own| own.source == Source::Client);
        self.show_instance(id);
        let Some(own) = self.vouched.instance(id) else { return };
        match own.source {
            Source::Client => effects.records.push(self.instance_record(own)),
            Source::File if was_saved => {
                effects.records.push(Record::Withdrawn(Target::Instance(id.clone())));
            }
            Source::File => {}
        }
    }

    fn declared_check(&mut self, id: &Text, effects: &mut Effects) {
        let earlier = self.vouched.check(id).cloned();
        self.show_check(id);
        let Some(own) = self.vouched.check(id) else { return };
        let was_saved = earlier.as_ref().is_some_and(|own| own.source == Source::Client);
        match own.source {
            Source::Client => effects.records.push(self.check_record(own)),
            Source::File if was_saved => {
                effects.records.push(Record::Withdrawn(Target::Check(id.clone())));
            }
            Source::File => {}
        }
        let is_same = |own: &LocalCheck, earlier: &LocalCheck| {
            Arc::ptr_eq(&own.definition, &earlier.definition)
                && own.check.instance_id == earlier.check.instance_id
                && own.source == earlier.source
        };
        if !earlier.is_some_and(|earlier| is_same(own, &earlier)) {
            effects.runs.push((id.clone(), Some((own.definition.clone(), own.source))));
        }
    }

    fn withdrawn(&mut self, target: Target, effects: &mut Effects) {
        match &target {
            Target::Instance(id) => self.vouched.remove_instance(id),
            Target::Check(id) => {
                self.vouched.remove_check(id);
                self.words_saved.remove(id);
                effects.runs.push((id.clone(), None));
            }
            Target::Node => return,
        }
        self.tokens.remove(&target);
        effects.records.push(Record::Withdrawn(target));
    }

    fn show_instance(&mut self, id: &Text) {
        if let Some(own) = self.local.instance(id) {
            let (instance, source) = (own.instance.clone(), own.source);
            self.vouched.put_instance(LocalInstance { instance, source });
        }
    }

    fn show_check(&mut self, id: &Text) {
        if let Some(own) = self.local.check(id) {
            self.vouched.put_check(LocalCheck {
                check: own.check.clone(),
                definition: own.definition.clone(),
                source: own.source,
            });
        }
    }

    fn instance_record(&self, own: &LocalInstance) -> Record {
        let token = self.token_of(&Target::Instance(own.instance.id.clone()));
        let (instance, token) = (own.instance.clone(), token.reveal().clone());
        Record::Instance(SavedInstance { instance, token })
    }

    fn check_record(&self, own: &LocalCheck) -> Record {
        let token = self.token_of(&Target::Check(own.check.id.clone())).reveal().clone();
        let definition = CheckDefinition::clone(&own.definition);
        Record::Check(SavedCheck { check: own.check.clone(), definition, token })
    }
}
