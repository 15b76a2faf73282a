//! The nemesis: what goes wrong in a run, drawn from its seed before it begins.
//!
//! A fault begins at some moment and ends at a later one. Faults overlap as chance has it; what
//! two of them do to one link or one disk adds up. At the end everything is made whole.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;

use crate::cluster::Cluster;
use crate::host::Standing;
use crate::network::LinkFaults;
use crate::servers::DATA_FOLDER;
use crate::simulation::FlippedBit;
use crate::trace::HostNumber;

/// Faults of one run.
const N_FAULTS: std::ops::RangeInclusive<usize> = 5..=12;

/// By how much of the true time a clock runs fast or slow at most.
pub const DRIFT_MAX: f64 = 0.05;

/// Something that goes wrong for a while.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// A process is killed, and started again at the end.
    Kill(HostNumber),
    /// Machines lose power, and have it again at the end.
    PowerCut(Vec<HostNumber>),
    /// A process does not move.
    Pause(HostNumber),
    /// Nothing passes these links, each from one host to another.
    Cut(Vec<(HostNumber, HostNumber)>),
    /// The links between one host and all others are cut one after the other, and healed one after
    /// the other in another order.
    Swizzle(HostNumber, Vec<HostNumber>, Vec<HostNumber>),
    /// All links are slow and lose and double things.
    Weather(LinkFaults),
    /// A disk is full.
    DiskFull(HostNumber),
    /// The syncs of a disk fail. The process must end; it cannot start again before the end.
    SyncsFail(HostNumber),
    /// A disk takes longer.
    DiskStall(HostNumber, Duration),
    /// A wall clock is off by some seconds.
    WallClock(HostNumber, i64),
    /// A clock goes at another pace.
    Pace(HostNumber, f64),
    /// A process is killed and some bits of its disk turn around.
    FlippedBits(HostNumber, u32),
}

/// A fault with its time.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// When it begins.
    pub begins_at: Duration,
    /// When it ends.
    pub ends_at: Duration,
    /// What goes wrong.
    pub fault: Fault,
}

/// What may be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first moment of a fault.
    pub from: Duration,
    /// The last.
    pub to: Duration,
    /// Servers there are.
    pub n_servers: usize,
}

/// What goes wrong in a run, as it goes on.
pub struct Nemesis {
    planned: Vec<Planned>,
    /// Which have begun.
    n_begun: usize,
    /// Those that have begun and not ended, by their number.
    active: BTreeMap<usize, Planned>,
    /// Bits that are turned around.
    flipped: Vec<FlippedBit>,
}

// ------------------------------------------------------------------------------------------------
// Drawing
// ------------------------------------------------------------------------------------------------

/// Draws what goes wrong, in the order in which it begins.
#[must_use]
pub fn draw(range: Range, chance: &mut SmallRng) -> Vec<Planned> {
    let span = range.to - range.from;
    let mut planned: Vec<Planned> = (0..chance.random_range(N_FAULTS))
        .map(|_| {
            let begins_at = range.from + span.mul_f64(chance.random_range(0.0..0.9));
            let fault = draw_fault(range.n_servers, chance);
            let ends_at = (begins_at + draw_duration(&fault, chance)).min(range.to);
            Planned { begins_at, ends_at, fault }
        })
        .collect();
    planned.sort_by_key(|planned| planned.begins_at);
    planned
}

fn draw_fault(n_servers: usize, chance: &mut SmallRng) -> Fault {
    let server = chance.random_range(0..n_servers);
    let kind = chance.random_range(0..if n_servers > 1 { 100 } else { 70 });
    match kind {
        0..15 => Fault::Kill(server),
        15..27 => Fault::PowerCut(draw_some(n_servers, chance)),
        27..37 => Fault::Pause(server),
        37..43 => Fault::DiskFull(server),
        43..49 => Fault::SyncsFail(server),
        49..56 => Fault::DiskStall(server, millis(chance, 20..400)),
        56..60 => Fault::WallClock(server, chance.random_range(-3_600..3_600)),
        60..64 => Fault::Pace(server, 1.0 + chance.random_range(-DRIFT_MAX..DRIFT_MAX)),
        64..70 => Fault::FlippedBits(server, chance.random_range(1..20)),
        70..80 => Fault::Cut(draw_halves(n_servers, chance)),
        80..88 => Fault::Cut(draw_one_way(server, n_servers, chance)),
        88..94 => draw_swizzle(server, n_servers, chance),
        _ => Fault::Weather(LinkFaults {
            is_cut: false,
            delay: millis(chance, 1..150),
            loss: chance.random_range(0.0..0.3),
            duplication: chance.random_range(0.0..0.2),
        }),
    }
}

fn draw_duration(fault: &Fault, chance: &mut SmallRng) -> Duration {
    match fault {
        Fault::Kill(_) | Fault::PowerCut(_) | Fault::SyncsFail(_) => millis(chance, 100..5_000),
        Fault::FlippedBits(..) => millis(chance, 500..3_000),
        Fault::Pause(_) => millis(chance, 50..8_000),
        Fault::Pace(..) | Fault::WallClock(..) => millis(chance, 5_000..30_000),
        _ => millis(chance, 500..10_000),
    }
}

fn millis(chance: &mut SmallRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(chance.random_range(range))
}

/// One of them, mostly; now and then several or all.
fn draw_some(n_servers: usize, chance: &mut SmallRng) -> Vec<HostNumber> {
    let mut all: Vec<HostNumber> = (0..n_servers).collect();
    all.shuffle(chance);
    let n = if chance.random_bool(0.6) { 1 } else { chance.random_range(1..=n_servers) };
    all.truncate(n);
    all.sort_unstable();
    all
}

/// The links between two halves, in both directions.
fn draw_halves(n_servers: usize, chance: &mut SmallRng) -> Vec<(HostNumber, HostNumber)> {
    let mut all: Vec<HostNumber> = (0..n_servers).collect();
    all.shuffle(chance);
    let (one, other) = all.split_at(chance.random_range(1..n_servers));
    let both_ways = |from: &HostNumber| {
        other.iter().flat_map(|to| [(*from, *to), (*to, *from)]).collect::<Vec<_>>()
    };
    one.iter().flat_map(both_ways).collect()
}

/// The links from, or those to, one server.
fn draw_one_way(
    server: HostNumber,
    n_servers: usize,
    chance: &mut SmallRng,
) -> Vec<(HostNumber, HostNumber)> {
    let outward = chance.random_bool(0.5);
    let others = (0..n_servers).filter(|other| *other != server);
    others.map(|other| if outward { (server, other) } else { (other, server) }).collect()
}

fn draw_swizzle(server: HostNumber, n_servers: usize, chance: &mut SmallRng) -> Fault {
    let mut cut: Vec<HostNumber> = (0..n_servers).filter(|other| *other != server).collect();
    cut.shuffle(chance);
    let mut healed = cut.clone();
    healed.shuffle(chance);
    Fault::Swizzle(server, cut, healed)
}

// ------------------------------------------------------------------------------------------------
// Doing
// ------------------------------------------------------------------------------------------------

impl Nemesis {
    /// Does what is planned, which is in the order in which it begins.
    #[must_use]
    pub fn new(planned: Vec<Planned>) -> Nemesis {
        Nemesis { planned, n_begun: 0, active: BTreeMap::new(), flipped: Vec::new() }
    }

    /// Begins and ends what is due.
    pub fn step(&mut self, cluster: &mut Cluster) {
        let now = cluster.simulation.now();
        while let Some(planned) = self.planned.get(self.n_begun)
            && planned.begins_at <= now
        {
            let planned = planned.clone();
            self.begin(&planned.fault, cluster);
            self.active.insert(self.n_begun, planned);
            self.n_begun += 1;
        }
        let ended: Vec<usize> = self
            .active
            .iter()
            .filter(|(_, planned)| planned.ends_at <= now)
            .map(|(number, _)| *number)
            .collect();
        for number in ended {
            if let Some(planned) = self.active.remove(&number) {
                self.end(&planned.fault, cluster);
            }
        }
        self.set_links(cluster);
    }

    /// Makes everything whole.
    pub fn heal(&mut self, cluster: &mut Cluster) {
        cluster.simulation.trace().tell("everything is made whole");
        for planned in std::mem::take(&mut self.active).into_values() {
            self.end(&planned.fault, cluster);
        }
        self.n_begun = self.planned.len();
        self.set_links(cluster);
        for server in 0..cluster.n_servers() {
            self.repair(server, cluster);
            cluster.change_disk_faults(server, |faults| *faults = Default::default());
            cluster.simulation.resume(server);
            cluster.boot(server);
        }
    }

    /// Faults that have begun.
    #[must_use]
    pub fn n_begun(&self) -> usize {
        self.n_begun
    }

    fn begin(&mut self, fault: &Fault, cluster: &mut Cluster) {
        cluster.simulation.trace().tell(&format!("fault: {fault:?}"));
        match fault {
            Fault::Kill(server) => cluster.kill(*server),
            Fault::PowerCut(servers) => servers.iter().for_each(|each| cluster.cut_power(*each)),
            Fault::Pause(server) => cluster.simulation.pause(*server),
            Fault::DiskFull(server) => {
                let n_bytes = cluster.simulation.disk(*server).n_bytes();
                cluster.change_disk_faults(*server, |faults| faults.bytes_max = Some(n_bytes));
            }
            Fault::SyncsFail(server) => {
                cluster.change_disk_faults(*server, |faults| faults.syncs_fail = true);
            }
            Fault::DiskStall(server, by) => cluster.simulation.stall_disk(*server, *by),
            Fault::WallClock(server, seconds) => {
                cluster.simulation.set_wall_clock_off(*server, seconds * 1_000_000_000);
            }
            Fault::Pace(server, pace) => cluster.simulation.set_pace(*server, *pace),
            Fault::FlippedBits(server, n_bits) => self.flip(*server, *n_bits, cluster),
            Fault::Cut(_) | Fault::Swizzle(..) | Fault::Weather(_) => {}
        }
    }

    fn end(&mut self, fault: &Fault, cluster: &mut Cluster) {
        match fault {
            Fault::Kill(server) => self.start(*server, cluster),
            Fault::PowerCut(servers) => servers.iter().for_each(|each| self.start(*each, cluster)),
            Fault::Pause(server) => cluster.simulation.resume(*server),
            Fault::DiskFull(server) => {
                cluster.change_disk_faults(*server, |faults| faults.bytes_max = None);
            }
            Fault::SyncsFail(server) => {
                cluster.change_disk_faults(*server, |faults| faults.syncs_fail = false);
            }
            Fault::DiskStall(server, _) => cluster.simulation.stall_disk(*server, Duration::ZERO),
            Fault::WallClock(server, _) => cluster.simulation.set_wall_clock_off(*server, 0),
            Fault::Pace(server, _) => cluster.simulation.set_pace(*server, 1.0),
            Fault::FlippedBits(server, _) => {
                self.repair(*server, cluster);
                self.start(*server, cluster);
            }
            Fault::Cut(_) | Fault::Swizzle(..) | Fault::Weather(_) => {
                cluster.simulation.trace().tell(&format!("over: {fault:?}"));
            }
        }
    }

    /// Starts a server, unless another fault keeps it down.
    fn start(&self, server: HostNumber, cluster: &mut Cluster) {
        let is_kept_down = self.active.values().any(|planned| match &planned.fault {
            Fault::Kill(other) => *other == server,
            Fault::PowerCut(others) => others.contains(&server),
            _ => false,
        });
        if !is_kept_down {
            cluster.boot(server);
        }
    }
}

// ------------------------------------------------------------------------------------------------
// Bits
// ------------------------------------------------------------------------------------------------

impl Nemesis {
    /// Kills a server, turns bits around, and starts it: it must notice whatever it reads.
    fn flip(&mut self, server: HostNumber, n_bits: u32, cluster: &mut Cluster) {
        if cluster.simulation.standing(server) == Standing::WithoutPower {
            return;
        }
        cluster.kill(server);
        for _ in 0..n_bits {
            let flipped = cluster.simulation.flip_a_bit(server, Path::new(DATA_FOLDER));
            self.flipped.extend(flipped);
        }
        self.start(server, cluster);
    }

    /// Turns a server's bits back: who is alone has no other copy of what they were. What ran on
    /// them is killed first.
    fn repair(&mut self, server: HostNumber, cluster: &mut Cluster) {
        let is_here = |flipped: &FlippedBit| flipped.host == server;
        if !self.flipped.iter().any(is_here) {
            return;
        }
        if cluster.simulation.standing(server) != Standing::WithoutPower {
            cluster.kill(server);
        }
        for flipped in self.flipped.iter().rev().filter(|flipped| is_here(flipped)) {
            cluster.simulation.flip_back(flipped);
        }
        self.flipped.retain(|flipped| !is_here(flipped));
    }
}

// ------------------------------------------------------------------------------------------------
// Links
// ------------------------------------------------------------------------------------------------

impl Nemesis {
    /// Gives every link what the active faults come to together.
    fn set_links(&self, cluster: &Cluster) {
        let now = cluster.simulation.now();
        let network = cluster.simulation.network();
        let n_servers = cluster.n_servers();
        for from in 0..n_servers {
            for to in (0..n_servers).filter(|to| *to != from) {
                let mut faults = LinkFaults::default();
                for planned in self.active.values() {
                    add(&mut faults, planned, (from, to), now);
                }
                if faults != network.faults(from, to) {
                    network.set_faults(from, to, faults);
                }
            }
        }
    }
}

fn add(faults: &mut LinkFaults, planned: &Planned, link: (HostNumber, HostNumber), now: Duration) {
    match &planned.fault {
        Fault::Cut(links) => faults.is_cut |= links.contains(&link),
        Fault::Swizzle(server, cut, healed) => {
            let other = if link.0 == *server { link.1 } else { link.0 };
            let touches = link.0 == *server || link.1 == *server;
            faults.is_cut |= touches && is_swizzled(planned, (cut, healed), other, now);
        }
        Fault::Weather(weather) => {
            faults.delay += weather.delay;
            faults.loss = faults.loss.max(weather.loss);
            faults.duplication = faults.duplication.max(weather.duplication);
        }
        _ => {}
    }
}

/// Whether the link to one of the others is cut now: the cutting takes the first half of the time,
/// the healing the second.
fn is_swizzled(
    planned: &Planned,
    (cut, healed): (&[HostNumber], &[HostNumber]),
    other: HostNumber,
    now: Duration,
) -> bool {
    let half = (planned.ends_at - planned.begins_at) / 2;
    let moment = |order: &[HostNumber], from: Duration| {
        let at = order.iter().position(|each| *each == other)?;
        Some(from + half.mul_f64(at as f64 / order.len() as f64))
    };
    let from = moment(cut, planned.begins_at);
    let to = moment(healed, planned.begins_at + half);
    from.zip(to).is_some_and(|(from, to)| (from..to).contains(&now))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn at_least_five_faults_are_drawn_and_all_end_in_time() {
        for n_servers in 1..=5 {
            let (from, to) = (Duration::from_secs(2), Duration::from_secs(60));
            for seed in 0..200 {
                let range = Range { from, to, n_servers };
                let planned = draw(range, &mut SmallRng::seed_from_u64(seed));
                assert!(planned.len() >= *N_FAULTS.start());
                assert!(planned.is_sorted_by_key(|planned| planned.begins_at));
                for planned in &planned {
                    let Planned { begins_at, ends_at, .. } = planned;
                    assert!(from <= *begins_at && begins_at <= ends_at && *ends_at <= to);
                }
            }
        }
    }

    #[test]
    fn a_swizzle_cuts_every_link_once_and_heals_it() {
        let second = Duration::from_secs(1);
        let planned = Planned {
            begins_at: second,
            ends_at: 9 * second,
            fault: Fault::Swizzle(0, vec![2, 1], vec![1, 2]),
        };
        let is_cut = |other, seconds| {
            let mut faults = LinkFaults::default();
            add(&mut faults, &planned, (0, other), second * seconds);
            faults.is_cut
        };
        let ever = |other| (0..10).map(|at| u8::from(is_cut(other, at))).collect::<Vec<_>>();
        assert_eq!(ever(2), [0, 1, 1, 1, 1, 1, 1, 0, 0, 0]);
        assert_eq!(ever(1), [0, 0, 0, 1, 1, 0, 0, 0, 0, 0]);
    }
}
