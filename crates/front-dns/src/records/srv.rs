//! SRV records: port, weight and target of each instance, with the target's address beside it.
//!
//! The target is the node's name where the instance has no address of its own, the name that
//! spells its address (`0a000001.addr...`) where it has one, and the address itself where that is
//! a name. Targets are never compressed (RFC 2782), so a piece can be copied anywhere; the owners
//! of the extras point into it.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use muster_model::answer::InstanceDetail;
use muster_model::{Instance, Status};

use super::address::{Family, Place, place_of, push_extra_ip};
use super::{RecordSet, View, txt};
use crate::wire::kind;
use crate::wire::name::name_bytes;
use crate::wire::writer::PIECE_HEAD_BYTES;

/// The priority of every record: weights tell instances apart, priorities do not.
const PRIORITY: u16 = 1;
/// Bytes of an SRV record's data before the target.
const DATA_HEAD_BYTES: usize = 6;

/// The SRV records of instances.
pub(crate) fn of_instances(details: &[InstanceDetail], view: &View<'_>) -> RecordSet {
    let mut set = RecordSet::of_existing(!details.is_empty());
    let mut seen = HashSet::new();
    let mut groups = HashMap::new();
    for detail in details {
        let Some(found) = place_of(detail, Family::Any, view.prefers_wan) else { continue };
        let Some(port) = port_of(detail, view) else { continue };
        if seen.insert((&*detail.node.name, found.0, port)) {
            push(&mut set, &mut groups, detail, found, port, view);
        }
    }
    set
}

/// The port of an instance; nothing where it lacks the named one.
fn port_of(detail: &InstanceDetail, view: &View<'_>) -> Option<u16> {
    let instance = &detail.instance;
    let ports = &instance.extras().ports;
    if let Some(name) = view.port {
        return named_port(instance, name);
    }
    if view.prefers_wan
        && let Some(far) = instance.tagged_address("wan").filter(|far| far.port != 0)
    {
        return Some(far.port);
    }
    let default = || ports.iter().find(|port| port.is_default).map_or(0, |port| port.port);
    Some(if instance.port == 0 { default() } else { instance.port })
}

/// The port that an instance has under a name.
pub(crate) fn named_port(instance: &Instance, name: &str) -> Option<u16> {
    let mut ports = instance.extras().ports.iter();
    ports.find(|port| port.name.eq_ignore_ascii_case(name)).map(|port| port.port)
}

fn push<'a>(
    set: &mut RecordSet,
    groups: &mut HashMap<Vec<u8>, u32>,
    detail: &'a InstanceDetail,
    (place, is_own): (Place<'a>, bool),
    port: u16,
    view: &View<'_>,
) {
    let Some(target) = target_of(detail, place, is_own, view) else { return };
    let weights = detail.instance.weights;
    let weight = if detail.status() == Status::Warning { weights.warning } else { weights.passing };
    let mut data = Vec::with_capacity(DATA_HEAD_BYTES + target.len());
    for number in [PRIORITY, weight, port] {
        data.extend_from_slice(&number.to_be_bytes());
    }
    data.extend_from_slice(&target);
    let own_group = set.entries().len() as u32;
    let group = *groups.entry(target).or_insert(own_group);
    set.shares_targets |= group != own_group;
    let entry = match place {
        Place::Ip(_) => set.push(kind::SRV, &data),
        Place::Name(_) => set.push_alias(kind::SRV, &data),
    };
    entry.target_at = (PIECE_HEAD_BYTES + DATA_HEAD_BYTES) as u16;
    entry.group = group;
    if let Place::Ip(ip) = place {
        push_extra_ip(set, ip);
    }
    if view.node_meta_txt {
        txt::push_extras(set, &detail.node.meta);
    }
}

/// The target on the wire; nothing where not even the spelled address makes a name.
fn target_of(
    detail: &InstanceDetail,
    place: Place<'_>,
    is_own: bool,
    view: &View<'_>,
) -> Option<Vec<u8>> {
    match place {
        Place::Name(name) => name_bytes(name).ok(),
        Place::Ip(ip) => {
            let node = || node_target(&detail.node.name, view);
            let own = if is_own { None } else { node() };
            own.or_else(|| name_bytes(&spelled(ip, view)).ok())
        }
    }
}

/// The name of a node on the wire; nothing where it is no DNS name.
pub(crate) fn node_target(node: &str, view: &View<'_>) -> Option<Vec<u8>> {
    name_bytes(&format!("{node}.node.{}.{}", view.datacenter, view.domain)).ok()
}

/// The name that spells an address.
fn spelled(ip: IpAddr, view: &View<'_>) -> String {
    let (datacenter, domain) = (view.datacenter, view.domain);
    match ip {
        IpAddr::V4(ip) => format!("{:08x}.addr.{datacenter}.{domain}", ip.to_bits()),
        IpAddr::V6(ip) => format!("{:032x}.addr.{datacenter}.{domain}", ip.to_bits()),
    }
}
