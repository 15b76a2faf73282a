//! A command: a write as a value.
//!
//! A command says what is wished, never how the state looks; it carries every id, clock reading and
//! random choice that it needs, so that each replica comes to the same outcome. What only a leader
//! may decide (that a lease expired, that a lock delay is over) reaches the state as a command too.

use std::time::Duration;

use minicbor::{Decode, Encode};

use crate::ca::CaRoot;
use crate::coordinate::NodeCoordinate;
use crate::flat::{self, Flat};
use crate::pair::Blob;
use crate::prepared::PreparedQuery;
use crate::session::{Session, SessionEnd};
use crate::settings::Setting;
use crate::{Check, Index, Instance, Node, Status, Text};

/// A write. The numbers are those of the log: they are never used again for something else.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Command {
    /// Registers a node with, if wished, an instance and checks; all or nothing.
    #[n(0)]
    Register(#[n(0)] Registration),
    /// Deregisters a node, one of its instances or one of its checks. What is not there is no
    /// refusal.
    #[n(1)]
    Deregister {
        /// The node.
        #[n(0)]
        node: Text,
        /// What of it.
        #[n(1)]
        target: Target,
    },
    /// A new word on a check that is there: how observations travel.
    #[n(2)]
    UpdateCheck {
        /// The node.
        #[n(0)]
        node: Text,
        /// The check.
        #[n(1)]
        id: Text,
        /// Its status now.
        #[n(2)]
        status: Status,
        /// What the last observation said.
        #[n(3)]
        output: Text,
    },
    /// Writes a pair.
    #[n(3)]
    PutPair {
        /// The key.
        #[n(0)]
        key: Text,
        /// The value.
        #[n(1)]
        value: Blob,
        /// The client's number.
        #[n(2)]
        flags: u64,
        /// On what terms.
        #[n(3)]
        terms: PutTerms,
    },
    /// Deletes a pair, if its modify index is `if_index` where one is given.
    #[n(4)]
    DeletePair {
        /// The key.
        #[n(0)]
        key: Text,
        /// The modify index it must have.
        #[n(1)]
        if_index: Option<Index>,
    },
    /// Deletes every pair whose key starts so.
    #[n(5)]
    DeletePairsUnder {
        /// The start of the keys; empty: all of them.
        #[n(0)]
        prefix: Text,
    },
    /// Does all of it or nothing.
    #[n(6)]
    Transact {
        /// At most `limits::OPERATIONS_MAX`.
        #[n(0)]
        operations: Vec<Operation>,
    },
    /// Creates a session.
    #[n(7)]
    CreateSession(#[n(0)] Session),
    /// Ends a session.
    #[n(8)]
    EndSession {
        /// Its id.
        #[n(0)]
        id: Text,
        /// Why.
        #[n(1)]
        why: SessionEnd,
    },
    /// Opens locks again that a forced release had closed. Told by the leader.
    #[n(9)]
    EndLockDelays {
        /// Each key with the index at which its delay began: a delay that began anew stays.
        #[n(0)]
        keys: Vec<(Text, Index)>,
    },
    /// Forgets deletions up to an index. Told by the leader.
    #[n(10)]
    ReapTombstones {
        /// The last index whose deletions are forgotten.
        #[n(0)]
        up_to: Index,
    },
    /// Creates or replaces a stored question.
    #[n(11)]
    PutPreparedQuery {
        /// The question.
        #[n(0)]
        query: PreparedQuery,
        /// Whether it must be there already, or must not.
        #[n(1)]
        must_exist: bool,
    },
    /// Deletes a stored question.
    #[n(12)]
    DeletePreparedQuery {
        /// Its id.
        #[n(0)]
        id: Text,
    },
    /// Adds a root of the certificate authority, which issues from now on.
    #[n(13)]
    PutRoot(#[n(0)] CaRoot),
    /// Where nodes stand on the round-trip map. Unknown nodes are passed over.
    #[n(14)]
    PutCoordinates {
        /// Their places.
        #[n(0)]
        coordinates: Vec<NodeCoordinate>,
    },
    /// Writes a setting, if its modify index is `if_index` where one is given (0: not there).
    #[n(15)]
    PutSetting {
        /// The setting.
        #[n(0)]
        setting: Setting,
        /// The modify index it must have.
        #[n(1)]
        if_index: Option<Index>,
    },
    /// Deletes a setting, likewise.
    #[n(16)]
    DeleteSetting {
        /// Its kind.
        #[n(0)]
        kind: Text,
        /// Its name.
        #[n(1)]
        name: Text,
        /// The modify index it must have.
        #[n(2)]
        if_index: Option<Index>,
    },
    /// Several commands as one entry of the log, each with its own outcome: how an agent brings
    /// many observations at once.
    #[n(17)]
    Batch {
        /// In this order. No batch within a batch.
        #[cbor(n(0), decode_with = "flat::decode")]
        commands: Vec<Command>,
    },
    /// Removes an instance whose lease ran out, if its modify index is still this: one that was
    /// registered again meanwhile stays. Told by the leader.
    #[n(18)]
    ExpireInstance {
        /// The node.
        #[n(0)]
        node: Text,
        /// The instance.
        #[n(1)]
        id: Text,
        /// The modify index it must have.
        #[n(2)]
        if_index: Index,
    },
}

impl Flat for Command {
    const BATCH: u32 = 17;
}

/// A node with, if wished, an instance and checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Registration {
    /// The node. Its name is required, its address too unless `keep_node`.
    #[n(0)]
    pub node: Node,
    /// Whether a node that is there already stays as it is.
    #[n(1)]
    pub keep_node: bool,
    /// The instance, if one is registered.
    #[n(2)]
    pub instance: Option<Instance>,
    /// Checks of the node or of its instances.
    #[n(3)]
    pub checks: Vec<Check>,
}

/// What is deregistered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Target {
    /// The node with all it carries.
    #[n(0)]
    Node,
    /// An instance with its checks.
    #[n(1)]
    Instance(#[n(0)] Text),
    /// A check.
    #[n(2)]
    Check(#[n(0)] Text),
}

/// The terms of writing a pair.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub enum PutTerms {
    /// In any case. A lock stays.
    #[default]
    #[n(0)]
    Always,
    /// If its modify index is this; 0: if it is not there.
    #[n(1)]
    IfIndex(#[n(0)] Index),
    /// If the lock is free or held by this session, and take it.
    #[n(2)]
    Acquire(#[n(0)] Text),
    /// If the lock is held by this session, and let it go.
    #[n(3)]
    Release(#[n(0)] Text),
}

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Operation {
    /// On a pair.
    #[n(0)]
    Pair(#[n(0)] PairOperation),
    /// On a node.
    #[n(1)]
    Node {
        /// What is done.
        #[n(0)]
        verb: ObjectVerb,
        /// To which: for `Get` and the deletions its name is enough.
        #[n(1)]
        node: Node,
    },
    /// On an instance.
    #[n(2)]
    Instance {
        /// What is done.
        #[n(0)]
        verb: ObjectVerb,
        /// Its node.
        #[n(1)]
        node: Text,
        /// To which: for `Get` and the deletions its id is enough.
        #[n(2)]
        instance: Instance,
    },
    /// On a check.
    #[n(3)]
    Check {
        /// What is done.
        #[n(0)]
        verb: ObjectVerb,
        /// Its node.
        #[n(1)]
        node: Text,
        /// To which: for `Get` and the deletions its id is enough.
        #[n(2)]
        check: Check,
    },
}

/// What a step of a transaction does to a node, an instance or a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ObjectVerb {
    /// Gives it; refuses where it is not there.
    #[n(0)]
    Get,
    /// Writes it.
    #[n(1)]
    Put,
    /// Writes it if its modify index is this; 0: if it is not there.
    #[n(2)]
    PutIfIndex(#[n(0)] Index),
    /// Deletes it.
    #[n(3)]
    Delete,
    /// Deletes it if its modify index is this.
    #[n(4)]
    DeleteIfIndex(#[n(0)] Index),
}

/// One step of a transaction on a pair, or on all pairs under a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PairOperation {
    /// What is done.
    #[n(0)]
    pub verb: PairVerb,
    /// The key, or the prefix.
    #[n(1)]
    pub key: Text,
    /// The value, for the verbs that write.
    #[n(2)]
    pub value: Blob,
    /// The client's number, for the verbs that write.
    #[n(3)]
    pub flags: u64,
}

/// What a step of a transaction does to a pair.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum PairVerb {
    /// Writes it on these terms; a term not met refuses the transaction.
    #[n(0)]
    Put(#[n(0)] PutTerms),
    /// Deletes it.
    #[n(1)]
    Delete,
    /// Deletes it if its modify index is this.
    #[n(2)]
    DeleteIfIndex(#[n(0)] Index),
    /// Deletes all pairs under the prefix.
    #[n(3)]
    DeleteUnder,
    /// Gives it; refuses where it is not there.
    #[n(4)]
    Get,
    /// Gives it, or an empty pair.
    #[n(5)]
    GetOrEmpty,
    /// Gives all pairs under the prefix.
    #[n(6)]
    GetUnder,
    /// Refuses unless this session holds the lock.
    #[n(7)]
    RequireSession(#[n(0)] Text),
    /// Refuses unless its modify index is this.
    #[n(8)]
    RequireIndex(#[n(0)] Index),
    /// Refuses if it is there.
    #[n(9)]
    RequireAbsent,
}

impl Operation {
    /// Whether it only looks.
    pub fn is_read(&self) -> bool {
        match self {
            Operation::Pair(step) => matches!(
                step.verb,
                PairVerb::Get
                    | PairVerb::GetOrEmpty
                    | PairVerb::GetUnder
                    | PairVerb::RequireSession(_)
                    | PairVerb::RequireIndex(_)
                    | PairVerb::RequireAbsent
            ),
            Operation::Node { verb, .. }
            | Operation::Instance { verb, .. }
            | Operation::Check { verb, .. } => *verb == ObjectVerb::Get,
        }
    }
}

/// How long deletions are kept for watchers before the leader reaps them.
pub const TOMBSTONE_TTL: Duration = Duration::from_secs(15 * 60);
