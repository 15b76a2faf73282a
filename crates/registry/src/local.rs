//! What an agent vouches for: the instances and checks declared to it, and how they are now.
//!
//! The agent is the authority for its node. What is declared here is pushed to the catalog (sync)
//! and repaired there if somebody else alters it.

use std::sync::Arc;

use muster_model::definition::CheckDefinition;
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
    /// This program's own version.
    pub version: &'static str,
}

/// What an agent vouches for now. Both lists are in the order of their ids.
#[derive(Clone, Debug, Default)]
pub struct Vouched {
    /// Instances.
    pub instances: Vec<Arc<LocalInstance>>,
    /// Checks of the node and of the instances, maintenance included.
    pub checks: Vec<Arc<LocalCheck>>,
}

impl Vouched {
    /// The instance with this id.
    pub fn instance(&self, id: &str) -> Option<&Arc<LocalInstance>> {
        let at = self.instances.binary_search_by(|own| own.instance.id.as_str().cmp(id)).ok()?;
        Some(&self.instances[at])
    }

    /// The check with this id.
    pub fn check(&self, id: &str) -> Option<&Arc<LocalCheck>> {
        let at = self.checks.binary_search_by(|own| own.check.id.as_str().cmp(id)).ok()?;
        Some(&self.checks[at])
    }

    /// The checks that decide the status of an instance: the node's and its own.
    pub fn checks_of<'a>(&'a self, instance_id: &'a str) -> impl Iterator<Item = &'a LocalCheck> {
        self.checks
            .iter()
            .map(|own| &**own)
            .filter(move |own| own.check.is_about_node() || own.check.instance_id == *instance_id)
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
    pub definition: CheckDefinition,
    /// Where its declaration came from.
    pub source: Source,
}

/// Where a declaration came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// A client asked for it; it is kept on disk.
    #[default]
    Client,
    /// A definition file; it is read again at a reload.
    File,
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
