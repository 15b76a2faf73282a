//! Servers that go in good order: what the others notice of it, and how they come back.
#![allow(clippy::unwrap_used, reason = "this is test code")]

use std::time::Duration;

use muster_agent::ConsensusSettings;
use muster_model::Command;
use muster_model::command::PutTerms;
use muster_registry::{Call, Operator, Registry};
use muster_sim::cluster::Cluster;
use muster_sim::servers::setup_of;
use muster_sim::{Latency, Telling};

const N_SERVERS: usize = 3;
/// Less than an election needs: a follower waits out 200 ms before it stands.
const WITHOUT_ELECTION: Duration = Duration::from_millis(150);

fn cluster(seed: u64) -> Cluster {
    // Space that is counted in the kilobytes of a simulated disk.
    let consensus = ConsensusSettings { reserve_bytes: 64 << 10, ..ConsensusSettings::default() };
    let setups = (0..N_SERVERS).map(|n| setup_of(n, N_SERVERS, consensus.clone())).collect();
    let mut cluster = Cluster::start(seed, Latency::default(), Telling::Logs, setups);
    let leads = cluster.run_until(Duration::from_secs(30), |cluster| leader(cluster).is_some());
    assert!(leads, "{}", story(&cluster));
    cluster
}

fn story(cluster: &Cluster) -> String {
    cluster.simulation.trace().story().join("\n")
}

/// The server that all that run take for the leader.
fn leader(cluster: &Cluster) -> Option<usize> {
    let running: Vec<_> = (0..N_SERVERS).filter_map(|n| cluster.server(n)).collect();
    let known = |server: &muster_sim::servers::Server| {
        server.agent.leadership().borrow().leader.as_ref().map(|leader| leader.id)
    };
    let first = known(running.first()?)?;
    let all_agree = running.iter().all(|server| known(server) == Some(first));
    let leads = |n: &usize| {
        cluster.server(*n).is_some_and(|server| server.agent.leadership().borrow().is_leader)
    };
    (0..N_SERVERS).find(leads).filter(|_| all_agree)
}

fn n_voters(cluster: &Cluster, at: usize) -> usize {
    cluster.server(at).map_or(0, |server| server.agent.leadership().borrow().voters.len())
}

#[test]
fn a_leader_that_stops_hands_over_before_it_goes() {
    let mut cluster = cluster(1);
    let old = leader(&cluster).unwrap();
    let agent = cluster.server(old).unwrap().agent;
    cluster.simulation.spawn(old, async move { agent.shutdown().await }).unwrap();
    let is_led = |cluster: &Cluster| {
        (0..N_SERVERS).filter(|n| *n != old).any(|n| {
            cluster.server(n).is_some_and(|server| server.agent.leadership().borrow().is_leader)
        })
    };
    assert!(cluster.run_until(WITHOUT_ELECTION, is_led), "the others had to elect");
    cluster.run_for(Duration::from_secs(3));
    assert_eq!(n_voters(&cluster, (old + 1) % N_SERVERS), 3, "it has not left");
}

#[test]
fn a_server_that_left_comes_back_and_votes_again() {
    let mut cluster = cluster(2);
    let leaving = (leader(&cluster).unwrap() + 1) % N_SERVERS;
    let agent = cluster.server(leaving).unwrap().agent;
    let left =
        cluster.simulation.spawn(leaving, async move { agent.leave(&Call::default()).await });
    let other = (leaving + 1) % N_SERVERS;
    // Once it has left, its process ends, and is started again.
    let goes = cluster.run_until(Duration::from_secs(20), |cluster| n_voters(cluster, other) == 2);
    assert!(goes, "it is still one of the group");
    drop(left);
    let is_back = |cluster: &Cluster| n_voters(cluster, other) == 3;
    let comes = cluster.run_until(Duration::from_secs(30), is_back);
    assert!(comes, "it is not taken in again:\n{}", story(&cluster));
}

#[test]
fn a_leader_without_space_leaves_the_lead_to_one_that_has_some() {
    let mut cluster = cluster(3);
    let old = leader(&cluster).unwrap();
    cluster.change_disk_faults(old, |faults| faults.bytes_max = Some(1));
    // More than was laid out ahead of use.
    let agent = cluster.server(old).unwrap().agent;
    let writing = async move {
        for _ in 0..8 {
            let command = Command::PutPair {
                key: "large".into(),
                value: [0; 128 << 10].as_slice().into(),
                flags: 0,
                terms: PutTerms::Always,
            };
            // It is refused once the space is gone, or waits for it in vain.
            let _ = agent.submit(&Call::default(), command).await;
        }
    };
    cluster.simulation.spawn(old, writing).unwrap();
    let is_elsewhere = |cluster: &Cluster| leader(cluster).is_some_and(|now| now != old);
    let moves = cluster.run_until(Duration::from_secs(20), is_elsewhere);
    assert!(moves, "a leader that can write nothing leads on:\n{}", story(&cluster));
    cluster.run_for(Duration::from_secs(20));
    assert!(is_elsewhere(&cluster), "and it stays so");
}
