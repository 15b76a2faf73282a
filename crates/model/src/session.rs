//! A session: the holder of locks and ephemeral pairs, bound to checks or to a lease.

use std::time::Duration;

use minicbor::{Decode, Encode};

use crate::Text;

/// The holder of locks. Ends when it is destroyed, its node is deregistered, one of its checks
/// turns critical or goes, or its lease expires.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Session {
    /// A UUID in its usual text form.
    #[n(0)]
    pub id: Text,
    /// For people; may be empty.
    #[n(1)]
    pub name: Text,
    /// The node it belongs to.
    #[n(2)]
    pub node: Text,
    /// How long a lock stays closed after a forced release.
    #[n(3)]
    pub lock_delay: Duration,
    /// What becomes of the pairs it holds when it ends.
    #[n(4)]
    pub behavior: Behavior,
    /// The duration of its lease; zero: it has none.
    #[n(5)]
    pub ttl: Duration,
    /// Ids of checks of the node that must not be critical.
    #[n(6)]
    pub node_checks: Box<[Text]>,
    /// Ids of checks of instances on the node that must not be critical.
    #[n(7)]
    pub instance_checks: Box<[Text]>,
    /// The ttl in its author's notation, for showing it; empty where only `ttl` is known.
    #[n(8)]
    #[cbor(default)]
    pub ttl_as_given: Text,
    /// Further checks of the node, which its author named where older clients do. They count as
    /// `node_checks` do.
    #[n(9)]
    #[cbor(default)]
    pub older_checks: Box<[Text]>,
}

impl Session {
    /// The ids of all checks that must not be critical.
    pub fn check_ids(&self) -> impl Iterator<Item = &Text> {
        self.older_checks.iter().chain(&self.node_checks).chain(&self.instance_checks)
    }
}

/// What becomes of the pairs that a session holds when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Behavior {
    /// Their locks are released.
    #[default]
    #[n(0)]
    Release,
    /// They are deleted: ephemeral.
    #[n(1)]
    Delete,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum SessionEnd {
    /// Its holder asked for it: no lock delay.
    #[n(0)]
    Destroyed,
    /// Its lease expired.
    #[n(1)]
    Expired,
}
