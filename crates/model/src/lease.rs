//! A lease: a promise to renew within a ttl, else to expire.
//!
//! What a lease keeps alive carries its ttl: a session in [`crate::Session::ttl`], an instance of
//! [`crate::node::Origin::Lease`] in [`crate::instance::Extras::lease_ttl`]. Renewals are not in the
//! log: the leader measures them.

use minicbor::{Decode, Encode};

use crate::Text;

/// What a lease keeps alive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum LeaseId {
    /// The session with this id.
    #[n(0)]
    Session(#[n(0)] Text),
    /// An instance.
    #[n(1)]
    Instance {
        /// The folded name of its node.
        #[n(0)]
        node: Text,
        /// Its id.
        #[n(1)]
        id: Text,
    },
}

impl LeaseId {
    /// The lease of an instance on a node, whose name may be written in any case.
    pub fn instance(node: &Text, id: &Text) -> LeaseId {
        LeaseId::Instance { node: node.folded(), id: id.clone() }
    }
}

impl std::fmt::Display for LeaseId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LeaseId::Session(id) => write!(f, "session {id}"),
            LeaseId::Instance { node, id } => write!(f, "instance {id} on node {node}"),
        }
    }
}
