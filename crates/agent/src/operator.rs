//! Members, backup, logs, numbers and the machine, for those who run the agent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use muster_model::Text;
use muster_registry::operator::{
    HostFacts, LogLine, Member, MemberStatus, Metric, MetricValue, RaftServer, RaftView, Saved,
    SettingValue,
};
use muster_registry::{Call, Freshness, Operator, Pending, Refusal};
use tokio::sync::{broadcast, mpsc};

use crate::agent::Agent;

impl Operator for Agent {
    fn members(&self) -> Vec<Member> {
        vec![self.own_member()]
    }

    fn join<'a>(
        &'a self,
        _: &'a Call,
        address: &'a str,
        _: bool,
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
    ) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(async move {
            if node.eq_ignore_ascii_case(&self.setup.identity.node) {
                return Ok(());
            }
            Err(Refusal::Unknown(format!("agent: No node found with name '{node}'")))
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

    fn raft(&self) -> RaftView {
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
    fn own_member(&self) -> Member {
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
            name: identity.node.clone(),
            address: identity.address.clone(),
            port: self.setup.gossip_port,
            tags: tags.iter().map(|(key, value)| (Text::from(*key), Text::from(*value))).collect(),
            status: MemberStatus::Alive,
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
