//! What an agent vouches for: the instances and checks declared to it, and how they are now.
//!
//! The agent is the authority for its node. What is declared here is pushed to the catalog (sync)
//! and repaired there if somebody else alters it.

use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;
use muster_model::definition::CheckDefinition;
pub use muster_model::definition::Source;
use muster_model::node::Locality;
use muster_model::{Check, Instance, Meta, Status, Text};
use tokio::sync::watch;

use crate::call::Secret;
use crate::{Call, Pending, Refusal};

/// What an agent vouches for.
pub trait LocalAgent: Send + Sync + 'static {
    /// Who this agent is.
    fn identity(&self) -> &Identity;

    /// What it vouches for now. The receiver wakes at every change of it.
    fn vouched(&self) -> watch::Receiver<Arc<Vouched>>;

    /// Declares an instance with its checks; ready once the catalog has it. An instance of that id
    /// is replaced; its checks that are not mentioned stay, unless `replace_checks`, and those that
    /// are mentioned keep their status.
    fn register<'a>(
        &'a self,
        call: &'a Call,
        registration: LocalRegistration,
    ) -> Pending<'a, Result<(), Refusal>>;

    /// Withdraws an instance with its checks; ready once the catalog has forgotten it.
    fn deregister<'a>(
        &'a self,
        call: &'a Call,
        instance_id: &'a Text,
    ) -> Pending<'a, Result<(), Refusal>>;

    /// Declares a check of the node or of an instance that is vouched for.
    fn register_check<'a>(
        &'a self,
        call: &'a Call,
        check: LocalCheckRegistration,
    ) -> Pending<'a, Result<(), Refusal>>;

    /// Withdraws a check.
    fn deregister_check<'a>(
        &'a self,
        call: &'a Call,
        check_id: &'a Text,
    ) -> Pending<'a, Result<(), Refusal>>;

    /// A word on a TTL check: it holds for the check's ttl.
    fn renew_check<'a>(
        &'a self,
        call: &'a Call,
        check_id: &'a Text,
        status: Status,
        output: Text,
    ) -> Pending<'a, Result<(), Refusal>>;

    /// The times of a check that is vouched for; nothing where it is not.
    fn check_times(&self, check_id: &str) -> Option<CheckTimes>;

    /// Switches the node (`instance_id` nothing) or an instance off with a reason, or on again.
    fn maintain<'a>(
        &'a self,
        call: &'a Call,
        instance_id: Option<&'a Text>,
        off: Option<Text>,
    ) -> Pending<'a, Result<(), Refusal>>;

    /// Fires a user event; gives it with its id and Lamport time.
    fn fire<'a>(
        &'a self,
        call: &'a Call,
        event: NewEvent,
    ) -> Pending<'a, Result<Arc<Event>, Refusal>>;

    /// The user events seen last, oldest first, at most [`EVENTS_KEPT`]. Wakes at each new one.
    fn events(&self) -> watch::Receiver<Arc<[Arc<Event>]>>;
}

/// User events that an agent keeps.
pub const EVENTS_KEPT: usize = 256;

/// Who an agent is.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The name of its node.
    pub node: Text,
    /// The id of its node, a UUID in its usual text form.
    pub node_id: Text,
    /// Its datacenter.
    pub datacenter: Text,
    /// The datacenter that leads the others in what is replicated between them.
    pub primary_datacenter: Text,
    /// Whether it is a server.
    pub is_server: bool,
    /// The address under which others reach its node.
    pub address: Text,
    /// Addresses of its node by purpose.
    pub tagged_addresses: Meta,
    /// Facts about its node.
    pub node_meta: Meta,
    /// Where its node stands.
    pub locality: Option<Locality>,
    /// This program's own version.
    pub version: &'static str,
}

/// What an agent vouches for now. Persistent maps: a snapshot costs a pointer, a change the path to
/// it, however many instances there are.
#[derive(Clone, Debug, Default)]
pub struct Vouched {
    instances: OrdMap<Text, Arc<LocalInstance>>,
    checks: OrdMap<Text, Arc<LocalCheck>>,
    /// The same checks, by the instance they are about (empty: the node) and their id.
    by_subject: OrdMap<(Text, Text), Arc<LocalCheck>>,
}

impl Vouched {
    /// The instances, in the order of their ids.
    pub fn instances(&self) -> impl Iterator<Item = &Arc<LocalInstance>> {
        self.instances.values()
    }

    /// The checks of the node and of the instances, maintenance included, in the order of their
    /// ids.
    pub fn checks(&self) -> impl Iterator<Item = &Arc<LocalCheck>> {
        self.checks.values()
    }

    /// How many instances there are.
    pub fn n_instances(&self) -> usize {
        self.instances.len()
    }

    /// How many checks there are.
    pub fn n_checks(&self) -> usize {
        self.checks.len()
    }

    /// The instance with this id.
    pub fn instance(&self, id: &str) -> Option<&Arc<LocalInstance>> {
        self.instances.get(id)
    }

    /// The check with this id.
    pub fn check(&self, id: &str) -> Option<&Arc<LocalCheck>> {
        self.checks.get(id)
    }

    /// The checks that decide the status of an instance: the node's, then its own.
    pub fn checks_of(&self, instance_id: &str) -> impl Iterator<Item = &Arc<LocalCheck>> {
        self.checks_about("").chain(self.checks_about(instance_id))
    }

    /// The checks about one instance (empty: about the node), in the order of their ids.
    pub fn checks_about(&self, instance_id: &str) -> impl Iterator<Item = &Arc<LocalCheck>> {
        let subject = Text::from(instance_id);
        self.by_subject
            .range((subject.clone(), Text::default())..)
            .take_while(move |((own, _), _)| *own == subject)
            .map(|(_, check)| check)
    }

    /// Adds an instance, or replaces the one with its id. Its checks are not touched.
    pub fn put_instance(&mut self, instance: LocalInstance) {
        self.instances.insert(instance.instance.id.clone(), Arc::new(instance));
    }

    /// Takes an instance out. Its checks are not touched.
    pub fn remove_instance(&mut self, id: &str) {
        self.instances.remove(id);
    }

    /// Adds a check, or replaces the one with its id.
    pub fn put_check(&mut self, check: LocalCheck) {
        self.remove_check(&check.check.id);
        let check = Arc::new(check);
        let subject = (check.check.instance_id.clone(), check.check.id.clone());
        self.by_subject.insert(subject, check.clone());
        self.checks.insert(check.check.id.clone(), check);
    }

    /// Takes a check out.
    pub fn remove_check(&mut self, id: &str) {
        if let Some(gone) = self.checks.remove(id) {
            let subject = (gone.check.instance_id.clone(), gone.check.id.clone());
            self.by_subject.remove(&subject);
        }
    }
}

/// An instance that is vouched for.
#[derive(Clone, Debug, Default)]
pub struct LocalInstance {
    /// The instance.
    pub instance: Instance,
    /// Where its declaration came from.
    pub source: Source,
}

/// A check that is vouched for, as it is now.
#[derive(Clone, Debug, Default)]
pub struct LocalCheck {
    /// Its present word.
    pub check: Check,
    /// The rule by which it is run.
    pub definition: Arc<CheckDefinition>,
    /// Where its declaration came from.
    pub source: Source,
}

/// The times of a check, as the agent that runs it knows them: in its memory alone. Each is nothing
/// where there is no such time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckTimes {
    /// How long it has had its status.
    pub status_for: Option<Duration>,
    /// How long ago it was last heard of, whatever that came to.
    pub heard_ago: Option<Duration>,
    /// After how long its word no longer holds, if nobody renews it.
    pub expires_after: Option<Duration>,
    /// After how long its instance is deregistered, if it stays critical.
    pub deregisters_after: Option<Duration>,
}

/// The declaration of an instance.
#[derive(Clone, Debug, Default)]
pub struct LocalRegistration {
    /// The instance.
    pub instance: Instance,
    /// Its checks.
    pub checks: Vec<LocalCheckRegistration>,
    /// Whether its checks that are not mentioned go.
    pub replace_checks: bool,
    /// The token to write it to the catalog with; empty: the caller's.
    pub token: Secret,
    /// Where it came from.
    pub source: Source,
}

/// The declaration of a check.
#[derive(Clone, Debug, Default)]
pub struct LocalCheckRegistration {
    /// The check with its first status. An empty id is chosen by the agent.
    pub check: Check,
    /// The rule by which it is run.
    pub definition: CheckDefinition,
    /// The token to write it to the catalog with; empty: the caller's.
    pub token: Secret,
    /// Where it came from.
    pub source: Source,
}

/// A user event to be fired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewEvent {
    /// Its name.
    pub name: Text,
    /// What it carries; small.
    pub payload: bytes::Bytes,
    /// A regular expression that the names of the nodes concerned fit; empty: all.
    pub node_filter: Text,
    /// Likewise for a service on the node.
    pub service_filter: Text,
    /// Likewise for a tag of that service.
    pub tag_filter: Text,
}

/// A user event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// A UUID in its usual text form.
    pub id: Text,
    /// What was fired.
    pub fired: NewEvent,
    /// Its Lamport time.
    pub lamport_time: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &str, instance_id: &str) -> LocalCheck {
        let check = Check { id: id.into(), instance_id: instance_id.into(), ..Check::default() };
        LocalCheck { check, ..LocalCheck::default() }
    }

    #[test]
    fn checks_of_an_instance_are_the_nodes_and_its_own() {
        let mut vouched = Vouched::default();
        for (id, instance_id) in [("a", "web"), ("b", ""), ("c", "web-2"), ("d", "web")] {
            vouched.put_check(check(id, instance_id));
        }
        let of_web: Vec<_> = vouched.checks_of("web").map(|own| own.check.id.as_str()).collect();
        assert_eq!(of_web, ["b", "a", "d"]);
        vouched.put_check(check("a", "web-2"));
        vouched.remove_check("d");
        assert_eq!(vouched.checks_about("web").count(), 0);
        assert_eq!((vouched.checks_about("web-2").count(), vouched.n_checks()), (2, 3));
    }
}
