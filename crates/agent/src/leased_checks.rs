//! Checks of instances that live by a lease: no agent stands beside these, so the leader runs what
//! they ask for.
//!
//! Which there are is in the state, with their definitions; what a run finds is written there if it
//! is news. A new leader begins anew: it runs each at once, and counts its results from the first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use muster_health::Moment;
use muster_health::check::{Heard, Observation, Pulse};
use muster_model::answer::Row;
use muster_model::command::{ObjectVerb, Operation};
use muster_model::definition::{CheckDefinition, Source};
use muster_model::scope::{ChangeKind, Object};
use muster_model::{Check, Command, Scope, Text};
use muster_registry::Changes;
use muster_registry::hub::Lost;
use muster_registry::local::Vouched;
use muster_state::State;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::warn;

use crate::agent::Agent;
use crate::checks::{CheckTerms, Runner};

/// What is written at once.
const COMMANDS_MAX: usize = 128;
/// Results that may wait to be taken in.
const OBSERVED_MAX: usize = 1_024;
/// The pause after a write that was refused, which is mostly a leader that is one no more.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A check: its node, folded, the instance that it is about, and its id.
type Place = (Text, Text, Text);

/// The checks that this leader runs.
struct Examiner<'a> {
    agent: &'a Agent,
    term: u64,
    runner: Runner,
    terms: CheckTerms,
    known: BTreeMap<Place, Examined>,
    chance: SmallRng,
    started_at: Instant,
}

/// One of them.
struct Examined {
    definition: Arc<CheckDefinition>,
    pulse: Pulse,
}

/// Runs the checks for as long as this server leads in `term`.
pub(crate) async fn run(agent: &Arc<Agent>, term: u64) {
    loop {
        let hub = &agent.shared.hub;
        let mut changes = hub.changes(&[Scope::Leases], hub.published());
        let (observed, mut results) = mpsc::channel(OBSERVED_MAX);
        let mut examiner = Examiner::take_over(agent, term, observed);
        let Lost = examiner.follow(&mut changes, &mut results).await;
    }
}

impl<'a> Examiner<'a> {
    fn take_over(
        agent: &'a Arc<Agent>,
        term: u64,
        observed: mpsc::Sender<(Text, Observation)>,
    ) -> Examiner<'a> {
        let terms = CheckTerms::default();
        // Only alias checks look at these, and they come with an agent.
        let vouched = watch::channel(Arc::new(Vouched::default())).1;
        let node = agent.setup.identity.node.clone();
        let (world, registry) = (agent.world.clone(), agent.clone());
        let runner = Runner::new(world, registry, terms.clone(), node, vouched, observed);
        let mut examiner = Examiner {
            agent,
            term,
            runner,
            terms,
            known: BTreeMap::new(),
            chance: SmallRng::from_seed(agent.world.seed()),
            started_at: Instant::now(),
        };
        let state = agent.shared.state.load();
        for (node, instance) in state.leased_instances() {
            examiner.look_at(&state, node, &instance.id);
        }
        examiner
    }

    async fn follow(
        &mut self,
        changes: &mut Changes,
        results: &mut mpsc::Receiver<(Text, Observation)>,
    ) -> Lost {
        let mut heard = Vec::new();
        loop {
            tokio::select! {
                batch = changes.next() => match batch {
                    Ok((_, objects)) => self.changed(&objects),
                    Err(lost) => return lost,
                },
                _ = results.recv_many(&mut heard, COMMANDS_MAX) => {
                    let commands: Vec<Command> = heard
                        .drain(..)
                        .filter_map(|(key, observation)| self.news_of(&key, observation))
                        .collect();
                    self.write(commands).await;
                }
            }
        }
    }

    fn changed(&mut self, objects: &[(Object, ChangeKind)]) {
        let state = self.agent.shared.state.load();
        for (object, _) in objects {
            if let Object::Instance { node, id, .. } = object {
                self.look_at(&state, &node.folded(), id);
            }
        }
    }

    /// Runs what an instance asks for now, and no longer what it asked for before.
    fn look_at(&mut self, state: &State, node: &Text, instance_id: &Text) {
        let asked: Vec<&Row<Check>> = state.leased_checks(node, instance_id).collect();
        let first = (node.clone(), instance_id.clone(), Text::default());
        let own = self.known.range(first..).map(|(place, _)| place);
        let own = own.take_while(|place| place.0 == *node && place.1 == *instance_id);
        let is_gone = |place: &&Place| !asked.iter().any(|check| check.id == place.2);
        let gone: Vec<Place> = own.filter(is_gone).cloned().collect();
        for place in gone {
            self.known.remove(&place);
            self.runner.set(key_of(&place), None);
        }
        for check in asked {
            self.examine((node.clone(), instance_id.clone(), check.id.clone()), check);
        }
    }

    fn examine(&mut self, place: Place, check: &Check) {
        let Some(definition) = &check.extras().definition else { return };
        if self.known.get(&place).is_some_and(|known| *known.definition == **definition) {
            return;
        }
        let definition = Arc::new(CheckDefinition::clone(definition));
        let pulse = Pulse::new(&definition, self.now());
        self.runner.set(key_of(&place), Some((definition.clone(), Source::Client)));
        self.known.insert(place, Examined { definition, pulse });
    }

    /// Takes a result in; gives what is to be written if it is news.
    fn news_of(&mut self, key: &str, observation: Observation) -> Option<Command> {
        let mut parts = key.splitn(3, SEPARATOR).map(Text::from);
        let (place, now) = ((parts.next()?, parts.next()?, parts.next()?), self.now());
        let known = self.known.get_mut(&place)?;
        let row = self.agent.shared.state.load().check(&place.0, &place.2).cloned()?;
        let mut check = Check::clone(&row.value);
        let at = (now, &mut self.chance);
        let settings = &self.terms.settings;
        let is_news =
            match known.pulse.observe(&mut check, &known.definition, settings, observation, at) {
                Heard::Nothing => false,
                Heard::Status => true,
                // Critical from the first run on is news too: until then nothing was known.
                Heard::Output => row.output.is_empty() || known.pulse.take_due_output(now),
            };
        is_news.then(|| {
            // Who writes it before us has a reason: the next result is compared with that.
            let verb = ObjectVerb::PutIfIndex(row.modify_index);
            let operations = vec![Operation::Check { verb, node: place.0, check }];
            Command::Transact { operations }
        })
    }

    async fn write(&self, commands: Vec<Command>) {
        if commands.is_empty() {
            return;
        }
        let written = self.agent.submit_as_leader(Command::Batch { commands }, self.term).await;
        if let Err(refusal) = written {
            warn!(%refusal, "what checks found could not be written; their next results will be");
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    fn now(&self) -> Moment {
        Moment::after_start(self.started_at.elapsed())
    }
}

/// Between the parts of a key; names and ids have no control characters.
const SEPARATOR: char = '\n';

/// How the runner knows a check.
fn key_of((node, instance_id, id): &Place) -> Text {
    format!("{node}{SEPARATOR}{instance_id}{SEPARATOR}{id}").into()
}
