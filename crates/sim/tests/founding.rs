//! Servers that are configured against each other, or whose clocks are: they found no group, say
//! why, and do so once somebody has mended it.
#![allow(clippy::unwrap_used, reason = "this is test code")]

use std::time::Duration;

use muster_agent::ConsensusSettings;
use muster_registry::Operator;
use muster_registry::cluster::Pool;
use muster_registry::operator::MetricValue;
use muster_sim::cluster::Cluster;
use muster_sim::servers::setup_of;
use muster_sim::{Latency, Telling};

const N_SERVERS: usize = 3;
const HOUR_NS: i64 = 3_600 * 1_000_000_000;
/// Enough for many tries, which are two seconds apart at most.
const A_WHILE: Duration = Duration::from_secs(8);

/// Three servers of which the last is told to expect so many.
fn cluster(seed: u64, last_expects: usize) -> Cluster {
    let consensus = ConsensusSettings { reserve_bytes: 64 << 10, ..ConsensusSettings::default() };
    let setup = |n| {
        let mut setup = setup_of(n, N_SERVERS, consensus.clone());
        if n + 1 == N_SERVERS {
            setup.expects = last_expects;
        }
        setup
    };
    let setups = (0..N_SERVERS).map(setup).collect();
    Cluster::start(seed, Latency::default(), Telling::Logs, setups)
}

fn story(cluster: &Cluster) -> String {
    cluster.simulation.trace().story().join("\n")
}

fn is_led(cluster: &Cluster) -> bool {
    let mut running = (0..N_SERVERS).filter_map(|n| cluster.server(n));
    running.any(|server| server.agent.leadership().borrow().is_leader)
}

fn n_members(cluster: &Cluster, at: usize) -> usize {
    cluster.server(at).map_or(0, |server| server.agent.members(Pool::Lan).len())
}

/// A metric of a server, of the LAN pool where there is one for each, and of that reason.
fn metric(cluster: &Cluster, at: usize, name: &str, reason: Option<&str>) -> f64 {
    let metrics = cluster.server(at).unwrap().agent.metrics();
    let is_it = |key: &str, wanted: &str, labels: &[(muster_model::Text, muster_model::Text)]| {
        labels.iter().any(|(label, value)| **label == *key && **value == *wanted)
    };
    let found = metrics.iter().find(|metric| {
        let of_reason = |reason| is_it("reason", reason, &metric.labels);
        *metric.name == *name && reason.is_none_or(of_reason)
    });
    match found.unwrap_or_else(|| panic!("no metric {name}")).value {
        MetricValue::Gauge(value) => value,
        MetricValue::Counter(count) => count as f64,
        ref other => panic!("{other:?} is neither"),
    }
}

#[test]
fn a_server_whose_clock_is_far_off_gets_in_once_it_is_set_right() {
    let mut cluster = cluster(1, N_SERVERS);
    cluster.simulation.set_wall_clock_off(2, HOUR_NS);
    cluster.run_for(A_WHILE);
    assert!(!is_led(&cluster), "two of three cannot found a group");
    assert_eq!([0, 1, 2].map(|n| n_members(&cluster, n)), [2, 2, 1], "{}", story(&cluster));
    assert!(metric(&cluster, 2, "gossip.refused", Some("clock_off")) >= 1.0);
    let said = story(&cluster);
    assert!(said.contains("3600 s ahead of this") && said.contains("3600 s behind this"), "{said}");

    cluster.simulation.set_wall_clock_off(2, 0);
    assert!(cluster.run_until(A_WHILE, is_led), "{}", story(&cluster));
    // Whoever is in stays in: no promise is kept by that clock.
    cluster.simulation.set_wall_clock_off(2, -HOUR_NS);
    let is_told = |cluster: &Cluster| metric(cluster, 2, "gossip.clocks_off", None) >= 1.0;
    assert!(cluster.run_until(Duration::from_secs(120), is_told), "{}", story(&cluster));
    assert!(is_led(&cluster));
    assert_eq!([0, 1, 2].map(|n| n_members(&cluster, n)), [3, 3, 3]);
}

#[test]
fn servers_that_expect_different_numbers_found_no_group_and_say_so() {
    let mut cluster = cluster(2, 2);
    cluster.run_for(A_WHILE);
    assert!(!is_led(&cluster));
    let expect_conflicts = |at| metric(&cluster, at, "server.bootstrap_expect_conflicts", None);
    assert_eq!([0, 1, 2].map(expect_conflicts), [1.0, 1.0, 2.0], "{}", story(&cluster));
    let said = story(&cluster);
    assert!(said.contains("expects 2 servers and this one 3: set the same bootstrap_expect"));
    let n_said = said.matches("set the same bootstrap_expect").count();
    assert!(n_said <= 4, "once for each that differs, not at each try: {said}");
}
