//! A query: a read as a value.
//!
//! Two clients that ask the same have equal queries, so that one answer serves both.

use minicbor::{Decode, Encode};

use crate::command::Operation;
use crate::{Meta, Status, Text};

/// A read. The numbers are those of the internal protocol: they are never used again for something
/// else.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Query {
    /// All nodes.
    #[n(0)]
    Nodes(#[n(0)] NodeFilter),
    /// One node with its instances and checks, by name, id, or an unambiguous start of the id.
    #[n(1)]
    Node {
        /// Name, id, or the start of an id (2 characters or more).
        #[n(0)]
        name_or_id: Text,
    },
    /// All services with their tags.
    #[n(2)]
    Services {
        /// Facts that the nodes of the counted instances must have.
        #[n(0)]
        node_meta: Meta,
    },
    /// The instances of a service, with their nodes and checks.
    #[n(3)]
    Instances(#[n(0)] InstanceFilter),
    /// Every instance of every service, likewise.
    #[n(4)]
    AllInstances {
        /// Facts that the node must have.
        #[n(0)]
        node_meta: Meta,
    },
    /// Checks.
    #[n(5)]
    Checks(#[n(0)] CheckFilter),
    /// One pair.
    #[n(6)]
    Pair {
        /// The key.
        #[n(0)]
        key: Text,
    },
    /// All pairs under a prefix, in the order of their keys.
    #[n(7)]
    PairsUnder {
        /// The start of the keys.
        #[n(0)]
        prefix: Text,
    },
    /// The keys under a prefix; with a separator cut after the first one that follows the prefix.
    #[n(8)]
    KeysUnder {
        /// The start of the keys.
        #[n(0)]
        prefix: Text,
        /// Empty: whole keys.
        #[n(1)]
        separator: Text,
    },
    /// Steps that only look, all at one version of the state.
    #[n(9)]
    Transact {
        /// At most `limits::OPERATIONS_MAX`, each [`Operation::is_read`].
        #[n(0)]
        operations: Vec<OperationKey>,
    },
    /// One session.
    #[n(10)]
    Session {
        /// Its id.
        #[n(0)]
        id: Text,
    },
    /// Sessions, of one node or all.
    #[n(11)]
    Sessions {
        /// The node, or all.
        #[n(0)]
        node: Option<Text>,
    },
    /// Stored questions: all, or the one with this id.
    #[n(12)]
    PreparedQueries {
        /// Its id, or all.
        #[n(0)]
        id: Option<Text>,
    },
    /// Answers a stored question, found by id, by name, or by the longest template that fits.
    #[n(13)]
    ExecutePrepared {
        /// Id or name.
        #[n(0)]
        id_or_name: Text,
        /// The node of the agent that was asked: for `near=_agent` and `${agent...}`.
        #[n(1)]
        agent: Text,
        /// Sort from here instead of what the question says.
        #[n(2)]
        near: Option<Text>,
    },
    /// Shows the question that a name leads to, with its template filled in.
    #[n(14)]
    ExplainPrepared {
        /// Id or name.
        #[n(0)]
        id_or_name: Text,
    },
    /// Where nodes stand: all, or one.
    #[n(15)]
    Coordinates {
        /// The node, or all.
        #[n(0)]
        node: Option<Text>,
    },
    /// Nodes and instances that have this address, for reverse look-ups.
    #[n(16)]
    AddressOwners {
        /// An IP address in its usual text form.
        #[n(0)]
        address: Text,
    },
    /// The roots of the certificate authority, without their keys.
    #[n(17)]
    Roots,
    /// Settings of a kind: all, or the one with this name.
    #[n(18)]
    Settings {
        /// The kind.
        #[n(0)]
        kind: Text,
        /// Its name, or all.
        #[n(1)]
        name: Option<Text>,
    },
    /// Numbers over everything.
    #[n(19)]
    Usage,
}

/// Which nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
pub struct NodeFilter {
    /// Facts they must have.
    #[n(0)]
    pub meta: Meta,
    /// Sort by the round-trip time from this node.
    #[n(1)]
    pub near: Option<Text>,
}

/// Which instances of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
pub struct InstanceFilter {
    /// The service, compared without regard to case.
    #[n(0)]
    pub service: Text,
    /// Tags they must carry, all of them, compared without regard to case.
    #[n(1)]
    pub tags: Vec<Text>,
    /// Facts that their node must have.
    #[n(2)]
    pub node_meta: Meta,
    /// Which by status.
    #[n(3)]
    pub health: Health,
    /// Sort by the round-trip time from this node.
    #[n(4)]
    pub near: Option<Text>,
}

/// Which instances, by their status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Health {
    /// All of them.
    #[default]
    #[n(0)]
    Any,
    /// Those that are not critical: what DNS hands out.
    #[n(1)]
    NotCritical,
    /// Those whose checks all pass.
    #[n(2)]
    Passing,
}

/// Which checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
pub struct CheckFilter {
    /// Of what.
    #[n(0)]
    pub subject: CheckSubject,
    /// Facts that their node must have.
    #[n(1)]
    pub node_meta: Meta,
    /// Sort by the round-trip time from this node.
    #[n(2)]
    pub near: Option<Text>,
}

/// Of what checks are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
pub enum CheckSubject {
    /// Everything.
    #[default]
    #[n(0)]
    All,
    /// Everything with this status.
    #[n(1)]
    WithStatus(#[n(0)] Status),
    /// One node and its instances.
    #[n(2)]
    Node(#[n(0)] Text),
    /// The instances of one service; not their nodes.
    #[n(3)]
    Service(#[n(0)] Text),
}

/// An operation as part of a query: equal if its encoded form is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct OperationKey(#[n(0)] pub Operation);

impl std::hash::Hash for OperationKey {
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        crate::encode(&self.0).hash(hasher);
    }
}
