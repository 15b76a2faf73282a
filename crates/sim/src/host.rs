//! A simulated host: a disk and clocks that stay, and a process that comes and goes.
//!
//! A process is a program on a tokio runtime of its own, whose clock stands still but for the
//! steps that the simulation makes. Dropping the runtime is a kill. What dies leaves its disk to the
//! next life.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use muster_world::Memory;
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use tokio::runtime::{Builder, RngSeed, Runtime, TaskMeta, UnhandledPanic};
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance, sleep_until};

use crate::disk::Disk;
use crate::limits::{POLLS_LOOKED_AT, POLLS_OF_A_STEP_MAX};
use crate::network::Network;
use crate::sim_world::{Machinery, SimWorld};
use crate::trace::{HostNumber, Trace};

/// What a host runs from its boot on. When the future ends, the process has exited, and says why.
pub type Program = Arc<dyn Fn(Arc<SimWorld>) -> Running + Send + Sync>;

/// A running program.
pub type Running = Pin<Box<dyn Future<Output = String> + Send>>;

/// How a host stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A process runs.
    Up,
    /// A process is there and does not move.
    Paused,
    /// No process runs; the machine does.
    Down,
    /// The machine has no power.
    WithoutPower,
}

pub(crate) struct Host {
    number: HostNumber,
    name: String,
    program: Program,
    disk: Memory,
    machinery: Arc<Machinery>,
    chance: SmallRng,
    /// How fast its clock goes, against the true time.
    pace: f64,
    standing: Standing,
    life: Option<Life>,
    n_lives: u32,
}

/// One process.
struct Life {
    runtime: Runtime,
    main: JoinHandle<String>,
    began: Instant,
    /// How far its runtime's clock has come.
    stepped: Duration,
    /// How far it is to come, which has fractions of what that clock can tell.
    due: Duration,
    /// What it missed while it did not move.
    missed: Duration,
    /// How often tasks were polled in this step.
    n_polls: Arc<AtomicU64>,
}

impl Host {
    pub(crate) fn new(number: HostNumber, name: &str, program: Program, chance: SmallRng) -> Host {
        Host {
            number,
            name: name.to_owned(),
            program,
            disk: Memory::new(),
            machinery: Arc::default(),
            chance,
            pace: 1.0,
            standing: Standing::Down,
            life: None,
            n_lives: 0,
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        self.standing
    }

    pub(crate) fn disk(&self) -> &Memory {
        &self.disk
    }

    pub(crate) fn machinery(&self) -> &Machinery {
        &self.machinery
    }

    pub(crate) fn n_lives(&self) -> u32 {
        self.n_lives
    }

    /// Sets how fast its clock goes: 1.0 is right.
    pub(crate) fn set_pace(&mut self, pace: f64) {
        self.pace = pace;
    }

    /// Starts a process. Does nothing where there is one.
    pub(crate) fn boot(&mut self, network: &Network, trace: &Trace) {
        if self.life.is_some() {
            return;
        }
        self.standing = Standing::Up;
        self.n_lives += 1;
        let disk = Disk { memory: self.disk.clone(), trace: trace.clone(), host: self.number };
        let chance = SmallRng::from_rng(&mut self.chance);
        let own = (self.number, self.name.as_str());
        let world = SimWorld::new(own, network.clone(), disk, self.machinery.clone(), chance);
        let n_polls = Arc::new(AtomicU64::new(0));
        let runtime = Builder::new_current_thread()
            .on_before_task_poll(watch_for_circles(n_polls.clone()))
            .enable_time()
            .start_paused(true)
            .rng_seed(RngSeed::from_bytes(&self.chance.next_u64().to_le_bytes()))
            .unhandled_panic(UnhandledPanic::ShutdownRuntime)
            .build()
            .expect("a runtime without sockets needs nothing of the system");
        let began = runtime.block_on(async { Instant::now() });
        let main = runtime.spawn((self.program)(Arc::new(world)));
        let none = Duration::ZERO;
        let (stepped, due, missed) = (none, none, none);
        self.life = Some(Life { runtime, main, began, stepped, due, missed, n_polls });
    }

    /// Ends the process. What it wrote stays.
    pub(crate) fn kill(&mut self, network: &Network) {
        // First its hands are tied, so that nothing that it does while it dies has an effect.
        self.disk = self.disk.kill();
        network.kill(self.number);
        self.life = None;
        self.standing = Standing::Down;
    }

    /// Takes the power away from the machine: the process ends, and with it what was not synced.
    pub(crate) fn cut_power(&mut self, network: &Network) {
        self.disk = self.disk.power_cut(self.chance.next_u64());
        network.cut_power(self.number);
        self.life = None;
        self.standing = Standing::WithoutPower;
    }

    /// Throws away all that the disk holds. Nothing may run.
    pub(crate) fn wipe(&mut self) {
        if self.life.is_none() {
            self.disk = Memory::new();
        }
    }

    /// Stops the process where it is, or lets it go on.
    pub(crate) fn set_paused(&mut self, is_paused: bool) {
        match (self.standing, is_paused) {
            (Standing::Up, true) => self.standing = Standing::Paused,
            (Standing::Paused, false) => self.standing = Standing::Up,
            _ => {}
        }
    }

    /// Lets time pass: the process, if it moves, does all that it has to do until then. Tells why
    /// it has exited, if it has.
    ///
    /// # Errors
    /// If its code panicked.
    pub(crate) fn step(&mut self, by: Duration) -> Result<Option<String>, String> {
        let by = by.mul_f64(self.pace);
        self.machinery.uptime_ns.fetch_add(by.as_nanos() as u64, Ordering::Relaxed);
        let Some(life) = &mut self.life else { return Ok(None) };
        if self.standing == Standing::Paused {
            life.missed += by;
            return Ok(None);
        }
        let stepped = catch_unwind(AssertUnwindSafe(|| life.step(by)));
        stepped.map_err(|panic| {
            let message = panic.downcast_ref::<String>();
            let message = message.map_or("the message is on standard error", String::as_str);
            format!("{} panicked: {message}", self.name)
        })
    }

    /// Runs a future on the process's runtime. `None` where there is no process.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Option<()> {
        let life = self.life.as_ref()?;
        drop(life.runtime.spawn(future));
        Some(())
    }

    /// A draw of the host's own chance.
    pub(crate) fn draw(&mut self, below: u64) -> u64 {
        self.chance.random_range(0..below.max(1))
    }
}

impl Life {
    fn step(&mut self, by: Duration) -> Option<String> {
        self.n_polls.store(0, Ordering::Relaxed);
        let missed = std::mem::take(&mut self.missed);
        if !missed.is_zero() {
            // Everything that came due meanwhile comes due at once.
            self.due += missed;
            self.runtime.block_on(async { advance(whole_millis(missed)).await });
            self.stepped += whole_millis(missed);
        }
        self.due += by;
        let due = whole_millis(self.due);
        if due > self.stepped {
            let until = self.began + due;
            self.runtime.block_on(async { sleep_until(until).await });
            self.stepped = due;
        }
        self.main.is_finished().then(|| self.ending())
    }

    fn ending(&mut self) -> String {
        let ended = self.runtime.block_on(&mut self.main);
        ended.unwrap_or_else(|error| error.to_string())
    }
}

/// Panics where tasks wake each other without end, and so time never passes; names those that do,
/// by where they were spawned and how many of the last polls were theirs.
fn watch_for_circles(n_polls: Arc<AtomicU64>) -> impl Fn(&TaskMeta<'_>) + Send + Sync {
    let last: Mutex<BTreeMap<&'static Location<'static>, u64>> = Mutex::default();
    move |task| {
        let n = n_polls.fetch_add(1, Ordering::Relaxed);
        if n + POLLS_LOOKED_AT < POLLS_OF_A_STEP_MAX {
            return;
        }
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        *last.entry(task.spawned_at()).or_default() += 1;
        assert!(
            n < POLLS_OF_A_STEP_MAX,
            "tasks turn in circles, and time does not pass: {last:#?}"
        );
    }
}

/// What tokio's clock can tell.
fn whole_millis(duration: Duration) -> Duration {
    Duration::from_millis(duration.as_millis() as u64)
}
