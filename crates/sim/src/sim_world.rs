//! The world of a simulated host: the network, its disk, its wall clock, its dice.
//!
//! One belongs to one life of a process. Blocking work takes the time that the disk takes, and is
//! then done at one moment: there is one thread. So work that waits for other blocking work, or
//! for a task of its runtime, cannot run here.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use muster_world::facts::{Machine, Process};
use muster_world::world::{Connecting, Resolving, Work};
use muster_world::{Address, Datagram, Files, Listener, World};
use rand::Rng;
use rand::rngs::SmallRng;

use crate::disk::Disk;
use crate::network::Network;
use crate::trace::HostNumber;

/// What all wall clocks say when a run begins: 2027-01-15 08:00.
const EPOCH: Duration = Duration::from_secs(1_800_000_000);

/// What of a host outlives its processes and is looked at by them: its clocks and the pace of its
/// disk.
#[derive(Default)]
pub(crate) struct Machinery {
    /// How long the machine has run by its own clock, in nanoseconds.
    pub(crate) uptime_ns: AtomicU64,
    /// How far its wall clock is off, in nanoseconds.
    pub(crate) wall_offset_ns: AtomicI64,
    /// What every access to the disk takes beyond the usual, in nanoseconds.
    pub(crate) disk_stall_ns: AtomicU64,
}

/// The world as a process on a simulated host sees it.
pub struct SimWorld {
    host: HostNumber,
    name: String,
    network: Network,
    disk: Disk,
    machinery: Arc<Machinery>,
    chance: Mutex<SmallRng>,
}

impl SimWorld {
    pub(crate) fn new(
        (host, name): (HostNumber, &str),
        network: Network,
        disk: Disk,
        machinery: Arc<Machinery>,
        chance: SmallRng,
    ) -> SimWorld {
        let chance = Mutex::new(chance);
        SimWorld { host, name: name.to_owned(), network, disk, machinery, chance }
    }

    /// The number of the host.
    #[must_use]
    pub fn host(&self) -> HostNumber {
        self.host
    }

    /// The name of the host.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the next access to the disk takes: mostly less than the clock can tell, now and then
    /// some milliseconds.
    fn disk_pause(&self) -> Duration {
        let usual = {
            let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
            match chance.random_range(0..100) {
                0..70 => 0,
                70..95 => 1,
                95..99 => chance.random_range(2..6),
                _ => chance.random_range(6..20),
            }
        };
        let stall = self.machinery.disk_stall_ns.load(Ordering::Relaxed);
        Duration::from_millis(usual) + Duration::from_nanos(stall)
    }
}

fn unsupported<T>(what: &str) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, format!("a simulated host has no {what}")))
}

impl World for SimWorld {
    fn files(&self) -> &dyn Files {
        &self.disk
    }

    fn wall_clock(&self) -> Duration {
        let uptime = self.machinery.uptime_ns.load(Ordering::Relaxed);
        let offset = self.machinery.wall_offset_ns.load(Ordering::Relaxed);
        let now = EPOCH.as_nanos() as u64 + uptime;
        Duration::from_nanos(now.saturating_add_signed(offset))
    }

    fn seed(&self) -> [u8; 32] {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner).random()
    }

    fn listen(&self, at: &Address) -> io::Result<Box<dyn Listener>> {
        match at {
            Address::Inet(at) => self.network.listen(self.host, *at),
            Address::Unix(_) => unsupported("Unix sockets"),
        }
    }

    fn connect(&self, to: &Address) -> Connecting {
        let (network, host, to) = (self.network.clone(), self.host, to.clone());
        Box::pin(async move {
            match to {
                Address::Inet(to) => network.connect(host, to).await,
                Address::Unix(_) => unsupported("Unix sockets"),
            }
        })
    }

    fn resolve(&self, host_and_port: &str) -> Resolving {
        let address = self.network.resolve(host_and_port);
        let unknown = || io::Error::new(io::ErrorKind::NotFound, "no such host");
        let found = address.map(|address| vec![address]).ok_or_else(unknown);
        Box::pin(std::future::ready(found))
    }

    fn connect_datagram(&self, to: SocketAddr) -> io::Result<Box<dyn Datagram>> {
        self.network.connect_datagram(self.host, to)
    }

    fn bind(&self, at: SocketAddr, shared: bool) -> io::Result<Box<dyn Datagram>> {
        self.network.bind(self.host, at, shared)
    }

    fn start_blocking(&self, work: Work) {
        let pause = self.disk_pause();
        tokio::spawn(async move {
            match pause.is_zero() {
                true => tokio::task::yield_now().await,
                false => tokio::time::sleep(pause).await,
            }
            work();
        });
    }

    fn machine(&self, _: &Path) -> Machine {
        Machine { hostname: self.name.clone(), n_processors: 1, ..Machine::default() }
    }

    fn process(&self) -> Process {
        Process::default()
    }

    fn start_thread(&self, _: &str, _: Work) -> io::Result<()> {
        unsupported("threads")
    }
}
