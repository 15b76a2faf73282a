//! The links between hosts: how long they take, and what is wrong with them.
//!
//! A link has one direction. It has a latency of its own from the seed; faults lie on top of it
//! and are taken away again one by one.

use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;

use crate::trace::HostNumber;

/// What is wrong with a link.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LinkFaults {
    /// Nothing passes. What streams carry waits, datagrams are lost.
    pub is_cut: bool,
    /// Everything takes longer by up to this.
    pub delay: Duration,
    /// The part of datagrams that is lost. On a stream it arrives late.
    pub loss: f64,
    /// The part of datagrams that arrives twice.
    pub duplication: f64,
}

/// How fast the links of a run are without faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// The least.
    pub min: Duration,
    /// The most.
    pub max: Duration,
}

impl Default for Latency {
    /// A LAN.
    fn default() -> Self {
        Latency { min: Duration::from_micros(100), max: Duration::from_micros(600) }
    }
}

#[derive(Clone, Copy, Default)]
struct Link {
    min: Duration,
    jitter: Duration,
    faults: LinkFaults,
}

/// The links between all hosts, in both directions.
pub(super) struct Links {
    latency: Latency,
    /// By sender, then by receiver.
    links: Vec<Vec<Link>>,
}

/// How something passes a link.
pub(super) struct Passage {
    /// How long it takes.
    pub(super) after: Duration,
    /// Whether it would be lost, were nobody to send it again.
    pub(super) is_lost: bool,
    /// How long a second one takes, if there is one.
    pub(super) second_after: Option<Duration>,
}

impl Links {
    pub(super) fn new(latency: Latency) -> Links {
        Links { latency, links: Vec::new() }
    }

    /// Adds a host with links to and from all others, as chance has it.
    pub(super) fn add_host(&mut self, chance: &mut SmallRng) {
        let n_hosts = self.links.len() + 1;
        for row in &mut self.links {
            row.push(Link::draw(self.latency, chance));
        }
        let mut own: Vec<Link> = (0..n_hosts).map(|_| Link::draw(self.latency, chance)).collect();
        own[n_hosts - 1] = Link::default();
        self.links.push(own);
    }

    pub(super) fn is_cut(&self, from: HostNumber, to: HostNumber) -> bool {
        self.links[from][to].faults.is_cut
    }

    pub(super) fn faults(&self, from: HostNumber, to: HostNumber) -> LinkFaults {
        self.links[from][to].faults
    }

    pub(super) fn set_faults(&mut self, from: HostNumber, to: HostNumber, faults: LinkFaults) {
        self.links[from][to].faults = faults;
    }

    /// How the next thing passes.
    pub(super) fn pass(&self, from: HostNumber, to: HostNumber, chance: &mut SmallRng) -> Passage {
        let link = &self.links[from][to];
        let faults = &link.faults;
        let after = link.time(chance);
        let is_lost = faults.loss > 0.0 && chance.random_bool(faults.loss);
        let is_doubled = faults.duplication > 0.0 && chance.random_bool(faults.duplication);
        let second_after = is_doubled.then(|| link.time(chance));
        Passage { after, is_lost, second_after }
    }
}

impl Link {
    fn draw(latency: Latency, chance: &mut SmallRng) -> Link {
        let spread = latency.max.saturating_sub(latency.min);
        let min = latency.min + spread.mul_f64(chance.random_range(0.0..0.5));
        let jitter = spread.mul_f64(chance.random_range(0.0..0.5));
        Link { min, jitter, faults: LinkFaults::default() }
    }

    fn time(&self, chance: &mut SmallRng) -> Duration {
        let jitter = self.jitter + self.faults.delay;
        if jitter.is_zero() {
            return self.min;
        }
        self.min + jitter.mul_f64(chance.random_range(0.0..1.0))
    }
}
