//! What an agent vouches for: its instances, their checks, its own checks and maintenance.
//!
//! Declarations, observations and the passing of time go in. Out come [`LocalChange`]s, for whoever
//! shows, saves and runs what is vouched for, and marks in the [`Ledger`], from which `sync` makes
//! the commands that tell the catalog.
//!
//! The cost of each verb depends on what it touches, never on how much is vouched for besides: an
//! agent with thousands of instances registers the next one as cheaply as the first.

mod hear;
mod reload;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_model::check::{INSTANCE_MAINTENANCE_PREFIX, NODE_MAINTENANCE_ID};
use muster_model::command::Target;
use muster_model::definition::{CheckDefinition, Source};
use muster_model::{Check, Instance, Status, Text};
use rand::rngs::SmallRng;

use crate::Moment;
use crate::check::{Pulse, Settings};
use crate::ledger::Ledger;

pub use reload::FileDeclarations;

/// Instances that one agent vouches for.
pub const INSTANCES_MAX: usize = 65_536;
/// Checks that one agent vouches for.
pub const CHECKS_MAX: usize = 131_072;

/// What an agent vouches for.
#[derive(Debug)]
pub struct Local {
    pub(crate) instances: BTreeMap<Text, OwnInstance>,
    pub(crate) checks: BTreeMap<Text, OwnCheck>,
    pub(crate) ledger: Ledger,
    pub(crate) changes: Vec<LocalChange>,
    /// The checks again, by the instance they are about (empty: the node).
    by_subject: BTreeSet<(Text, Text)>,
    /// At most one for each check, never later than its next deadline.
    alarms: BTreeSet<(Moment, Text)>,
    settings: Settings,
    pub(crate) chance: SmallRng,
}

/// An instance that is vouched for.
#[derive(Clone, Debug)]
pub struct OwnInstance {
    /// The instance.
    pub instance: Instance,
    /// Where its declaration came from.
    pub source: Source,
}

/// A check that is vouched for, as it is now.
#[derive(Clone, Debug)]
pub struct OwnCheck {
    /// Its present word.
    pub check: Check,
    /// How it is run. The same pointer as long as it stays the same rule.
    pub definition: Arc<CheckDefinition>,
    /// Where its declaration came from.
    pub source: Source,
    pub(crate) pulse: Pulse,
    /// Whether an observation was heard since this process began with it.
    pub(crate) is_heard: bool,
    /// Whether the catalog is known to have it, so that a new word is enough.
    pub(crate) is_in_catalog: bool,
    alarm_at: Option<Moment>,
}

/// Something that whoever shows, saves or runs what is vouched for has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalChange {
    /// It was declared, perhaps anew.
    Declared(Target),
    /// It is no longer vouched for.
    Withdrawn(Target),
    /// Its present word is another.
    Heard(Target),
}

/// The declaration of an instance.
#[derive(Clone, Debug, Default)]
pub struct InstanceDeclaration {
    /// The instance.
    pub instance: Instance,
    /// Its checks. One without an id is given one.
    pub checks: Vec<CheckDeclaration>,
    /// Whether its checks that are not mentioned go.
    pub replace_checks: bool,
    /// Where it came from.
    pub source: Source,
}

/// The declaration of a check.
#[derive(Clone, Debug, Default)]
pub struct CheckDeclaration {
    /// The check with its first status.
    pub check: Check,
    /// How it is run.
    pub definition: CheckDefinition,
    /// Where it came from.
    pub source: Source,
}

/// Why a wish does not fit what is vouched for. Nothing was touched; the caller must change it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// No such instance.
    #[error("this agent vouches for no instance with id {0:?}")]
    UnknownInstance(Text),
    /// No such check.
    #[error("this agent vouches for no check with id {0:?}")]
    UnknownCheck(Text),
    /// The check is run by the agent, or by nobody: it takes no word from a caller.
    #[error("check {0:?} has no ttl: only a TTL check can be renewed")]
    NotTtl(Text),
    /// A name that must not be empty.
    #[error("{0} must have a name or an id")]
    Nameless(&'static str),
    /// A bound was reached.
    #[error("this agent vouches for {n_max} {what} already; deregister some first")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        n_max: usize,
    },
}

// ------------------------------------------------------------------------------------------------
// Declaring and withdrawing
// ------------------------------------------------------------------------------------------------

impl Local {
    /// Vouches for nothing yet.
    pub fn new(settings: Settings, chance: SmallRng) -> Local {
        Local {
            instances: BTreeMap::new(),
            checks: BTreeMap::new(),
            ledger: Ledger::default(),
            changes: Vec::new(),
            by_subject: BTreeSet::new(),
            alarms: BTreeSet::new(),
            settings,
            chance,
        }
    }

    /// Declares an instance with its checks. Checks of it that are not mentioned stay, unless they
    /// are to be replaced; those that are mentioned keep their status.
    pub fn declare_instance(
        &mut self,
        mut declaration: InstanceDeclaration,
        now: Moment,
    ) -> Result<(), Unfit> {
        declaration.name();
        let InstanceDeclaration { instance, checks, replace_checks, source } = declaration;
        let id = instance.id.clone();
        if id.is_empty() {
            return Err(Unfit::Nameless("an instance"));
        }
        self.require_room(&id, checks.len())?;
        if replace_checks {
            self.withdraw_checks_but(&id, &checks);
        }
        self.instances.insert(id.clone(), OwnInstance { instance, source });
        self.declared(Target::Instance(id));
        for check in checks {
            self.put_check(check, now);
        }
        Ok(())
    }

    /// Declares a check of the node or of an instance that is vouched for.
    pub fn declare_check(
        &mut self,
        mut declaration: CheckDeclaration,
        now: Moment,
    ) -> Result<Text, Unfit> {
        declaration.name();
        let check = &declaration.check;
        if check.id.is_empty() {
            return Err(Unfit::Nameless("a check"));
        }
        if !check.is_about_node() && !self.instances.contains_key(&check.instance_id) {
            return Err(Unfit::UnknownInstance(check.instance_id.clone()));
        }
        if !self.checks.contains_key(&check.id) && self.checks.len() >= CHECKS_MAX {
            return Err(Unfit::TooMany { what: "checks", n_max: CHECKS_MAX });
        }
        let id = check.id.clone();
        self.put_check(declaration, now);
        Ok(id)
    }

    /// Withdraws an instance with its checks.
    pub fn withdraw_instance(&mut self, id: &Text) -> Result<(), Unfit> {
        if self.instances.remove(id).is_none() {
            return Err(Unfit::UnknownInstance(id.clone()));
        }
        // The instance goes first, and takes its checks in the catalog along.
        self.withdrawn(Target::Instance(id.clone()));
        for check_id in self.check_ids_about(id) {
            self.remove_check(&check_id);
        }
        Ok(())
    }

    /// Withdraws a check.
    pub fn withdraw_check(&mut self, id: &Text) -> Result<(), Unfit> {
        match self.checks.contains_key(id) {
            true => self.remove_check(id),
            false => return Err(Unfit::UnknownCheck(id.clone())),
        }
        Ok(())
    }

    /// Switches the node (`instance_id` nothing) or an instance off with a reason, or on again.
    /// What is so already stays as it is. Gives the id of the check that stands for it.
    pub fn maintain(
        &mut self,
        instance_id: Option<&Text>,
        off: Option<Text>,
        now: Moment,
    ) -> Result<Text, Unfit> {
        if let Some(id) = instance_id
            && !self.instances.contains_key(id)
        {
            return Err(Unfit::UnknownInstance(id.clone()));
        }
        let check = maintenance_check(instance_id, off.clone().unwrap_or_default());
        let id = check.id.clone();
        match (off, self.checks.contains_key(&id)) {
            (Some(_), false) => {
                let declaration = CheckDeclaration { check, ..CheckDeclaration::default() };
                self.put_check(declaration, now);
            }
            (None, true) => self.remove_check(&id),
            _ => {}
        }
        Ok(id)
    }

    /// What changed since this was asked last, in the order it happened.
    pub fn take_changes(&mut self) -> Vec<LocalChange> {
        std::mem::take(&mut self.changes)
    }

    /// The instance with this id.
    pub fn instance(&self, id: &str) -> Option<&OwnInstance> {
        self.instances.get(id)
    }

    /// The check with this id.
    pub fn check(&self, id: &str) -> Option<&OwnCheck> {
        self.checks.get(id)
    }

    /// The ids of the checks about one instance (empty: about the node).
    pub fn check_ids_about(&self, instance_id: &str) -> Vec<Text> {
        let subject = Text::from(instance_id);
        self.by_subject
            .range((subject.clone(), Text::default())..)
            .take_while(|(own, _)| *own == subject)
            .map(|(_, id)| id.clone())
            .collect()
    }

    /// The worst status of an instance and of its node; nothing where it is not vouched for.
    pub fn status_of(&self, instance_id: &str) -> Option<Status> {
        self.instances.get(instance_id)?;
        let about = |subject: &str| self.check_ids_about(subject);
        let all = about("").into_iter().chain(about(instance_id));
        let worst = all.filter_map(|id| Some(self.checks.get(&id)?.check.status)).max();
        Some(worst.unwrap_or(Status::Passing))
    }

    /// The number under which the catalog will be told of a target; nothing where it need not be.
    pub fn untold(&self, target: &Target) -> Option<u64> {
        self.ledger.number_of(target)
    }

    /// Other bounds for observations from now on.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    fn require_room(&self, id: &Text, n_checks: usize) -> Result<(), Unfit> {
        if !self.instances.contains_key(id) && self.instances.len() >= INSTANCES_MAX {
            return Err(Unfit::TooMany { what: "instances", n_max: INSTANCES_MAX });
        }
        if self.checks.len() + n_checks > CHECKS_MAX {
            return Err(Unfit::TooMany { what: "checks", n_max: CHECKS_MAX });
        }
        Ok(())
    }

    fn withdraw_checks_but(&mut self, instance_id: &Text, kept: &[CheckDeclaration]) {
        for id in self.check_ids_about(instance_id) {
            let is_kept = kept.iter().any(|own| own.check.id == id)
                || self.checks.get(&id).is_some_and(|own| own.check.is_maintenance());
            if !is_kept {
                self.remove_check(&id);
            }
        }
    }

    /// Adds or replaces a check that fits.
    fn put_check(&mut self, declaration: CheckDeclaration, now: Moment) {
        let CheckDeclaration { mut check, definition, source } = declaration;
        let id = check.id.clone();
        if check.kind.is_empty() {
            check.kind = definition.rule.kind().into();
        }
        let earlier = self.take_check(&id);
        let mut own = OwnCheck {
            pulse: Pulse::new(&definition, now),
            check,
            definition: Arc::new(definition),
            source,
            is_heard: false,
            is_in_catalog: false,
            alarm_at: None,
        };
        if let Some(earlier) = earlier {
            own.keep_from(earlier);
        }
        self.by_subject.insert((own.check.instance_id.clone(), id.clone()));
        self.checks.insert(id.clone(), own);
        self.set_alarm(&id);
        self.declared(Target::Check(id));
    }

    fn remove_check(&mut self, id: &Text) {
        if self.take_check(id).is_some() {
            self.withdrawn(Target::Check(id.clone()));
        }
    }

    fn take_check(&mut self, id: &Text) -> Option<OwnCheck> {
        let own = self.checks.remove(id)?;
        self.by_subject.remove(&(own.check.instance_id.clone(), id.clone()));
        if let Some(alarm_at) = own.alarm_at {
            self.alarms.remove(&(alarm_at, id.clone()));
        }
        Some(own)
    }

    fn declared(&mut self, target: Target) {
        self.ledger.mark(target.clone());
        self.changes.push(LocalChange::Declared(target));
    }

    fn withdrawn(&mut self, target: Target) {
        self.ledger.mark(target.clone());
        self.changes.push(LocalChange::Withdrawn(target));
    }
}

impl OwnCheck {
    /// A check that is declared anew keeps its word, and its counters as long as the rule is the
    /// same. A TTL check has a whole ttl again.
    fn keep_from(&mut self, earlier: OwnCheck) {
        self.check.status = earlier.check.status;
        self.check.output = earlier.check.output;
        self.pulse = self.pulse.clone().following(&earlier.pulse);
        if self.definition != earlier.definition {
            return;
        }
        self.definition = earlier.definition;
        self.is_heard = earlier.is_heard;
        if self.pulse.expires_at().is_none() {
            self.pulse = earlier.pulse;
        }
    }

    /// What is remembered of it between its observations.
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }
}

impl InstanceDeclaration {
    /// Gives ids and names to the instance and its checks that have none, and ties them together.
    /// Declaring does it too; here for those who have to know the ids before.
    pub fn name(&mut self) {
        let InstanceDeclaration { instance, checks, .. } = self;
        if instance.id.is_empty() {
            instance.id = instance.service.clone();
        }
        let n_checks = checks.len();
        for (number, CheckDeclaration { check, .. }) in checks.iter_mut().enumerate() {
            check.instance_id = instance.id.clone();
            if check.id.is_empty() {
                check.id = match n_checks {
                    1 => format!("service:{}", instance.id).into(),
                    _ => format!("service:{}:{}", instance.id, number + 1).into(),
                };
            }
            if check.name.is_empty() {
                check.name = format!("Service '{}' check", instance.service).into();
            }
        }
    }
}

impl CheckDeclaration {
    /// Gives the check an id if it has none.
    pub fn name(&mut self) {
        if self.check.id.is_empty() {
            self.check.id = self.check.name.clone();
        }
    }
}

fn maintenance_check(instance_id: Option<&Text>, reason: Text) -> Check {
    let (id, name, what) = match instance_id {
        None => (NODE_MAINTENANCE_ID.into(), "Node Maintenance Mode", "node"),
        Some(id) => {
            let id = format!("{INSTANCE_MAINTENANCE_PREFIX}{id}");
            (Text::from(id), "Service Maintenance Mode", "service")
        }
    };
    let notes = match reason.is_empty() {
        true => format!(
            "Maintenance mode is enabled for this {what}, but no reason was provided. \
             This is a default message."
        )
        .into(),
        false => reason,
    };
    Check {
        id,
        name: name.into(),
        status: Status::Critical,
        notes,
        instance_id: instance_id.cloned().unwrap_or_default(),
        kind: "maintenance".into(),
        ..Check::default()
    }
}

#[cfg(test)]
mod tests;
