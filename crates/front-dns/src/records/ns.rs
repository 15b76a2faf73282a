//! NS records: the servers of the registry by their nodes' names, with their addresses as glue.

use muster_model::answer::InstanceDetail;

use super::address::{Family, Place, node_place, push_extra_ip};
use super::{RecordSet, View, srv};
use crate::wire::kind;
use crate::wire::name::is_name;

/// The service under which the registry's own servers are found.
pub(crate) const SERVERS: &str = "consul";

/// The NS records of the servers. Nodes whose names are no DNS names are left out.
pub(crate) fn of_servers(details: &[InstanceDetail], view: &View<'_>) -> RecordSet {
    let mut set = RecordSet::of_existing(true);
    for detail in details {
        if !is_name(&detail.node.name) {
            continue;
        }
        let Some(Place::Ip(ip)) = node_place(&detail.node, Family::Any, view.prefers_wan) else {
            continue;
        };
        if let Some(target) = srv::node_target(&detail.node.name, view) {
            set.push(kind::NS, &target);
            push_extra_ip(&mut set, ip);
        }
    }
    set
}
