//! What the people who run an agent need: who is there, who leads, keys, backup, logs, numbers,
//! reload. The facts about the cluster that it speaks of are in [`crate::cluster`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use muster_model::{Index, Text};
use tokio::sync::{broadcast, mpsc};

use crate::cluster::{
    AutopilotView, Datacenter, KeyringReach, KeyringReport, KeyringWish, Member, Pool, RaftView,
    ServerKey,
};
use crate::{Call, Freshness, Pending, Refusal, Standing};

/// What the people who run an agent need.
pub trait Operator: Send + Sync + 'static {
    /// The members of a pool that this agent knows, itself among them, in the order of their names.
    /// Empty for the WAN pool of an agent that is no server.
    fn members(&self, pool: Pool) -> Vec<Member>;

    /// Joins a pool by the agent at an address (`host` or `host:port`).
    ///
    /// The refusal says why that agent could not be reached or would not have this one.
    fn join<'a>(
        &'a self,
        call: &'a Call,
        address: &'a str,
        pool: Pool,
    ) -> Pending<'a, Result<(), Refusal>>;

    /// Has a failed member count as left; with `prune` forgets it.
    ///
    /// [`Refusal::Unknown`] where no member of the pool has that name. One that is alive stays.
    fn force_leave<'a>(
        &'a self,
        call: &'a Call,
        node: &'a str,
        prune: bool,
        pool: Pool,
    ) -> Pending<'a, Result<(), Refusal>>;

    /// Leaves gracefully and stops the process: a leader hands leadership over first, and a server
    /// is no longer a voter when this is ready.
    fn leave<'a>(&'a self, call: &'a Call) -> Pending<'a, Result<(), Refusal>>;

    /// Reads the configuration again; ready once it is in effect. Gives what is to be said about it:
    /// above all which changes wait for a restart.
    fn reload<'a>(&'a self, call: &'a Call) -> Pending<'a, Result<Vec<Text>, Refusal>>;

    /// Who leads, and who votes: as the leader has it, or (`Freshness::Stale`) as any server has it,
    /// this one if it is one.
    fn raft<'a>(
        &'a self,
        call: &'a Call,
        freshness: Freshness,
    ) -> Pending<'a, Result<RaftView, Refusal>>;

    /// Takes a server out of the Raft group.
    ///
    /// [`Refusal::Unknown`] where none is named so, [`Refusal::Invalid`] where the group cannot do
    /// without it.
    fn remove_server<'a>(
        &'a self,
        call: &'a Call,
        server: ServerKey,
    ) -> Pending<'a, Result<(), Refusal>>;

    /// Has another server lead: the one with this id, or the one that is closest. Ready once it
    /// does.
    ///
    /// [`Refusal::Unknown`] where no server has that id, [`Refusal::Invalid`] where it cannot lead.
    fn transfer_leadership<'a>(
        &'a self,
        call: &'a Call,
        to: Option<Text>,
    ) -> Pending<'a, Result<(), Refusal>>;

    /// How the servers are, as the leader judges them.
    fn autopilot<'a>(&'a self, call: &'a Call) -> Pending<'a, Result<AutopilotView, Refusal>>;

    /// Asks the members of both pools for, or about, the keys of gossip; the WAN pool's report
    /// comes first. Refused where this agent is no server.
    fn keyring<'a>(
        &'a self,
        call: &'a Call,
        wish: KeyringWish,
        reach: KeyringReach,
    ) -> Pending<'a, Result<Vec<KeyringReport>, Refusal>>;

    /// The datacenters that have servers, the nearest first: this agent's own, then by the median
    /// of the round-trip times to their servers.
    fn datacenters<'a>(&'a self, call: &'a Call) -> Pending<'a, Result<Vec<Datacenter>, Refusal>>;

    /// The whole state as the blocks of a snapshot, at one index.
    fn save<'a>(
        &'a self,
        call: &'a Call,
        freshness: Freshness,
    ) -> Pending<'a, Result<Saved, Refusal>>;

    /// Replaces the whole state by a snapshot. Nothing is touched before the last block was checked.
    fn restore<'a>(
        &'a self,
        call: &'a Call,
        blocks: mpsc::Receiver<Result<Bytes, std::io::Error>>,
    ) -> Pending<'a, Result<(), Refusal>>;

    /// Log lines from now on, of every level; who reads too slowly misses some.
    fn log_lines(&self) -> broadcast::Receiver<Arc<LogLine>>;

    /// The numbers that metrics stand at.
    fn metrics(&self) -> Vec<Metric>;

    /// Facts about the machine.
    fn host(&self) -> HostFacts;

    /// The configuration in effect, secrets hidden.
    fn settings(&self) -> SettingValue;

    /// How long this process has been running.
    fn uptime(&self) -> Duration;
}

/// A saved state.
pub struct Saved {
    /// The index it stands at.
    pub index: Index,
    /// How the server stood.
    pub standing: Standing,
    /// Its blocks; an error ends the stream.
    pub blocks: mpsc::Receiver<Result<Bytes, std::io::Error>>,
}

/// One line of the log.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// How much it matters.
    pub level: LogLevel,
    /// Seconds and nanoseconds since 1970.
    pub at: Duration,
    /// The part of the agent that speaks.
    pub target: Text,
    /// What it says.
    pub message: Text,
    /// Its fields.
    pub fields: Vec<(Text, Text)>,
}

/// How much a log line matters; the greater, the more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Every step.
    Trace,
    /// For who looks for a fault.
    Debug,
    /// What one wants to know.
    Info,
    /// What somebody should look at.
    Warn,
    /// What somebody must look at.
    Error,
}

/// A metric.
#[derive(Clone, Debug)]
pub struct Metric {
    /// Its name, parts joined by dots, without prefix.
    pub name: Text,
    /// What distinguishes it from others of its name.
    pub labels: Vec<(Text, Text)>,
    /// What it stands at.
    pub value: MetricValue,
}

/// What a metric stands at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricValue {
    /// Since the start.
    Counter(u64),
    /// Now.
    Gauge(f64),
    /// Samples of the last interval and since the start.
    Sample {
        /// How many, since the start.
        count: u64,
        /// Their sum, since the start.
        sum: f64,
        /// The least of the last interval.
        min: f64,
        /// The greatest of the last interval.
        max: f64,
    },
}

/// Facts about the machine.
#[derive(Clone, Debug, Default)]
pub struct HostFacts {
    /// Nanoseconds since 1970 at which they were read.
    pub collected_at: u64,
    /// Its host name.
    pub hostname: Text,
    /// Operating system.
    pub os: Text,
    /// Version of its kernel.
    pub kernel: Text,
    /// Processor architecture.
    pub architecture: Text,
    /// Processors.
    pub n_processors: u32,
    /// Seconds since it was started.
    pub uptime_s: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Of these, available.
    pub memory_available_bytes: u64,
    /// Bytes on the disk of the data folder.
    pub disk_bytes: u64,
    /// Of these, free.
    pub disk_free_bytes: u64,
}

/// A value of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub enum SettingValue {
    /// Not set.
    Absent,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Number(i64),
    /// A fraction.
    Fraction(f64),
    /// Words.
    Text(Text),
    /// Several.
    List(Vec<SettingValue>),
    /// Several by name.
    Map(Vec<(Text, SettingValue)>),
}
