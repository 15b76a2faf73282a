//! An instance: one registered address and port of a service on a node.
//!
//! A registry of 100,000 instances has to fit in 100 MB, so what few instances have lives behind
//! one pointer ([`Extras`]) and an instance without it pays 8 bytes.

use std::time::Duration;

use minicbor::{Decode, Encode};

use crate::node::{Locality, Origin};
use crate::{Meta, Text};

/// One registered address and port of a service. `id` is unique on its node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Instance {
    /// Unique on its node. The service's name where nobody chose another.
    #[n(0)]
    pub id: Text,
    /// The service it is found under, compared without regard to case.
    #[n(1)]
    pub service: Text,
    /// Labels, in the order given.
    #[n(2)]
    pub tags: Box<[Text]>,
    /// An IP address or a host name; empty means the node's address.
    #[n(3)]
    pub address: Text,
    /// 0 where the instance has none.
    #[n(4)]
    pub port: u16,
    /// Facts about the instance.
    #[n(5)]
    pub meta: Meta,
    /// How much of the load it takes.
    #[n(6)]
    pub weights: Weights,
    /// Whether the tags in the catalog win over those that its agent vouches for.
    #[n(7)]
    pub enable_tag_override: bool,
    /// Who vouches for the instance.
    #[n(8)]
    pub origin: Origin,
    /// What few instances have.
    #[n(9)]
    pub extras: Option<Box<Extras>>,
}

/// What few instances have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Extras {
    /// Addresses by purpose (`lan`, `wan`, `lan_ipv4`, ...), unique, in ascending order.
    #[n(0)]
    pub tagged_addresses: Box<[(Text, Endpoint)]>,
    /// A unix socket instead of address and port; empty where there is none.
    #[n(1)]
    pub socket_path: Text,
    /// Several named ports; then `Instance::port` is 0.
    #[n(2)]
    pub ports: Box<[NamedPort]>,
    /// Where it stands.
    #[n(3)]
    pub locality: Option<Locality>,
    /// What kind of proxy or gateway it is; empty for an ordinary instance.
    #[n(4)]
    pub kind: Text,
    /// The proxy's settings, kept word for word for the front-end that was given them.
    #[n(5)]
    pub proxy: Text,
    /// The settings of the service mesh, likewise.
    #[n(6)]
    pub connect: Text,
    /// The ttl of the lease that it lives with; zero: it has none.
    #[n(7)]
    #[cbor(default)]
    pub lease_ttl: Duration,
    /// What the front-end that registered it needs to give it back as it came, in words of that
    /// front-end's own; at most `limits::ORIGINAL_BYTES_MAX`.
    #[n(8)]
    #[cbor(default)]
    pub original: Text,
}

/// An address with a port, as in an instance's tagged addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Endpoint {
    /// An IP address or a host name.
    #[n(0)]
    pub address: Text,
    /// 0 where there is none.
    #[n(1)]
    pub port: u16,
}

/// One of several ports of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct NamedPort {
    /// Unique in its instance.
    #[n(0)]
    pub name: Text,
    /// The port.
    #[n(1)]
    pub port: u16,
    /// Whether it answers where no port is named.
    #[n(2)]
    pub is_default: bool,
}

/// How much of the load an instance takes, by its status. 1 each unless somebody chose otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Weights {
    /// While passing: 1 to 65,535.
    #[n(0)]
    pub passing: u16,
    /// While warning: 0 to 65,535.
    #[n(1)]
    pub warning: u16,
}

impl Default for Weights {
    fn default() -> Weights {
        Weights { passing: 1, warning: 1 }
    }
}

impl Instance {
    /// What few instances have, or its default for those that have none of it.
    pub fn extras(&self) -> &Extras {
        static NONE: std::sync::LazyLock<Extras> = std::sync::LazyLock::new(Extras::default);
        self.extras.as_deref().unwrap_or(&NONE)
    }

    /// Keeps `extras`, or nothing at all where they say nothing.
    pub fn with_extras(mut self, extras: Extras) -> Instance {
        self.extras = (extras != Extras::default()).then(|| Box::new(extras));
        self
    }

    /// The ttl of its lease; nothing where it does not live with one.
    pub fn lease_ttl(&self) -> Option<Duration> {
        let ttl = self.extras().lease_ttl;
        (self.origin == Origin::Lease && !ttl.is_zero()).then_some(ttl)
    }

    /// Whether it carries `tag`, compared without regard to case.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| own.eq_ignore_ascii_case(tag))
    }

    /// The tagged address for `purpose`.
    pub fn tagged_address(&self, purpose: &str) -> Option<&Endpoint> {
        let all = &self.extras.as_ref()?.tagged_addresses;
        all.iter().find(|(own, _)| own == purpose).map(|(_, endpoint)| endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shape that [`Extras`] had before instances could live with a lease.
    #[derive(Encode)]
    struct OlderExtras {
        #[n(0)]
        tagged_addresses: Box<[(Text, Endpoint)]>,
        #[n(1)]
        socket_path: Text,
        #[n(2)]
        ports: Box<[NamedPort]>,
        #[n(3)]
        locality: Option<Locality>,
        #[n(4)]
        kind: Text,
        #[n(5)]
        proxy: Text,
        #[n(6)]
        connect: Text,
    }

    #[test]
    fn an_instance_of_an_older_log_is_read() {
        let older = OlderExtras {
            tagged_addresses: Box::default(),
            socket_path: Text::default(),
            ports: Box::default(),
            locality: None,
            kind: "mesh-gateway".into(),
            proxy: Text::default(),
            connect: Text::default(),
        };
        let read = crate::decode::<Extras>(&crate::encode(&older)).unwrap();
        assert_eq!(read, Extras { kind: "mesh-gateway".into(), ..Extras::default() });
    }
}
