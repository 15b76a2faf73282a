//! Everybody who can take part, one file each.

mod agent_api;
mod consul;
mod consul_api;
mod coredns;
mod etcd;
mod eureka;
mod eureka_api;
pub(crate) mod floor;
mod knot;
mod muster;
mod zone_server;
mod zookeeper;

use std::path::PathBuf;
use std::rc::Rc;

use self::muster::Muster;
use crate::contestant::Contestant;
use crate::report::OWN;

/// This repository's binary, by each protocol.
pub(crate) fn own(muster: PathBuf) -> Vec<Rc<dyn Contestant>> {
    let (by_eureka, by_agents) = (format!("{OWN} (Eureka)"), format!("{OWN} (agents)"));
    vec![
        Rc::new(Muster::new(OWN, muster.clone())),
        Rc::new(Muster::by_eureka(&by_eureka, muster.clone())),
        Rc::new(Muster::by_agents(&by_agents, muster)),
    ]
}

/// This binary and an older one of it.
pub(crate) fn twins(muster: PathBuf, before: PathBuf) -> Vec<Rc<dyn Contestant>> {
    vec![Rc::new(Muster::new(OWN, muster)), Rc::new(Muster::new(crate::guard::BEFORE, before))]
}

/// What people use instead.
pub(crate) fn peers() -> Vec<Rc<dyn Contestant>> {
    vec![
        Rc::new(etcd::Etcd),
        Rc::new(zookeeper::ZooKeeper),
        Rc::new(consul::Consul),
        Rc::new(coredns::COREDNS_SERVER),
        Rc::new(knot::KNOT_SERVER),
        Rc::new(eureka::Eureka),
    ]
}

/// Those of them that a quick run has unless it is told which: the ones that start within seconds,
/// among them the best of each kind of work.
pub(crate) const QUICK_PEERS: [&str; 4] = ["etcd", "ZooKeeper", "CoreDNS", "Knot"];

/// The least that servers of this kind can cost.
pub(crate) fn floors() -> Vec<Rc<dyn Contestant>> {
    vec![Rc::new(floor::Floor::Http), Rc::new(floor::Floor::Udp)]
}
