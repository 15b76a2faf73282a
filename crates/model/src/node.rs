//! A node: a machine or host in the catalog.

use minicbor::{Decode, Encode};

use crate::{Meta, Text};

/// A machine or host that carries instances. Its name is unique, compared without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Node {
    /// The unique name.
    #[n(0)]
    pub name: Text,
    /// A UUID in its usual text form, or empty for a node that nobody gave an id.
    #[n(1)]
    pub id: Text,
    /// An IP address or a host name. Empty only for a node made with the address left out.
    #[n(2)]
    pub address: Text,
    /// Addresses by purpose: `lan`, `wan`, `lan_ipv4`, ...
    #[n(3)]
    pub tagged_addresses: Meta,
    /// Facts about the node.
    #[n(4)]
    pub meta: Meta,
    /// Where it stands: locality labels, nothing else.
    #[n(5)]
    pub locality: Option<Locality>,
    /// Who vouches for the node.
    #[n(6)]
    pub origin: Origin,
}

/// Locality labels of a node or an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Locality {
    /// For example `us-west-1`. May be empty.
    #[n(0)]
    pub region: Text,
    /// For example `us-west-1a`. May be empty.
    #[n(1)]
    pub zone: Text,
}

/// Who vouches for a node, an instance or a check, and so who may repair or remove it: sync and
/// reconcile touch only what carries their own origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Origin {
    /// Written straight into the catalog; stays until somebody deregisters it.
    #[default]
    #[n(0)]
    Catalog,
    /// An agent vouches for it: lives with that agent's node and its checks.
    #[n(1)]
    Agent,
    /// Lives as long as its lease is renewed.
    #[n(2)]
    Lease,
}
