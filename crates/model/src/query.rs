//! A query: a read as a value.
//!
//! Two clients that ask the same have equal queries, so that one answer serves both.

use crate::command::Operation;
use crate::{Meta, Status, Text};

/// A read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Query {
    /// All nodes.
    Nodes(NodeFilter),
    /// One node with its instances and checks, by name, id, or an unambiguous start of the id.
    Node {
        /// Name, id, or the start of an id (2 characters or more).
        name_or_id: Text,
    },
    /// All services with their tags.
    Services {
        /// Facts that the nodes of the counted instances must have.
        node_meta: Meta,
    },
    /// The instances of a service, with their nodes and checks.
    Instances(InstanceFilter),
    /// Every instance of every service, likewise.
    AllInstances {
        /// Facts that the node must have.
        node_meta: Meta,
    },
    /// Checks.
    Checks(CheckFilter),
    /// One pair.
    Pair {
        /// The key.
        key: Text,
    },
    /// All pairs under a prefix, in the order of their keys.
    PairsUnder {
        /// The start of the keys.
        prefix: Text,
    },
    /// The keys under a prefix; with a separator cut after the first one that follows the prefix.
    KeysUnder {
        /// The start of the keys.
        prefix: Text,
        /// Empty: whole keys.
        separator: Text,
    },
    /// Steps that only look, all at one version of the state.
    Transact {
        /// At most `limits::OPERATIONS_MAX`, each [`Operation::is_read`].
        operations: Vec<OperationKey>,
    },
    /// One session.
    Session {
        /// Its id.
        id: Text,
    },
    /// Sessions, of one node or all.
    Sessions {
        /// The node, or all.
        node: Option<Text>,
    },
    /// Stored questions: all, or the one with this id.
    PreparedQueries {
        /// Its id, or all.
        id: Option<Text>,
    },
    /// Answers a stored question, found by id, by name, or by the longest template that fits.
    ExecutePrepared {
        /// Id or name.
        id_or_name: Text,
        /// The node of the agent that was asked: for `near=_agent` and `${agent...}`.
        agent: Text,
        /// Sort from here instead of what the question says.
        near: Option<Text>,
    },
    /// Shows the question that a name leads to, with its template filled in.
    ExplainPrepared {
        /// Id or name.
        id_or_name: Text,
    },
    /// Where nodes stand: all, or one.
    Coordinates {
        /// The node, or all.
        node: Option<Text>,
    },
    /// Nodes and instances that have this address, for reverse look-ups.
    AddressOwners {
        /// An IP address in its usual text form.
        address: Text,
    },
    /// The roots of the certificate authority, without their keys.
    Roots,
    /// Settings of a kind: all, or the one with this name.
    Settings {
        /// The kind.
        kind: Text,
        /// Its name, or all.
        name: Option<Text>,
    },
    /// Numbers over everything.
    Usage,
}

/// Which nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NodeFilter {
    /// Facts they must have.
    pub meta: Meta,
    /// Sort by the round-trip time from this node.
    pub near: Option<Text>,
}

/// Which instances of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct InstanceFilter {
    /// The service, compared without regard to case.
    pub service: Text,
    /// Tags they must carry, all of them, compared without regard to case.
    pub tags: Vec<Text>,
    /// Facts that their node must have.
    pub node_meta: Meta,
    /// Which by status.
    pub health: Health,
    /// Sort by the round-trip time from this node.
    pub near: Option<Text>,
}

/// Which instances, by their status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Health {
    /// All of them.
    #[default]
    Any,
    /// Those that are not critical: what DNS hands out.
    NotCritical,
    /// Those whose checks all pass.
    Passing,
}

/// Which checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CheckFilter {
    /// Of what.
    pub subject: CheckSubject,
    /// Facts that their node must have.
    pub node_meta: Meta,
    /// Sort by the round-trip time from this node.
    pub near: Option<Text>,
}

/// Of what checks are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum CheckSubject {
    /// Everything.
    #[default]
    All,
    /// Everything with this status.
    WithStatus(Status),
    /// One node and its instances.
    Node(Text),
    /// The instances of one service; not their nodes.
    Service(Text),
}

/// An operation as part of a query: equal if its encoded form is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationKey(pub Operation);

impl std::hash::Hash for OperationKey {
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        crate::encode(&self.0).hash(hasher);
    }
}
