//! PTR records: the name behind an address, and reading addresses from reverse names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use muster_model::answer::Row;
use muster_model::{Instance, Node};

use super::{RecordSet, View, srv};
use crate::wire::kind;
use crate::wire::name::{Name, name_bytes};

/// The address that a reverse name spells (`1.0.0.10.in-addr.arpa`).
pub(crate) fn reversed_address(name: &Name<'_>) -> Option<IpAddr> {
    let n_labels = name.n_labels();
    let label = |i: usize| name.text(i, i + 1);
    if n_labels == 6 && name.ends_in("in-addr.arpa", 2) {
        let mut octets = [0; 4];
        for (i, octet) in octets.iter_mut().rev().enumerate() {
            let digits = label(i).filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
            *octet = digits.parse().ok()?;
        }
        return Some(Ipv4Addr::from(octets).into());
    }
    if n_labels == 34 && name.ends_in("ip6.arpa", 2) {
        let mut bits = 0u128;
        for i in (0..32).rev() {
            let digit = label(i).filter(|text| text.len() == 1)?;
            bits = bits << 4 | u128::from(u8::from_str_radix(digit, 16).ok()?);
        }
        return Some(Ipv6Addr::from(bits).into());
    }
    None
}

/// Whether a name lies where addresses are looked up in reverse.
pub(crate) fn is_reverse(name: &Name<'_>) -> bool {
    name.ends_in("in-addr.arpa", 2) || name.ends_in("ip6.arpa", 2)
}

/// The PTR records of an address: of the node that has it, else of the services that do.
pub(crate) fn of_owners(
    nodes: &[Row<Node>],
    instances: &[Row<Instance>],
    view: &View<'_>,
) -> RecordSet {
    let mut set = RecordSet::default();
    if let Some(target) = nodes.iter().find_map(|node| srv::node_target(&node.name, view)) {
        set.push(kind::PTR, &target);
    } else {
        let mut names: Vec<&str> = instances.iter().map(|own| own.service.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        for service in names {
            let name = format!("{service}.service.{}.{}", view.datacenter, view.domain);
            if let Ok(target) = name_bytes(&name) {
                set.push(kind::PTR, &target);
            }
        }
    }
    set.exists = !set.entries().is_empty();
    set
}
