//! The simulation: hosts on a network, stepped in lock step on one thread.
//!
//! In each step every host runs by itself from one moment to the next, and then what they sent
//! crosses. Nothing travels faster than a step takes, so the order in which the hosts are stepped
//! decides nothing. Everything comes from the seed; the hash of the trace proves it.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use muster_world::memory::{Faults, SECTOR};
use muster_world::{Files, Memory, Open};
use rand::rngs::SmallRng;

use crate::chance::{chance_for, seed_for};
use crate::host::{Host, Program, Standing};
use crate::limits::QUANTUM;
use crate::network::{Latency, Network};
use crate::story_log;
use crate::trace::{HostNumber, Telling, Trace};

/// Hosts on a network.
pub struct Simulation {
    seed: u64,
    now: Duration,
    network: Network,
    trace: Trace,
    hosts: Vec<Host>,
    /// Which processes exited in the last step, and why.
    exited: Vec<(HostNumber, String)>,
    failure: Option<String>,
}

/// What a task on a host gives back, once it does. Never, if its process dies first.
pub struct Promise<T>(Arc<Mutex<Option<T>>>);

impl<T> Promise<T> {
    /// What it gave back, if it is there; it is given once.
    pub fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether the task is gone without having given anything.
    pub fn is_broken(&self) -> bool {
        Arc::strong_count(&self.0) == 1
            && self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

// ------------------------------------------------------------------------------------------------
// Building
// ------------------------------------------------------------------------------------------------

impl Simulation {
    /// An empty network. Whatever engines of consensus run on this thread draw from this seed from
    /// now on, so a thread runs one simulation at a time.
    #[must_use]
    pub fn new(seed: u64, latency: Latency, telling: Telling) -> Simulation {
        muster_consensus::rule_chance(seed_for(seed, "consensus"));
        let trace = Trace::new(telling);
        story_log::tell_into(&trace);
        let network = Network::new(seed, latency, trace.clone());
        Simulation {
            seed,
            now: Duration::ZERO,
            network,
            trace,
            hosts: Vec::new(),
            exited: Vec::new(),
            failure: None,
        }
    }

    /// Adds a host, which is down until it is booted.
    pub fn add_host(&mut self, name: &str, program: Program) -> HostNumber {
        let number = self.network.add_host(name);
        self.trace.add_host(name);
        let chance = chance_for(self.seed, &format!("host {name}"));
        self.hosts.push(Host::new(number, name, program, chance));
        number
    }
}

// ------------------------------------------------------------------------------------------------
// Letting time pass
// ------------------------------------------------------------------------------------------------

impl Simulation {
    /// Lets one quantum pass.
    pub fn step(&mut self) {
        self.network.deliver(self.now);
        self.exited.clear();
        for (number, host) in self.hosts.iter_mut().enumerate() {
            self.trace.set_acting(Some(number));
            match host.step(QUANTUM) {
                Ok(None) => {}
                Ok(Some(why)) => {
                    self.trace.tell_of(number, &format!("exits: {why}"));
                    host.kill(&self.network);
                    self.exited.push((number, why));
                }
                Err(why) => {
                    host.kill(&self.network);
                    self.failure.get_or_insert(why);
                }
            }
        }
        self.trace.set_acting(None);
        self.now += QUANTUM;
        self.trace.set_now(self.now);
    }

    /// Lets some time pass.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.step();
        }
    }

    /// Lets time pass until something holds, at most so long; whether it came to hold.
    pub fn run_until(&mut self, at_most: Duration, holds: impl Fn(&Simulation) -> bool) -> bool {
        let until = self.now + at_most;
        while !holds(self) {
            if self.now >= until {
                return false;
            }
            self.step();
        }
        true
    }

    /// Runs a future on a host. `None` where no process runs.
    pub fn spawn<T: Send + 'static>(
        &self,
        host: HostNumber,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Option<Promise<T>> {
        let slot = Arc::new(Mutex::new(None));
        let promise = Promise(slot.clone());
        self.hosts[host].spawn(async move {
            let given = future.await;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(given);
        })?;
        Some(promise)
    }
}

// ------------------------------------------------------------------------------------------------
// Looking
// ------------------------------------------------------------------------------------------------

impl Simulation {
    /// The time since the run began.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.now
    }

    /// The seed that everything comes from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A generator for one purpose of this run.
    #[must_use]
    pub fn chance_for(&self, purpose: &str) -> SmallRng {
        chance_for(self.seed, purpose)
    }

    /// The trace of what happened.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The network, to change what is wrong with it.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Hosts there are.
    #[must_use]
    pub fn n_hosts(&self) -> usize {
        self.hosts.len()
    }

    /// How a host stands.
    #[must_use]
    pub fn standing(&self, host: HostNumber) -> Standing {
        self.hosts[host].standing()
    }

    /// How many processes a host has had.
    #[must_use]
    pub fn n_lives(&self, host: HostNumber) -> u32 {
        self.hosts[host].n_lives()
    }

    /// Which processes exited in the last step, and why.
    #[must_use]
    pub fn exited(&self) -> &[(HostNumber, String)] {
        &self.exited
    }

    /// What must never happen and did: code that panicked.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// The disk of a host.
    #[must_use]
    pub fn disk(&self, host: HostNumber) -> &Memory {
        self.hosts[host].disk()
    }
}

// ------------------------------------------------------------------------------------------------
// Doing things to hosts
// ------------------------------------------------------------------------------------------------

impl Simulation {
    /// Starts a process on a host; gives its machine power first, if it has none.
    pub fn boot(&mut self, host: HostNumber) {
        if self.standing(host) == Standing::WithoutPower {
            self.network.restore_power(host);
        }
        self.trace.tell_of(host, "starts");
        self.hosts[host].boot(&self.network, &self.trace);
    }

    /// Kills the process of a host.
    pub fn kill(&mut self, host: HostNumber) {
        self.trace.tell_of(host, "is killed");
        self.hosts[host].kill(&self.network);
    }

    /// Cuts the power of a host.
    pub fn cut_power(&mut self, host: HostNumber) {
        self.trace.tell_of(host, "loses power");
        self.hosts[host].cut_power(&self.network);
    }

    /// Stops a process where it is.
    pub fn pause(&mut self, host: HostNumber) {
        self.trace.tell_of(host, "is paused");
        self.hosts[host].set_paused(true);
    }

    /// Lets a paused process go on.
    pub fn resume(&mut self, host: HostNumber) {
        self.trace.tell_of(host, "goes on");
        self.hosts[host].set_paused(false);
    }

    /// Sets how fast a host's clock goes: 1.0 is right.
    pub fn set_pace(&mut self, host: HostNumber, pace: f64) {
        self.trace.tell_of(host, &format!("has a clock that goes {pace:.4} times as fast"));
        self.hosts[host].set_pace(pace);
    }

    /// Sets a host's wall clock off by some nanoseconds.
    pub fn set_wall_clock_off(&mut self, host: HostNumber, by_ns: i64) {
        let seconds = by_ns as f64 / 1e9;
        self.trace.tell_of(host, &format!("has a wall clock that is off by {seconds:.3} s"));
        self.hosts[host].machinery().wall_offset_ns.store(by_ns, Ordering::Relaxed);
    }

    /// Makes every access to a host's disk take so much longer.
    pub fn stall_disk(&mut self, host: HostNumber, by: Duration) {
        self.trace.tell_of(host, &format!("has a disk that takes {by:?} longer"));
        let nanos = by.as_nanos() as u64;
        self.hosts[host].machinery().disk_stall_ns.store(nanos, Ordering::Relaxed);
    }

    /// Changes what is wrong with a host's disk.
    pub fn set_disk_faults(&mut self, host: HostNumber, faults: Faults) {
        self.trace.tell_of(host, &format!("has a disk with {faults:?}"));
        self.hosts[host].disk().set_faults(faults);
    }

    /// Replaces the disk of a host that is down by an empty one.
    pub fn wipe(&mut self, host: HostNumber) {
        self.trace.tell_of(host, "gets an empty disk");
        self.hosts[host].wipe();
    }

    /// Turns one bit of one of the files in a folder of a host around, as chance has it; tells
    /// which.
    pub fn flip_a_bit(&mut self, host: HostNumber, folder: &Path) -> Option<FlippedBit> {
        let files = files_of(self.disk(host), folder);
        let n_bits: u64 = files.iter().map(|(_, length)| length * 8).sum();
        let mut bit = self.hosts[host].draw(n_bits);
        for (path, length) in files {
            if bit < length * 8 {
                self.disk(host).flip_bit(&path, bit);
                let line = format!("has bit {bit} of {} turned around", path.display());
                self.trace.tell_of(host, &line);
                let left = sector_of(self.disk(host), &path, bit);
                return Some(FlippedBit { host, path, bit, left });
            }
            bit -= length * 8;
        }
        None
    }

    /// Turns a bit back, unless what it was in has been written anew.
    pub fn flip_back(&mut self, flipped: &FlippedBit) {
        let FlippedBit { host, path, bit, left } = flipped;
        if sector_of(self.disk(*host), path, *bit) == *left {
            self.trace.tell_of(*host, &format!("has bit {bit} of {} repaired", path.display()));
            self.disk(*host).flip_bit(path, *bit);
        }
    }
}

/// A bit that was turned around.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlippedBit {
    /// On whose disk.
    pub host: HostNumber,
    path: PathBuf,
    bit: u64,
    /// What was left of the sector.
    left: Vec<u8>,
}

/// The sector that a bit of a file is in.
fn sector_of(disk: &Memory, path: &Path, bit: u64) -> Vec<u8> {
    let mut sector = vec![0; SECTOR];
    let at = bit / 8 / SECTOR as u64 * SECTOR as u64;
    let read = disk.open(path, Open::Read).and_then(|file| file.read_full_at(&mut sector, at));
    sector.truncate(read.unwrap_or(0));
    sector
}

/// The files in a folder and its folders, with their lengths.
fn files_of(disk: &Memory, folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for name in disk.list(folder).unwrap_or_default() {
        let path = folder.join(name);
        match disk.open(&path, Open::Read) {
            Ok(file) => found.extend(file.length().ok().map(|length| (path, length))),
            Err(_) => found.extend(files_of(disk, &path)),
        }
    }
    found
}

impl Drop for Simulation {
    fn drop(&mut self) {
        for host in &mut self.hosts {
            host.kill(&self.network);
        }
    }
}
