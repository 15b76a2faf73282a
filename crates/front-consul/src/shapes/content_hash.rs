//! The hash of an instance by which clients wait for it to change.
//!
//! Clients hand the hash back, and some compare it with one they have kept, so it is the one Consul
//! computes: 64-bit FNV-1 over the fields of its structure by name, folded so that neither the
//! order of fields nor that of map entries matters.

use muster_model::{Instance, Meta, Text};

use crate::shapes::instance::default_port;

/// The hash, as 16 hexadecimal digits or fewer.
pub(crate) fn of(instance: &Instance) -> String {
    let extras = instance.extras();
    let ports = extras.ports.iter().map(|port| {
        structure(
            "ServicePort",
            &[
                ("Name", text(&port.name)),
                ("Port", integer(i64::from(port.port))),
                ("Default", flag(port.is_default)),
            ],
        )
    });
    let tagged = extras.tagged_addresses.iter().map(|(purpose, endpoint)| {
        let fields =
            [("Address", text(&endpoint.address)), ("Port", integer(i64::from(endpoint.port)))];
        (text(purpose), structure("ServiceAddress", &fields))
    });
    let weights = structure(
        "AgentWeights",
        &[
            ("Passing", integer(i64::from(instance.weights.passing))),
            ("Warning", integer(i64::from(instance.weights.warning))),
        ],
    );
    let hash = structure(
        "AgentService",
        &[
            ("Kind", text(&extras.kind)),
            ("ID", text(&instance.id)),
            ("Service", text(&instance.service)),
            ("Tags", list(instance.tags.iter().map(|tag| text(tag)))),
            ("Meta", facts(&instance.meta)),
            ("Port", integer(i64::from(default_port(instance)))),
            ("Ports", list(ports)),
            ("Address", text(&instance.address)),
            ("SocketPath", text(&extras.socket_path)),
            ("TaggedAddresses", map(tagged)),
            ("Weights", weights),
            ("EnableTagOverride", flag(instance.enable_tag_override)),
            ("CreateIndex", integer(0)),
            ("ModifyIndex", integer(0)),
            ("ContentHash", text("")),
            ("Proxy", document(&extras.proxy)),
            ("Connect", document(&extras.connect)),
            ("PeerName", text("")),
        ],
    );
    format!("{hash:x}")
}

fn fnv1(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(*byte)
    })
}

fn text(characters: &str) -> u64 {
    fnv1(characters.as_bytes())
}

fn integer(number: i64) -> u64 {
    fnv1(&number.to_le_bytes())
}

fn flag(flag: bool) -> u64 {
    fnv1(&[u8::from(flag)])
}

/// Two hashes whose order matters.
fn pair(first: u64, second: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&first.to_le_bytes());
    bytes[8..].copy_from_slice(&second.to_le_bytes());
    fnv1(&bytes)
}

fn list(elements: impl Iterator<Item = u64>) -> u64 {
    elements.fold(0, pair)
}

fn map(entries: impl Iterator<Item = (u64, u64)>) -> u64 {
    entries.fold(0, |hash, (key, value)| hash ^ pair(key, value))
}

fn facts(meta: &Meta) -> u64 {
    map(meta.iter().map(|(key, value)| (text(key), text(value))))
}

fn structure(name: &str, fields: &[(&str, u64)]) -> u64 {
    fields.iter().fold(text(name), |hash, (field, value)| hash ^ pair(text(field), *value))
}

/// A document of the mesh counts by its words: whoever changes it changes the hash. Absent it
/// counts as Go's nil does.
fn document(words: &Text) -> u64 {
    if words.is_empty() { integer(0) } else { text(words) }
}

#[cfg(test)]
mod tests {
    use muster_model::instance::{Endpoint, Extras, NamedPort};

    use super::*;

    fn instance(id: &str, service: &str) -> Instance {
        Instance { id: id.into(), service: service.into(), ..Instance::default() }
    }

    #[test]
    fn the_hashes_are_those_that_consul_computes() {
        let endpoint = |address: &str, port| Endpoint { address: address.into(), port };
        let first = Instance {
            address: "10.0.0.1".into(),
            port: 80,
            enable_tag_override: true,
            ..instance("w1", "w")
        }
        .with_extras(Extras {
            tagged_addresses: [
                ("lan_ipv4".into(), endpoint("10.0.0.1", 80)),
                ("wan".into(), endpoint("1.2.3.4", 90)),
                ("wan_ipv4".into(), endpoint("10.0.0.1", 80)),
            ]
            .into(),
            ..Extras::default()
        });
        let second = Instance {
            tags: ["a".into()].into(),
            meta: [("k", "v")].into_iter().collect(),
            ..instance("w2", "w")
        };
        let port = NamedPort { name: "http".into(), port: 80, is_default: true };
        let third =
            instance("w3", "w").with_extras(Extras { ports: [port].into(), ..Extras::default() });
        let fourth = Instance {
            tags: ["bar".into(), "baz".into()].into(),
            port: 8000,
            ..instance("foo", "foo")
        };
        assert_eq!(of(&first), "9c4a2001c8216f21");
        assert_eq!(of(&second), "c82cb26b097e8ca6");
        assert_eq!(of(&third), "96d96a9564d2ce81");
        assert_eq!(of(&fourth), "c4bb6737c185ed93");
    }
}
