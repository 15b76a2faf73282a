//! The cluster that a test's agent belongs to: whatever the test says it is.
//!
//! [`Cluster::alone`] is what an agent begins with; [`Cluster::of_three`] has something of
//! everything that a cluster can show. Every field is open.

use std::time::Duration;

use muster_model::coordinate::{Coordinate, NodeCoordinate};
use muster_model::{Index, Text};
use muster_registry::cluster::{
    AutopilotView, Datacenter, KeyUse, KeyringReport, Member, MemberStatus, Pool, RaftServer,
    ServerHealth, Versions,
};
use muster_registry::local::Identity;

/// When all that is stable became so, as time since 1970.
const STABLE_SINCE: Duration = Duration::from_secs(1_795_461_359);

/// What an agent knows of its cluster. Its own last index is the bench's.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Members of its datacenter's pool.
    pub lan: Vec<Member>,
    /// Members of the pool of all datacenters' servers.
    pub wan: Vec<Member>,
    /// The servers of the Raft group.
    pub servers: Vec<RaftServer>,
    /// The leader's address, if there is one.
    pub leader_address: Option<Text>,
    /// The present term.
    pub term: u64,
    /// The index at which the set of voters last changed.
    pub voters_index: Index,
    /// How the servers are.
    pub autopilot: AutopilotView,
    /// What is said to any wish about keys.
    pub keyring: Vec<KeyringReport>,
    /// The datacenters, the nearest first.
    pub datacenters: Vec<Datacenter>,
}

impl Cluster {
    /// A server that is alone and has no key.
    pub fn alone(identity: &Identity) -> Cluster {
        let own = Server { node: &identity.node, id: &identity.node_id, n: 1 };
        let no_key = |pool, name| KeyringReport {
            datacenter: identity.datacenter.clone(),
            pool,
            n_members: 1,
            n_answers: 1,
            n_errors: 1,
            messages: vec![(name, "Keyring is empty (encryption not enabled)".into())],
            keys: Vec::new(),
        };
        Cluster {
            lan: vec![own.member(identity, Pool::Lan)],
            wan: vec![own.member(identity, Pool::Wan)],
            servers: vec![own.in_group(true)],
            leader_address: Some(own.address()),
            term: 1,
            voters_index: 0,
            autopilot: AutopilotView {
                is_healthy: true,
                failure_tolerance: 0,
                leader_id: identity.node_id.clone(),
                servers: vec![own.health(identity, true)],
            },
            keyring: vec![
                no_key(Pool::Wan, wan_name(&identity.node, &identity.datacenter)),
                no_key(Pool::Lan, identity.node.clone()),
            ],
            datacenters: vec![Datacenter {
                name: identity.datacenter.clone(),
                servers: vec![place(&wan_name(&identity.node, &identity.datacenter), 0.0)],
            }],
        }
    }

    /// Three servers of which another leads and one has failed, a client that left, and a second
    /// datacenter.
    pub fn of_three(identity: &Identity) -> Cluster {
        let own = Server { node: &identity.node, id: &identity.node_id, n: 1 };
        let leader = Server { node: "n2", id: "22222222-2222-3333-4444-555555555555", n: 2 };
        let failed = Server { node: "n3", id: "33333333-2222-3333-4444-555555555555", n: 3 };
        let key = |n_members, n_primary| KeyUse {
            key: Text::from("cg8StVXbQJ0gPvMd9o7yrg==").into(),
            n_members,
            n_primary,
        };
        let keys = |pool, n_members| KeyringReport {
            datacenter: identity.datacenter.clone(),
            pool,
            n_members,
            n_answers: n_members,
            keys: vec![key(n_members, n_members)],
            ..KeyringReport::default()
        };
        let in_pool = |pool| {
            let mut gone = failed.member(identity, pool);
            gone.status = MemberStatus::Failed;
            vec![own.member(identity, pool), leader.member(identity, pool), gone]
        };
        let mut lan = in_pool(Pool::Lan);
        lan.push(client(identity));
        let mut unhealthy = failed.health(identity, false);
        unhealthy.member_status = MemberStatus::Failed;
        unhealthy.is_healthy = false;
        unhealthy.last_contact = None;
        let mut outside = failed.in_group(false);
        outside.node = Text::default();
        outside.protocol_version = None;
        Cluster {
            lan,
            wan: in_pool(Pool::Wan),
            servers: vec![own.in_group(false), leader.in_group(true), outside],
            leader_address: Some(leader.address()),
            term: 3,
            voters_index: 9,
            autopilot: AutopilotView {
                is_healthy: false,
                failure_tolerance: 0,
                leader_id: leader.id.into(),
                servers: vec![
                    own.health(identity, false),
                    leader.health(identity, true),
                    unhealthy,
                ],
            },
            keyring: vec![keys(Pool::Wan, 3), keys(Pool::Lan, 4)],
            datacenters: vec![
                Datacenter {
                    name: identity.datacenter.clone(),
                    servers: vec![place("n1.dc1", 0.0), place("n2.dc1", 0.001)],
                },
                Datacenter { name: "dc2".into(), servers: vec![place("m1.dc2", 0.05)] },
            ],
        }
    }

    /// The members of a pool.
    pub fn members(&self, pool: Pool) -> &[Member] {
        match pool {
            Pool::Lan => &self.lan,
            Pool::Wan => &self.wan,
        }
    }
}

/// A server, the `n`th of its cluster, and how it looks from each side.
struct Server<'a> {
    node: &'a str,
    id: &'a str,
    n: u8,
}

impl Server<'_> {
    fn address(&self) -> Text {
        format!("127.0.0.{}:8300", self.n).into()
    }

    fn member(&self, identity: &Identity, pool: Pool) -> Member {
        Member {
            name: match pool {
                Pool::Lan => self.node.into(),
                Pool::Wan => wan_name(self.node, &identity.datacenter),
            },
            address: format!("127.0.0.{}", self.n).into(),
            port: if pool == Pool::Lan { 8301 } else { 8302 },
            tags: tags(&[("dc", &identity.datacenter), ("id", self.id), ("role", "consul")]),
            status: MemberStatus::Alive,
            protocol: PROTOCOL,
            payload: PAYLOAD,
        }
    }

    fn in_group(&self, is_leader: bool) -> RaftServer {
        RaftServer {
            id: self.id.into(),
            node: self.node.into(),
            address: self.address(),
            is_leader,
            is_voter: true,
            protocol_version: Some(3),
            last_index: 5,
        }
    }

    fn health(&self, identity: &Identity, is_leader: bool) -> ServerHealth {
        ServerHealth {
            id: self.id.into(),
            node: self.node.into(),
            address: self.address(),
            member_status: MemberStatus::Alive,
            version: "1.22.6".into(),
            is_leader,
            is_voter: true,
            last_contact: Some(Duration::from_millis(if is_leader { 0 } else { 25 })),
            last_term: 1,
            last_index: 5,
            is_healthy: true,
            stable_since: STABLE_SINCE,
            meta: identity.node_meta.clone(),
        }
    }
}

const PROTOCOL: Versions = Versions { min: 1, max: 5, current: 2 };
const PAYLOAD: Versions = Versions { min: 2, max: 5, current: 4 };

fn client(identity: &Identity) -> Member {
    Member {
        name: "c1".into(),
        address: "127.0.0.9".into(),
        port: 8301,
        tags: tags(&[("build", "1.22.6:x"), ("dc", &identity.datacenter), ("role", "node")]),
        status: MemberStatus::Left,
        protocol: PROTOCOL,
        payload: PAYLOAD,
    }
}

fn tags(pairs: &[(&str, &str)]) -> Vec<(Text, Text)> {
    pairs.iter().map(|(key, value)| (Text::from(*key), Text::from(*value))).collect()
}

fn wan_name(node: &str, datacenter: &str) -> Text {
    format!("{node}.{datacenter}").into()
}

/// A place at a distance, in seconds, from the map's middle.
fn place(node: &str, distance: f64) -> NodeCoordinate {
    let mut coordinate = Coordinate::default();
    coordinate.vector[0] = distance;
    NodeCoordinate { node: node.into(), segment: Text::default(), coordinate }
}
