//! An outcome: what a command came to, the same on every replica.
//!
//! A term that was not met, a session that is gone: these are results of applying the command, not
//! failures of the machine that applied it, so they stand here and not among the refusals of the
//! door.

use minicbor::{Decode, Encode};

use crate::flat::{self, Flat};
use crate::{Check, Indexed, Instance, Node, Pair, Text};

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    /// Done, or there was nothing to do.
    #[n(0)]
    Done,
    /// The terms were not met (another index, another holder); nothing was written.
    #[n(1)]
    Unmet,
    /// The whole transaction was done; one result for each step that has one.
    #[n(2)]
    Transacted(#[n(0)] Vec<StepResult>),
    /// Nothing of the transaction was done: which steps (counted from 0) stood in the way, and why.
    #[n(3)]
    RolledBack(#[n(0)] Vec<(u32, Denial)>),
    /// The wish cannot be granted as the state is; nothing was written.
    #[n(4)]
    Denied(#[n(0)] Denial),
    /// The outcomes of a batch, in its order.
    #[n(5)]
    Batch(#[cbor(n(0), decode_with = "flat::decode")] Vec<Outcome>),
}

impl Flat for Outcome {
    const BATCH: u32 = 5;
}

/// What one step of a transaction gives back.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum StepResult {
    /// A pair. Steps that write leave its value out.
    #[n(0)]
    Pair(#[n(0)] Indexed<Pair>),
    /// A node.
    #[n(1)]
    Node(#[n(0)] Indexed<Node>),
    /// An instance.
    #[n(2)]
    Instance(#[n(0)] Indexed<Instance>),
    /// A check with its node, and the service and tags of its instance.
    #[n(3)]
    Check {
        /// Its node.
        #[n(0)]
        node: Text,
        /// Its instance's service, or empty.
        #[n(1)]
        service: Text,
        /// Its instance's tags.
        #[n(2)]
        tags: Vec<Text>,
        /// The check.
        #[n(3)]
        check: Indexed<Check>,
    },
}

/// Why the state, as it is, does not allow a wish. The text is for people; fronts that owe their
/// clients other words match on the variant.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum Denial {
    /// The node is not registered.
    #[n(0)]
    #[error("node {0:?} is not registered")]
    UnknownNode(#[n(0)] Text),
    /// The instance is not registered on the node.
    #[n(1)]
    #[error("instance {1:?} is not registered on node {0:?}")]
    UnknownInstance(#[n(0)] Text, #[n(1)] Text),
    /// The check is not registered on the node.
    #[n(2)]
    #[error("check {1:?} is not registered on node {0:?}")]
    UnknownCheck(#[n(0)] Text, #[n(1)] Text),
    /// The session has ended, or never was.
    #[n(3)]
    #[error("session {0:?} does not exist")]
    UnknownSession(#[n(0)] Text),
    /// The pair is not there.
    #[n(4)]
    #[error("key {0:?} does not exist")]
    UnknownPair(#[n(0)] Text),
    /// The stored question is not there.
    #[n(5)]
    #[error("prepared query {0:?} does not exist")]
    UnknownPreparedQuery(#[n(0)] Text),
    /// A session cannot rest on a critical check.
    #[n(6)]
    #[error("check {0:?} is critical")]
    CriticalCheck(#[n(0)] Text),
    /// Another node of that name has another id.
    #[n(7)]
    #[error("node name {0:?} is taken by the node with id {1}")]
    NodeNameTaken(#[n(0)] Text, #[n(1)] Text),
    /// Another stored question has this name.
    #[n(8)]
    #[error("name {0:?} is taken by another prepared query")]
    PreparedQueryNameTaken(#[n(0)] Text),
    /// The modify index is another.
    #[n(9)]
    #[error("{0:?} has modify index {1}")]
    IndexIsAnother(#[n(0)] Text, #[n(1)] u64),
    /// The pair is there.
    #[n(10)]
    #[error("key {0:?} exists")]
    PairExists(#[n(0)] Text),
    /// The lock is held by this session, or by none where it is empty.
    #[n(11)]
    #[error("the lock on key {0:?} is held by session {1:?}")]
    LockHeld(#[n(0)] Text, #[n(1)] Text),
    /// The lock is still closed after a forced release.
    #[n(12)]
    #[error("the lock on key {0:?} is in its lock delay")]
    LockDelayed(#[n(0)] Text),
    /// The node, instance or check is another's to write: an agent vouches for it, or it was
    /// written straight into the catalog.
    #[n(13)]
    #[error("{0:?} was registered by somebody else: choose another id, or deregister it there")]
    NotYours(#[n(0)] Text),
    /// The session already exists.
    #[n(14)]
    #[error("session {0:?} exists already")]
    SessionExists(#[n(0)] Text),
    /// The version in the log is newer than this process understands, or a bound is broken.
    #[n(15)]
    #[error("{0}")]
    Invalid(#[n(0)] Text),
}
