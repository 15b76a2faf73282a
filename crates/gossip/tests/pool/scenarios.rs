//! Scenarios that are measured: load, detection, false deaths, a pool that begins at once.
//!
//! Each is a function of the size, the settings and the seed, so that Lifeguard and plain SWIM can
//! be compared on the same days.

use std::collections::BTreeSet;
use std::time::Duration;

use muster_gossip::{Lifeguard, Notice, Settings, Status};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::network::Network;

const SECOND: Duration = Duration::from_secs(1);

/// Plain SWIM with the timing of memberlist's LAN defaults.
pub(crate) fn plain() -> Settings {
    with_timing_of_memberlist(Lifeguard::off())
}

/// memberlist's LAN defaults: Lifeguard, but suspicions twice as long, no grace after a stall.
pub(crate) fn memberlist() -> Settings {
    let lifeguard = Lifeguard {
        confirmations: 2,
        suspicion_max_mult: 6.0,
        stall_grace: false,
        prompt: false,
        ..Lifeguard::on()
    };
    with_timing_of_memberlist(lifeguard)
}

fn with_timing_of_memberlist(lifeguard: Lifeguard) -> Settings {
    let (suspicion_mult, suspicion_min) = (4.0, Duration::ZERO);
    Settings { suspicion_mult, suspicion_min, lifeguard, ..Settings::lan() }
}

/// What a quiet pool costs each member a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) packets: f64,
    pub(crate) bytes: f64,
}

pub(crate) fn load(n: usize, settings: &Settings, seed: u64) -> Load {
    let mut network = quiet(n, settings, seed);
    let before = sent(&network);
    let seconds = 60;
    network.run_for(seconds * SECOND);
    let after = sent(&network);
    let each = |total: u64| total as f64 / (n as f64 * f64::from(seconds));
    Load { packets: each(after.0 - before.0), bytes: each(after.1 - before.1) }
}

/// How long it takes, after members died one after the other, until the first one and until all
/// know it, in seconds, sorted.
#[derive(Clone, Debug)]
pub(crate) struct Detection {
    pub(crate) first: Vec<f64>,
    pub(crate) all: Vec<f64>,
}

pub(crate) fn detection(n: usize, n_deaths: usize, settings: &Settings, seed: u64) -> Detection {
    let mut network = quiet(n, settings, seed);
    network.loss = 0.01;
    let mut detection = Detection { first: Vec::new(), all: Vec::new() };
    for dies in n - n_deaths..n {
        let died_at = network.now;
        network.kill(dies);
        let living: Vec<usize> = (0..n).filter(|at| !network.nodes[*at].is_down).collect();
        let since = |network: &Network| network.now.since(died_at).as_secs_f64();
        let seen = |network: &Network| living.iter().any(|at| has_failed(network, *at, dies));
        assert!(network.run_until(300 * SECOND, seen));
        detection.first.push(since(&network));
        let seen = |network: &Network| living.iter().all(|at| has_failed(network, *at, dies));
        assert!(network.run_until(300 * SECOND, seen));
        detection.all.push(since(&network));
        network.run_for(3 * SECOND);
    }
    detection.first.sort_by(f64::total_cmp);
    detection.all.sort_by(f64::total_cmp);
    detection
}

/// Deaths that were none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FalseDeaths {
    /// Healthy members that any member held for failed, counted for each who did.
    pub(crate) seen: usize,
    /// Of these, by healthy members.
    pub(crate) seen_by_healthy: usize,
    /// Suspicions of healthy members, by healthy members.
    pub(crate) suspicions: usize,
}

impl std::ops::AddAssign for FalseDeaths {
    fn add_assign(&mut self, more: FalseDeaths) {
        self.seen += more.seen;
        self.seen_by_healthy += more.seen_by_healthy;
        self.suspicions += more.suspicions;
    }
}

/// How a member is ill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Illness {
    /// It does not run.
    Stopped,
    /// It runs, but what it sends and receives is held up: the experiment of the Lifeguard paper.
    Blocked,
}

/// Of `n` members, the first `n_ill` are ill together: for `pause`, then they are well for `run`
/// and a little by chance, and so on: for forty seconds, or three times.
pub(crate) fn bursts(
    (n, n_ill, illness): (usize, usize, Illness),
    (pause, run): (Duration, Duration),
    settings: &Settings,
    seed: u64,
) -> FalseDeaths {
    let mut network = quiet(n, settings, seed);
    let mut rng = StdRng::seed_from_u64(seed ^ 0xb0b);
    let end = network.now + (40 * SECOND).max(3 * (pause + run));
    while network.now < end {
        for at in 0..n_ill {
            let late = run.mul_f64(rng.random_range(0.0..0.5));
            match illness {
                Illness::Stopped => network.pause(at, pause + late),
                Illness::Blocked => network.block(at, pause + late),
            }
        }
        network.run_for(pause + run);
    }
    network.run_for(20 * SECOND);
    false_deaths(&network, n_ill)
}

/// One member runs 1 % of the time, for so many minutes.
pub(crate) fn one_slow(n: usize, minutes: u32, settings: &Settings, seed: u64) -> FalseDeaths {
    let mut network = quiet(n, settings, seed);
    for _ in 0..minutes * 60 {
        network.pause(0, SECOND * 99 / 100);
        network.run_for(SECOND);
    }
    false_deaths(&network, 1)
}

/// One member hears all and is heard by none, for so many minutes.
pub(crate) fn one_mute(n: usize, minutes: u32, settings: &Settings, seed: u64) -> FalseDeaths {
    let mut network = quiet(n, settings, seed);
    network.nodes[0].is_mute = true;
    network.run_for(minutes * 60 * SECOND);
    false_deaths(&network, 1)
}

/// How a pool begins whose members all join one of them at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bootstrap {
    /// Rounds of gossip until all know all.
    pub(crate) rounds: f64,
    /// The most broadcasts that waited at one member.
    pub(crate) deepest: usize,
}

pub(crate) fn bootstrap(n: usize, settings: &Settings, seed: u64) -> Bootstrap {
    let mut network = Network::new(seed);
    network.keeps = |_| false;
    for at in 0..n {
        network.add(&format!("m{at}"), settings.clone());
    }
    for at in 1..n {
        network.join(at, &[0]);
    }
    let round = settings.gossip_interval;
    let mut deepest = 0;
    for n_rounds in 1..=1_000 {
        network.run_for(round);
        deepest = deepest.max(depth(&network));
        if network.nodes.iter().all(|node| node.pool.gauges().n_active == n) {
            return Bootstrap { rounds: f64::from(n_rounds), deepest };
        }
    }
    panic!("no one view after 1,000 rounds");
}

/// The value below which this share of a sorted list lies.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

/// A pool in which all know all and nothing is left to tell. Deaths and suspicions are kept.
fn quiet(n: usize, settings: &Settings, seed: u64) -> Network {
    let mut network = Network::new(seed);
    network.keeps = |notice| matches!(notice, Notice::Failed(_) | Notice::Suspected(_));
    for at in 0..n {
        network.add(&format!("m{at}"), settings.clone());
    }
    network.join_all();
    assert!(network.run_until(120 * SECOND, |network| depth(network) == 0));
    network.run_for(10 * SECOND);
    for at in 0..n {
        network.take_notices(at);
    }
    network
}

fn depth(network: &Network) -> usize {
    network.nodes.iter().map(|node| node.pool.gauges().n_broadcasts).max().unwrap_or_default()
}

fn sent(network: &Network) -> (u64, u64) {
    let counters = network.nodes.iter().map(|node| node.pool.counters());
    counters.fold((0, 0), |(packets, bytes), counters| {
        (packets + counters.packets_out, bytes + counters.packet_bytes_out)
    })
}

fn has_failed(network: &Network, at: usize, other: usize) -> bool {
    network.sees(at, other) == Some(Status::Failed)
}

/// The first `n_ill` members are not healthy; all others are.
fn false_deaths(network: &Network, n_ill: usize) -> FalseDeaths {
    let ill: BTreeSet<&str> = (0..n_ill).map(|at| network.name(at)).collect();
    let mut deaths = FalseDeaths::default();
    for (at, node) in network.nodes.iter().enumerate() {
        let is_healthy = at >= n_ill;
        for (_, notice) in &node.notices {
            match notice {
                Notice::Failed(member) if !ill.contains(member.name().as_str()) => {
                    deaths.seen += 1;
                    deaths.seen_by_healthy += usize::from(is_healthy);
                }
                Notice::Suspected(member) if !ill.contains(member.name().as_str()) => {
                    deaths.suspicions += usize::from(is_healthy);
                }
                _ => {}
            }
        }
    }
    deaths
}
