//! The numbers that metrics stand at, gathered from every part when somebody asks.

use std::sync::PoisonError;

use muster_gossip::counters::{Counters, Gauges};
use muster_model::Text;
use muster_registry::operator::{Metric, MetricValue};
use muster_world::World;

use crate::agent::Agent;

impl Agent {
    pub(super) fn gather_metrics(&self) -> Vec<Metric> {
        let mut metrics = of_the_process(&*self.world);
        metrics.extend(self.own_gauges());
        for (pool, membership) in [("lan", Some(&self.lan)), ("wan", self.wan.as_ref())] {
            metrics.extend(membership.into_iter().flat_map(|it| of_gossip(pool, it.figures())));
        }
        metrics.extend(of_the_protocol(self.served(), self.pool.counters()));
        let sources = self.metric_sources.read().unwrap_or_else(PoisonError::into_inner);
        metrics.extend(sources.iter().flat_map(|source| source()));
        metrics
    }

    fn own_gauges(&self) -> Vec<Metric> {
        let usage = self.shared.state.load().usage();
        let raft = self.consensus.stats();
        let (n_kept, kept_bytes) = self.shared.memo.size();
        let leads = self.consensus.leadership().borrow().is_leader;
        let n_doubted = self.guard.lock().doubted().count();
        let (n_in_hand, n_followers) = self.n_served_now();
        let n_id_conflicts = if leads { self.conflicts.of_node_ids() } else { 0 };
        let gauges: [(&str, f64); 21] = [
            ("server.bootstrap_expect_conflicts", self.conflicts.of_expects() as f64),
            ("server.node_id_conflicts", n_id_conflicts as f64),
            ("raft.applied_index", raft.applied_index as f64),
            ("raft.last_log_index", raft.last_index as f64),
            ("raft.snapshot_index", raft.snapshot_index as f64),
            ("raft.proposals_waiting", raft.n_waiting as f64),
            ("raft.disk_free_bytes", raft.free_bytes as f64),
            ("raft.term", raft.term as f64),
            ("raft.leader.silence_ms", self.consensus.silence().as_secs_f64() * 1e3),
            ("server.isLeader", f64::from(u8::from(leads))),
            ("state.nodes", usage.n_nodes as f64),
            ("state.services", usage.n_services as f64),
            ("state.service_instances", usage.n_instances as f64),
            ("state.kv_entries", usage.n_pairs as f64),
            ("session_ttl.active", self.leases.len() as f64),
            ("guard.doubted", n_doubted as f64),
            ("memo.answers", n_kept as f64),
            ("memo.bytes", kept_bytes as f64),
            ("watch.marks", self.shared.hub.n_marks() as f64),
            ("rpc.in_hand", n_in_hand as f64),
            ("rpc.followers", n_followers as f64),
        ];
        gauges.into_iter().map(|(name, value)| gauge(name, Vec::new(), value)).collect()
    }
}

/// What the machine says of this process.
pub(crate) fn of_the_process(world: &dyn World) -> Vec<Metric> {
    let machine = world.process();
    let gauges = [
        ("runtime.alloc_bytes", machine.resident_bytes as f64),
        ("runtime.sys_bytes", machine.virtual_bytes as f64),
        ("runtime.num_threads", f64::from(machine.n_threads)),
    ];
    gauges.into_iter().map(|(name, value)| gauge(name, Vec::new(), value)).collect()
}

/// What was counted of the internal protocol: of connections taken, and of those dialed.
pub(crate) fn of_the_protocol(
    served: muster_rpc::Counters,
    dialed: muster_rpc::Counters,
) -> impl Iterator<Item = Metric> {
    let counts = [
        ("rpc.connections_open", served.connections_open + dialed.connections_open),
        ("rpc.exchanges", served.exchanges + dialed.exchanges),
        ("rpc.exchanges_busy", served.exchanges_busy + dialed.exchanges_busy),
        ("rpc.bytes_read", served.bytes_read + dialed.bytes_read),
        ("rpc.bytes_written", served.bytes_written + dialed.bytes_written),
        ("rpc.dials_failed", dialed.dials_failed),
        ("rpc.refused.not_ours", served.closed_not_ours),
        ("rpc.refused.version", served.closed_version + dialed.closed_version),
        ("rpc.refused.unwelcome", served.closed_unwelcome + dialed.closed_unwelcome),
        ("rpc.refused.oversize", served.closed_oversize),
        ("rpc.refused.garbage", served.closed_garbage),
    ];
    counts.into_iter().map(|(name, count)| counter(name, Vec::new(), count))
}

/// What was counted of a pool, and how it stands.
pub(crate) fn of_gossip(pool: &'static str, (counted, now): (Counters, Gauges)) -> Vec<Metric> {
    let labels = || vec![(Text::from("pool"), Text::from(pool))];
    let counts = [
        ("gossip.packets_in", counted.packets_in),
        ("gossip.packets_out", counted.packets_out),
        ("gossip.packet_bytes_in", counted.packet_bytes_in),
        ("gossip.packet_bytes_out", counted.packet_bytes_out),
        ("gossip.exchanges_failed", counted.exchanges_failed),
        ("gossip.probes", counted.probes),
        ("gossip.probes_failed", counted.probes_failed),
        ("gossip.refutations", counted.refutations),
        ("gossip.broadcasts_dropped", counted.broadcasts_dropped),
        ("gossip.name_conflicts", counted.name_conflicts),
        ("gossip.clocks_off", counted.clocks_off),
    ];
    let gauges = [
        ("gossip.members_active", now.n_active as f64),
        ("gossip.members_failed", now.n_failed as f64),
        ("gossip.awareness", f64::from(now.awareness)),
        ("gossip.broadcasts", now.n_broadcasts as f64),
    ];
    let counts = counts.into_iter().map(|(name, count)| counter(name, labels(), count));
    let refused = counted.refused.by_kind().into_iter().map(|(reason, count)| {
        let labels = labels().into_iter().chain([("reason".into(), reason.into())]);
        counter("gossip.refused", labels.collect(), count)
    });
    counts
        .chain(refused)
        .chain(gauges.into_iter().map(|(name, value)| gauge(name, labels(), value)))
        .collect()
}

fn gauge(name: &str, labels: Vec<(Text, Text)>, value: f64) -> Metric {
    Metric { name: name.into(), labels, value: MetricValue::Gauge(value) }
}

fn counter(name: &str, labels: Vec<(Text, Text)>, count: u64) -> Metric {
    Metric { name: name.into(), labels, value: MetricValue::Counter(count) }
}
