//! Members, voters, keys, backup, logs, numbers and the machine, for those who run the agent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use muster_model::answer::Body;
use muster_model::coordinate::NodeCoordinate;
use muster_model::{Query, Text};
use muster_registry::cluster::{
    AutopilotView, Datacenter, KeyringReach, KeyringReport, KeyringWish, Member, MemberStatus,
    Pool, RaftServer, RaftView, ServerHealth, ServerKey, Versions,
};
use muster_registry::operator::{HostFacts, LogLine, Metric, MetricValue, Saved, SettingValue};
use muster_registry::{Call, Freshness, Operator, Pending, Refusal, Registry};
use tokio::sync::{broadcast, mpsc};

use crate::agent::Agent;

/// The versions of the gossip protocol and of what rides on it, as Consul's members name them.
/// Ours is another protocol; they are told because tools read them.
const PROTOCOL: Versions = Versions { min: 1, max: 5, current: 2 };
const PAYLOAD: Versions = Versions { min: 2, max: 5, current: 4 };
/// The version of the protocol among servers, as Consul counts it; tools compare it.
const RAFT_PROTOCOL_VERSION: u32 = 3;
/// What a member says about keys that has none.
const NO_KEYRING: &str = "Keyring is empty (encryption not enabled)";

impl Operator for Agent {
    fn members(&self, pool: Pool) -> Vec<Member> {
        vec![self.own_member(pool)]
    }

    fn join<'a>(
        &'a self,
        _: &'a Call,
        address: &'a str,
        _: Pool,
    ) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(async move {
            let own = format!("{}:{}", self.setup.identity.address, self.setup.gossip_port);
            if address == own || address == &*self.setup.identity.address {
                return Ok(());
            }
            Err(Refusal::Unsupported(format!(
                "cannot join {address}: this agent is a cluster of one and does not gossip"
            )))
        })
    }

    fn force_leave<'a>(
        &'a self,
        _: &'a Call,
        node: &'a str,
        _: bool,
        pool: Pool,
    ) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(async move {
            if node.eq_ignore_ascii_case(&self.own_member(pool).name) {
                return Ok(());
            }
            Err(Refusal::Unknown(format!("no member is called {node:?}")))
        })
    }

    fn leave<'a>(&'a self, _: &'a Call) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(async move {
            self.stop();
            Ok(())
        })
    }

    fn reload<'a>(&'a self, _: &'a Call) -> Pending<'a, Result<(), Refusal>> {
        (self.setup.reload)()
    }

    fn raft<'a>(
        &'a self,
        call: &'a Call,
        freshness: Freshness,
    ) -> Pending<'a, Result<RaftView, Refusal>> {
        Box::pin(async move {
            self.refuse_elsewhere(call)?;
            let view = self.raft_view();
            if view.leader_address.is_none() && freshness != Freshness::Stale {
                return Err(Refusal::NoLeader);
            }
            Ok(view)
        })
    }

    fn remove_server<'a>(
        &'a self,
        call: &'a Call,
        server: ServerKey,
    ) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(async move {
            self.refuse_elsewhere(call)?;
            let servers = self.raft_view().servers;
            let (what, wished, is_known) = match &server {
                ServerKey::Id(id) => ("id", id, servers.iter().any(|own| own.id == *id)),
                ServerKey::Address(address) => {
                    ("address", address, servers.iter().any(|own| own.address == *address))
                }
            };
            Err(if is_known {
                let why = "is the last server that votes; it cannot be removed";
                Refusal::Invalid(format!("{what} {wished:?} {why}"))
            } else {
                Refusal::Unknown(format!("no server has {what} {wished:?}"))
            })
        })
    }

    fn transfer_leadership<'a>(
        &'a self,
        call: &'a Call,
        to: Option<Text>,
    ) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(async move {
            self.refuse_elsewhere(call)?;
            Err(match to {
                None => Refusal::Invalid("cannot find peer".to_owned()),
                Some(id) if id == self.setup.identity.node_id => {
                    Refusal::Invalid("cannot transfer leadership to itself".to_owned())
                }
                Some(id) => Refusal::Unknown(format!("no server has id {id:?}")),
            })
        })
    }

    fn autopilot<'a>(&'a self, call: &'a Call) -> Pending<'a, Result<AutopilotView, Refusal>> {
        Box::pin(async move {
            self.refuse_elsewhere(call)?;
            Ok(self.autopilot_view())
        })
    }

    fn keyring<'a>(
        &'a self,
        _: &'a Call,
        _: KeyringWish,
        reach: KeyringReach,
    ) -> Pending<'a, Result<Vec<KeyringReport>, Refusal>> {
        let report = |pool| KeyringReport {
            datacenter: self.setup.identity.datacenter.clone(),
            pool,
            n_members: 1,
            n_answers: 1,
            n_errors: 1,
            messages: vec![(self.own_member(pool).name, NO_KEYRING.into())],
            keys: Vec::new(),
        };
        let wan = (!reach.is_local_only).then(|| report(Pool::Wan));
        let reports = wan.into_iter().chain([report(Pool::Lan)]).collect();
        Box::pin(std::future::ready(Ok(reports)))
    }

    fn datacenters<'a>(&'a self, call: &'a Call) -> Pending<'a, Result<Vec<Datacenter>, Refusal>> {
        Box::pin(async move {
            let identity = &self.setup.identity;
            let query = Query::Coordinates { node: Some(identity.node.clone()) };
            let answered = self.peek(call, &query);
            let known = answered.and_then(|answered| match &answered.answer.body {
                Body::Coordinates(places) => places.first().map(|place| place.coordinate.clone()),
                _ => None,
            });
            let server = NodeCoordinate {
                node: self.own_member(Pool::Wan).name,
                segment: Text::default(),
                coordinate: known.unwrap_or_default(),
            };
            Ok(vec![Datacenter { name: identity.datacenter.clone(), servers: vec![server] }])
        })
    }

    fn save<'a>(
        &'a self,
        call: &'a Call,
        freshness: Freshness,
    ) -> Pending<'a, Result<Saved, Refusal>> {
        Box::pin(self.save_state(call, freshness))
    }

    fn restore<'a>(
        &'a self,
        call: &'a Call,
        blocks: mpsc::Receiver<Result<Bytes, std::io::Error>>,
    ) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(self.restore_state(call, blocks))
    }

    fn log_lines(&self) -> broadcast::Receiver<Arc<LogLine>> {
        self.logs.listen()
    }

    fn metrics(&self) -> Vec<Metric> {
        self.gather_metrics()
    }

    fn host(&self) -> HostFacts {
        let machine = self.world.machine(&self.setup.data_folder);
        HostFacts {
            collected_at: u64::try_from(self.world.wall_clock().as_nanos()).unwrap_or(u64::MAX),
            hostname: machine.hostname.into(),
            os: std::env::consts::OS.into(),
            kernel: machine.kernel.into(),
            architecture: std::env::consts::ARCH.into(),
            n_processors: machine.n_processors,
            uptime_s: machine.uptime.as_secs(),
            memory_bytes: machine.memory_bytes,
            memory_available_bytes: machine.memory_available_bytes,
            disk_bytes: machine.disk_bytes,
            disk_free_bytes: machine.disk_free_bytes,
        }
    }

    fn settings(&self) -> SettingValue {
        self.setup.settings.clone()
    }

    fn uptime(&self) -> Duration {
        self.started_at.elapsed()
    }
}

impl Agent {
    /// What only this datacenter's servers can say or do is refused for others.
    fn refuse_elsewhere(&self, call: &Call) -> Result<(), Refusal> {
        match &call.datacenter {
            Some(other) if *other != self.setup.identity.datacenter => {
                Err(Refusal::NoDatacenter(other.clone()))
            }
            _ => Ok(()),
        }
    }

    fn own_member(&self, pool: Pool) -> Member {
        let identity = &self.setup.identity;
        let server_port = self.setup.server_address.rsplit(':').next().unwrap_or_default();
        let version = self.setup.api_version.as_str();
        let tags = [
            ("acls", "0"),
            ("bootstrap", "1"),
            ("build", version),
            ("dc", &identity.datacenter),
            ("id", &identity.node_id),
            ("port", server_port),
            ("raft_vsn", "3"),
            ("role", "consul"),
            ("segment", ""),
            ("vsn", "2"),
            ("vsn_max", "3"),
            ("vsn_min", "2"),
        ];
        Member {
            name: match pool {
                Pool::Lan => identity.node.clone(),
                Pool::Wan => format!("{}.{}", identity.node, identity.datacenter).into(),
            },
            address: identity.address.clone(),
            port: self.setup.gossip_port,
            tags: tags.iter().map(|(key, value)| (Text::from(*key), Text::from(*value))).collect(),
            status: MemberStatus::Alive,
            protocol: PROTOCOL,
            payload: PAYLOAD,
        }
    }

    fn raft_view(&self) -> RaftView {
        let stats = self.consensus.stats();
        let leadership = self.consensus.leadership().borrow().clone();
        let identity = &self.setup.identity;
        let leader_id = leadership.leader.as_ref().map(|leader| leader.id);
        let servers = leadership.voters.iter().map(|voter| RaftServer {
            id: identity.node_id.clone(),
            node: identity.node.clone(),
            address: voter.address.as_str().into(),
            is_leader: leader_id == Some(voter.id),
            is_voter: true,
            protocol_version: Some(RAFT_PROTOCOL_VERSION),
            last_index: stats.last_index,
        });
        RaftView {
            servers: servers.collect(),
            leader_address: leadership.leader.map(|leader| leader.address.into()),
            term: stats.term,
            last_index: stats.last_index,
            commit_index: stats.committed_index.max(stats.applied_index),
            applied_index: stats.applied_index,
            snapshot_index: stats.snapshot_index,
            voters_index: stats.voters_index,
        }
    }

    /// A server that is alone is well while it leads: of itself it knows nothing better.
    fn autopilot_view(&self) -> AutopilotView {
        let raft = self.raft_view();
        let is_healthy = raft.leader_address.is_some();
        let servers = raft.servers.iter().map(|server| ServerHealth {
            id: server.id.clone(),
            node: server.node.clone(),
            address: server.address.clone(),
            member_status: MemberStatus::Alive,
            version: self.setup.api_version.clone(),
            is_leader: server.is_leader,
            is_voter: server.is_voter,
            last_contact: is_healthy.then_some(Duration::ZERO),
            last_term: raft.term,
            last_index: server.last_index,
            is_healthy,
            stable_since: self.world.wall_clock().saturating_sub(self.started_at.elapsed()),
            meta: self.setup.identity.node_meta.clone(),
        });
        let leader = raft.servers.iter().find(|server| server.is_leader);
        AutopilotView {
            is_healthy,
            failure_tolerance: 0,
            leader_id: leader.map(|server| server.id.clone()).unwrap_or_default(),
            servers: servers.collect(),
        }
    }

    fn gather_metrics(&self) -> Vec<Metric> {
        let usage = self.shared.state.load().usage();
        let raft = self.consensus.stats();
        let (n_kept, kept_bytes) = self.shared.memo.size();
        let machine = self.world.process();
        let gauges: [(&str, f64); 17] = [
            ("runtime.alloc_bytes", machine.resident_bytes as f64),
            ("runtime.sys_bytes", machine.virtual_bytes as f64),
            ("runtime.num_threads", f64::from(machine.n_threads)),
            ("raft.applied_index", raft.applied_index as f64),
            ("raft.last_log_index", raft.last_index as f64),
            ("raft.snapshot_index", raft.snapshot_index as f64),
            ("raft.proposals_waiting", raft.n_waiting as f64),
            ("raft.disk_free_bytes", raft.free_bytes as f64),
            ("raft.term", raft.term as f64),
            ("state.nodes", usage.n_nodes as f64),
            ("state.services", usage.n_services as f64),
            ("state.service_instances", usage.n_instances as f64),
            ("state.kv_entries", usage.n_pairs as f64),
            ("session_ttl.active", self.leases.len() as f64),
            ("memo.answers", n_kept as f64),
            ("memo.bytes", kept_bytes as f64),
            ("watch.marks", self.shared.hub.n_marks() as f64),
        ];
        let gauges = gauges.into_iter().map(|(name, value)| Metric {
            name: name.into(),
            labels: Vec::new(),
            value: MetricValue::Gauge(value),
        });
        let sources = self.metric_sources.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        gauges.chain(sources.iter().flat_map(|source| source())).collect()
    }
}
