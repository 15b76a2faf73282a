//! A, AAAA and CNAME records: where an instance or a node is reached.

use std::collections::HashSet;
use std::net::IpAddr;

use muster_model::answer::InstanceDetail;
use muster_model::{Meta, Node, Text};

use super::{RecordSet, View};
use crate::wire::kind;
use crate::wire::name::{is_name, name_bytes};

/// Which addresses a question takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// The one that comes first.
    Any,
    /// None, only names.
    Name,
}

impl Family {
    /// The family that a question for `kind` takes.
    pub(crate) fn of(kind: u16) -> Option<Family> {
        match kind {
            kind::A => Some(Family::V4),
            kind::AAAA => Some(Family::V6),
            kind::ANY => Some(Family::Any),
            kind::CNAME => Some(Family::Name),
            _ => None,
        }
    }

    fn takes(self, place: &Place<'_>) -> bool {
        match place {
            Place::Ip(IpAddr::V4(_)) => matches!(self, Family::V4 | Family::Any),
            Place::Ip(IpAddr::V6(_)) => matches!(self, Family::V6 | Family::Any),
            Place::Name(_) => true,
        }
    }
}

/// Where something is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place<'a> {
    /// At an address.
    Ip(IpAddr),
    /// Under another name.
    Name(&'a str),
}

impl<'a> Place<'a> {
    fn read(address: &'a str) -> Option<Place<'a>> {
        match address.parse() {
            Ok(ip) => Some(Place::Ip(ip)),
            Err(_) => is_name(address).then_some(Place::Name(address)),
        }
    }
}

/// Where an instance is reached, and whether that is its own address or its node's.
pub(crate) fn place_of(
    detail: &InstanceDetail,
    family: Family,
    prefers_wan: bool,
) -> Option<(Place<'_>, bool)> {
    let instance = &detail.instance;
    let tagged = |purpose: &str| instance.tagged_address(purpose).map(|found| &found.address);
    let mut own = candidates(&instance.address, tagged, prefers_wan).peekable();
    if own.peek().is_some() {
        return own.find(|place| family.takes(place)).map(|place| (place, true));
    }
    node_place(&detail.node, family, prefers_wan).map(|place| (place, false))
}

/// Where a node is reached.
pub(crate) fn node_place(node: &Node, family: Family, prefers_wan: bool) -> Option<Place<'_>> {
    let tagged = |purpose: &str| Meta::find(&node.tagged_addresses, purpose);
    candidates(&node.address, tagged, prefers_wan).find(|place| family.takes(place))
}

/// Addresses in the order in which they are preferred.
fn candidates<'a>(
    own: &'a Text,
    tagged: impl Fn(&str) -> Option<&'a Text>,
    prefers_wan: bool,
) -> impl Iterator<Item = Place<'a>> {
    let far = if prefers_wan { ["wan", "wan_ipv4", "wan_ipv6"] } else { [""; 3] }.map(&tagged);
    let near = ["lan_ipv4", "lan_ipv6"].map(&tagged);
    let all = far.into_iter().chain([Some(own)]).chain(near);
    all.flatten().filter_map(|address| Place::read(address))
}

/// The address records of instances; where there are none, aliases.
pub(crate) fn of_instances(
    details: &[InstanceDetail],
    family: Family,
    view: &View<'_>,
) -> RecordSet {
    let mut set = RecordSet::of_existing(!details.is_empty());
    let places = details
        .iter()
        .filter_map(|detail| place_of(detail, family, view.prefers_wan).map(|(place, _)| place));
    push_places(&mut set, places, family);
    set
}

/// The address records of a node.
pub(crate) fn of_node(node: &Node, family: Family, view: &View<'_>) -> RecordSet {
    let mut set = RecordSet::of_existing(true);
    push_places(&mut set, node_place(node, family, view.prefers_wan).into_iter(), family);
    set
}

fn push_places<'a>(set: &mut RecordSet, places: impl Iterator<Item = Place<'a>>, family: Family) {
    // One record an address, in the order in which they came: it may mean something.
    let mut seen = HashSet::new();
    let places: Vec<Place<'a>> = places.filter(|place| seen.insert(*place)).collect();
    for place in &places {
        if let Place::Ip(ip) = place
            && family != Family::Name
        {
            push_ip(set, *ip);
        }
    }
    if set.entries().is_empty() {
        for place in places {
            let Place::Name(name) = place else { continue };
            if let Ok(name) = name_bytes(name) {
                set.push_alias(kind::CNAME, &name);
                set.gives_one = true;
            }
        }
    }
}

/// Appends an address record.
pub(crate) fn push_ip(set: &mut RecordSet, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => set.push(kind::A, &ip.octets()),
        IpAddr::V6(ip) => set.push(kind::AAAA, &ip.octets()),
    };
}

/// Appends an address record that helps with the last entry.
pub(crate) fn push_extra_ip(set: &mut RecordSet, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => set.push_extra(kind::A, &ip.octets()),
        IpAddr::V6(ip) => set.push_extra(kind::AAAA, &ip.octets()),
    }
}
