//! What the people who run an agent need: who is there, who leads, backup, logs, numbers, reload.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use muster_model::{Index, Text};
use tokio::sync::{broadcast, mpsc};

use crate::{Call, Freshness, Pending, Refusal, Standing};

/// What the people who run an agent need.
pub trait Operator: Send + Sync + 'static {
    /// The members this agent knows, itself among them.
    fn members(&self) -> Vec<Member>;

    /// Joins the pool of the agent at an address (`host` or `host:port`).
    fn join<'a>(
        &'a self,
        call: &'a Call,
        address: &'a str,
        is_wan: bool,
    ) -> Pending<'a, Result<(), Refusal>>;

    /// Has a failed member count as left; with `prune` forgets it.
    fn force_leave<'a>(
        &'a self,
        call: &'a Call,
        node: &'a str,
        prune: bool,
    ) -> Pending<'a, Result<(), Refusal>>;

    /// Leaves gracefully and stops the process.
    fn leave<'a>(&'a self, call: &'a Call) -> Pending<'a, Result<(), Refusal>>;

    /// Reads the configuration again; ready once it is in effect.
    fn reload<'a>(&'a self, call: &'a Call) -> Pending<'a, Result<(), Refusal>>;

    /// Who leads, and who votes.
    fn raft(&self) -> RaftView;

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

/// An agent as gossip sees it.
#[derive(Clone, Debug, Default)]
pub struct Member {
    /// Its node's name.
    pub name: Text,
    /// Its IP address.
    pub address: Text,
    /// Its gossip port.
    pub port: u16,
    /// What it says of itself.
    pub tags: Vec<(Text, Text)>,
    /// How it is.
    pub status: MemberStatus,
}

/// How a member is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemberStatus {
    /// It answers.
    #[default]
    Alive,
    /// It says that it is about to go.
    Leaving,
    /// It went in good order.
    Left,
    /// It no longer answers.
    Failed,
}

/// Who leads, and who votes.
#[derive(Clone, Debug, Default)]
pub struct RaftView {
    /// Servers, in the order of their ids.
    pub servers: Vec<RaftServer>,
    /// The leader's address, if there is one.
    pub leader_address: Option<Text>,
    /// The present term.
    pub term: u64,
    /// The last index in the log.
    pub last_index: Index,
    /// The last index that is decided.
    pub commit_index: Index,
    /// The last index that is in the state.
    pub applied_index: Index,
    /// The index of the last snapshot.
    pub snapshot_index: Index,
    /// The index at which the set of voters last changed.
    pub voters_index: Index,
}

/// A server of the Raft group.
#[derive(Clone, Debug, Default)]
pub struct RaftServer {
    /// Its node's id.
    pub id: Text,
    /// Its node's name.
    pub node: Text,
    /// Its address.
    pub address: Text,
    /// Whether it leads.
    pub is_leader: bool,
    /// Whether it votes.
    pub is_voter: bool,
    /// The last index that it has.
    pub last_index: Index,
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
