//! The history of a run: what every client asked, when, and what it heard.
//!
//! Plain data, written by the workloads and judged by the checkers, which know nothing else of a
//! run. All instants are on the simulator's own clock, as the time since the run began: the one
//! clock that no fault touches. An operation took effect, if it did, at one moment between
//! `invoked_at` and `returned_at`; where the client never heard what came of it, at any moment
//! after `invoked_at`, or never.
//!
//! Every write of a run carries a [`Value`] that no other write carries, so a value tells which
//! write it came from.

use std::time::Duration;

use muster_model::{Index, Text};

/// What a write writes: a number that no other write of the run has.
pub type Value = u64;

/// A server of the simulated cluster, counted from 0.
pub type ServerNumber = usize;

/// What happened in a run, as seen from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// What clients did, in the order in which it was invoked.
    pub operations: Vec<Operation>,
    /// What watchers saw, in the order in which it was seen.
    pub sightings: Vec<Sighting>,
    /// Who took itself for the leader, each time a server began to.
    pub leaderships: Vec<Leadership>,
    /// The state of servers, taken now and then: equal indexes must have equal hashes.
    pub states: Vec<StateSeen>,
}

// ------------------------------------------------------------------------------------------------
// Operations
// ------------------------------------------------------------------------------------------------

/// One thing that a client asked for. A client asks for one thing at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who asked.
    pub client: u32,
    /// Which server was asked.
    pub server: ServerNumber,
    /// What was asked for.
    pub action: Action,
    /// When the client began to wait.
    pub invoked_at: Duration,
    /// When the client heard, or gave up.
    pub returned_at: Duration,
    /// What the client heard.
    pub result: OperationResult,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Reads a pair. Found: [`Found::Pair`].
    Read {
        /// The key.
        key: Text,
        /// How fresh the answer has to be.
        freshness: Freshness,
    },
    /// Writes a pair, whatever it holds.
    Put {
        /// The key.
        key: Text,
        /// The only value that it holds afterwards.
        value: Value,
    },
    /// Writes a pair if it is still as the client last read it: [`OperationResult::Unmet`] if not.
    PutIf {
        /// The key.
        key: Text,
        /// The only value that it holds afterwards.
        value: Value,
        /// The modify index that it must have; 0: it must not exist.
        if_index: Index,
        /// The values that the client read at that index.
        if_values: Vec<Value>,
    },
    /// Adds an element to the end of a list, if the list is still as the client last read it.
    Append {
        /// The key.
        key: Text,
        /// What is added.
        value: Value,
        /// The modify index that the pair must have; 0: it must not exist.
        if_index: Index,
        /// The list that the client read at that index.
        if_values: Vec<Value>,
    },
    /// Deletes a pair.
    Delete {
        /// The key.
        key: Text,
    },
    /// Creates a session.
    CreateSession {
        /// Its id.
        session: Text,
        /// The duration of its lease.
        ttl: Duration,
        /// How long its locks stay closed after a forced release.
        lock_delay: Duration,
    },
    /// Renews the lease of a session. [`OperationResult::Unmet`]: the session has ended.
    Renew {
        /// Its id.
        session: Text,
    },
    /// Asks whether a session lives. Found: [`Found::Session`].
    LookUpSession {
        /// Its id.
        session: Text,
        /// How fresh the answer has to be.
        freshness: Freshness,
    },
    /// Ends a session.
    EndSession {
        /// Its id.
        session: Text,
    },
    /// Takes a lock and writes the pair. [`OperationResult::Unmet`]: another holds it, it is in its
    /// lock delay, or the session has ended.
    Acquire {
        /// The key.
        key: Text,
        /// For whom.
        session: Text,
        /// The only value that the pair holds afterwards.
        value: Value,
    },
    /// Lets a lock go and writes the pair. [`OperationResult::Unmet`]: this session does not hold it.
    Release {
        /// The key.
        key: Text,
        /// Whose.
        session: Text,
        /// The only value that the pair holds afterwards.
        value: Value,
    },
    /// Registers an instance in the catalog, or registers it anew.
    Register {
        /// The node, which is registered with it.
        node: Text,
        /// The service.
        service: Text,
        /// The id of the instance.
        instance: Text,
        /// Kept in the meta of the instance.
        value: Value,
    },
    /// Deregisters an instance.
    Deregister {
        /// The node.
        node: Text,
        /// The service that the instance was registered for.
        service: Text,
        /// The id of the instance.
        instance: Text,
    },
    /// Asks for the instances of a service. Found: [`Found::Instances`].
    List {
        /// The service.
        service: Text,
        /// How fresh the answer has to be.
        freshness: Freshness,
    },
}

/// How fresh an answer has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// The default of the door: linearizable.
    Default,
    /// Linearizable.
    Consistent,
    /// Whatever the server has: some state that was true once, never going back on one server.
    Stale,
}

/// What a client heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationResult {
    /// Done.
    Done {
        /// For a write, the index at which it was decided; for a read, the index of the answer:
        /// the last at which what was read changed, or a later one.
        index: Index,
        /// For a read, the version of the state that the answer is known to hold for; for a write,
        /// the same as `index`.
        as_of: Index,
        /// What was found.
        found: Found,
    },
    /// Decided, and without effect: the terms were not met.
    Unmet {
        /// The index at which it was decided.
        index: Index,
    },
    /// Certainly without effect, and never to have one.
    Failed(String),
    /// Nobody knows: it had its effect, will have it later, or never.
    Unknown(String),
}

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It was not a read.
    Nothing,
    /// The pair, if there is one.
    Pair(Option<PairSeen>),
    /// Whether the session lives.
    Session(bool),
    /// The instances by their id, sorted, each with its value and its modify index.
    Instances(Vec<(Text, Value, Index)>),
}

/// A pair as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairSeen {
    /// What it holds: one value, or a list in the order in which it was appended to.
    pub values: Vec<Value>,
    /// When it was created.
    pub create_index: Index,
    /// When it last changed.
    pub modify_index: Index,
    /// The fence: how often the lock was newly taken.
    pub lock_index: Index,
    /// The session that holds the lock; empty: none.
    pub session: Text,
}

impl Action {
    /// The key, the session or the service that it is about: operations on different ones are
    /// independent of each other, but for locks, which depend on their session too.
    #[must_use]
    pub fn subject(&self) -> &Text {
        match self {
            Action::Read { key, .. }
            | Action::Put { key, .. }
            | Action::PutIf { key, .. }
            | Action::Append { key, .. }
            | Action::Delete { key }
            | Action::Acquire { key, .. }
            | Action::Release { key, .. } => key,
            Action::CreateSession { session, .. }
            | Action::Renew { session }
            | Action::LookUpSession { session, .. }
            | Action::EndSession { session } => session,
            Action::Register { service, .. }
            | Action::Deregister { service, .. }
            | Action::List { service, .. } => service,
        }
    }

    /// Whether it only looks.
    #[must_use]
    pub fn is_read(&self) -> bool {
        matches!(self, Action::Read { .. } | Action::LookUpSession { .. } | Action::List { .. })
    }
}

// ------------------------------------------------------------------------------------------------
// What is seen without asking
// ------------------------------------------------------------------------------------------------

/// Something that a watcher saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Who watches. A watcher watches one thing; after each interruption it goes on from the last
    /// index that it has seen.
    pub watcher: u32,
    /// The server that it watches on, at present.
    pub server: ServerNumber,
    /// When it was seen.
    pub seen_at: Duration,
    /// What was seen.
    pub seen: Seen,
}

/// What a watcher sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It began, or began again on another server: what it watches.
    Began {
        /// What it watches.
        subject: Watched,
        /// The last index that it has seen; 0: none.
        after: Index,
    },
    /// A long poll was answered: everything under its subject, at an index.
    Answer {
        /// The index of the answer.
        index: Index,
        /// What was found, by key or id, sorted, each with its values and its modify index.
        rows: Vec<(Text, Vec<Value>, Index)>,
    },
    /// A batch of changes came: what changed under its subject, at an index.
    Changes {
        /// The index.
        index: Index,
        /// Keys of pairs or ids of instances, each with what happened to it.
        objects: Vec<(Text, ChangeSeen)>,
    },
    /// The watcher was told that it came too late and has to start afresh.
    Lost,
    /// The server was gone, or refused.
    Interrupted(String),
}

/// What a watcher watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// All pairs whose keys start so.
    PairsUnder(Text),
    /// The instances of a service.
    Service(Text),
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeSeen {
    /// It is new.
    Created,
    /// It is another.
    Changed,
    /// It is gone.
    Removed,
}

/// A server that takes itself for the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// The server.
    pub server: ServerNumber,
    /// In which term.
    pub term: u64,
    /// Since when.
    pub since: Duration,
}

/// The state of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSeen {
    /// The server.
    pub server: ServerNumber,
    /// When it was looked at.
    pub seen_at: Duration,
    /// The index up to which it is applied.
    pub index: Index,
    /// A hash of all that it holds.
    pub hash: u64,
}
