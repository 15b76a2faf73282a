//! A scope: what an answer depends on.
//!
//! Every change touches a few scopes, every question reads a few. A watch sleeps until one of its
//! scopes passes the index it has seen, and an answer may be given again as long as none of its
//! scopes was touched. So the cost of a change is the number of those who asked about just that.
//!
//! Names inside scopes are folded ([`Text::folded`]); keys are not.

use std::fmt;

use minicbor::{Decode, Encode};

use crate::{Status, Text};

/// Something that a question can depend on and a change can touch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum Scope {
    /// The list of nodes: their names, addresses and facts.
    #[n(0)]
    Nodes,
    /// One node, its instances and all its checks.
    #[n(1)]
    Node(#[n(0)] Text),
    /// The list of services with their tags.
    #[n(2)]
    Services,
    /// One service: its instances, their checks, and their nodes with the nodes' checks.
    #[n(3)]
    Service(#[n(0)] Text),
    /// Every instance there is.
    #[n(4)]
    Instances,
    /// Every check that has, or had, this status.
    #[n(5)]
    Checks(#[n(0)] Status),
    /// One key.
    #[n(6)]
    Pair(#[n(0)] Text),
    /// All keys that start so. A change of a key touches each of its prefixes.
    #[n(7)]
    PairsUnder(#[n(0)] Text),
    /// One session.
    #[n(8)]
    Session(#[n(0)] Text),
    /// The sessions of one node.
    #[n(9)]
    SessionsOf(#[n(0)] Text),
    /// The list of sessions.
    #[n(10)]
    Sessions,
    /// The stored questions.
    #[n(11)]
    PreparedQueries,
    /// All coordinates.
    #[n(12)]
    Coordinates,
    /// The coordinate of one node.
    #[n(13)]
    Coordinate(#[n(0)] Text),
    /// The roots of the built-in certificate authority.
    #[n(14)]
    Roots,
    /// The settings of one kind.
    #[n(15)]
    Settings(#[n(0)] Text),
    /// Numbers over everything.
    #[n(16)]
    Usage,
    /// Every instance that lives with a lease.
    #[n(17)]
    Leases,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Nodes => f.write_str("nodes"),
            Scope::Node(name) => write!(f, "node {name}"),
            Scope::Services => f.write_str("services"),
            Scope::Service(name) => write!(f, "service {name}"),
            Scope::Instances => f.write_str("instances"),
            Scope::Checks(status) => write!(f, "checks {status}"),
            Scope::Pair(key) => write!(f, "pair {key}"),
            Scope::PairsUnder(prefix) => write!(f, "pairs under {prefix}"),
            Scope::Session(id) => write!(f, "session {id}"),
            Scope::SessionsOf(node) => write!(f, "sessions of {node}"),
            Scope::Sessions => f.write_str("sessions"),
            Scope::PreparedQueries => f.write_str("prepared queries"),
            Scope::Coordinates => f.write_str("coordinates"),
            Scope::Coordinate(node) => write!(f, "coordinate {node}"),
            Scope::Roots => f.write_str("roots"),
            Scope::Settings(kind) => write!(f, "settings {kind}"),
            Scope::Usage => f.write_str("usage"),
            Scope::Leases => f.write_str("leases"),
        }
    }
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum ChangeKind {
    /// It was not there before.
    #[n(0)]
    Created,
    /// It was there and is another now.
    #[n(1)]
    Changed,
    /// It is no longer there.
    #[n(2)]
    Removed,
}

/// An object by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Object {
    /// A node.
    #[n(0)]
    Node(#[n(0)] Text),
    /// An instance of a service on a node.
    #[n(1)]
    Instance {
        /// Its node.
        #[n(0)]
        node: Text,
        /// Its service.
        #[n(1)]
        service: Text,
        /// Its id.
        #[n(2)]
        id: Text,
    },
    /// A check on a node.
    #[n(2)]
    Check {
        /// Its node.
        #[n(0)]
        node: Text,
        /// Its id.
        #[n(1)]
        id: Text,
    },
    /// A pair.
    #[n(3)]
    Pair(#[n(0)] Text),
    /// A session.
    #[n(4)]
    Session(#[n(0)] Text),
    /// A stored question.
    #[n(5)]
    PreparedQuery(#[n(0)] Text),
    /// The coordinate of a node.
    #[n(6)]
    Coordinate(#[n(0)] Text),
    /// A root of the certificate authority.
    #[n(7)]
    Root(#[n(0)] Text),
    /// A setting.
    #[n(8)]
    Setting {
        /// Its kind.
        #[n(0)]
        kind: Text,
        /// Its name.
        #[n(1)]
        name: Text,
    },
}

/// One change: what happened to which object, and whom it concerns.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Change {
    /// Whom it concerns. A pair's change names [`Scope::Pair`] alone; that it concerns every
    /// prefix of the key follows from it.
    #[n(0)]
    pub scopes: Vec<Scope>,
    /// The object.
    #[n(1)]
    pub object: Object,
    /// What happened to it.
    #[n(2)]
    pub kind: ChangeKind,
}
