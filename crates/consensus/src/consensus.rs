//! The small face of consensus: propose, confirm a read, watch who leads, snapshot, restore.
//!
//! [`Consensus::start`] takes a locked data folder and a machine, restores the newest snapshot,
//! replays the log and joins the group that the log names. A new folder becomes a group of one, or
//! waits for others ([`Founding`]). When the only voter has started, it leads and its machine is
//! complete.
//!
//! [`Consensus::propose`] is acknowledged when the command is on the disks of a quorum and
//! applied here. [`Consensus::confirmed`] is the read confirmation that costs two loads when this
//! server decides alone; [`Consensus::confirm`] is the one that always works. Both go to the leader
//! where it is another server: see `forward`. The servers of the group are in `group`.
//!
//! Not here: what a command means, who may propose it, how messages travel ([`crate::Peers`]).

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use muster_world::{World, blocking};
use tokio::sync::{Mutex, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::engine;
use crate::engine::applier::{Applier, RestoreStep, SnapshotStore};
use crate::engine::log_store::LogStore;
use crate::engine::network::Network;
use crate::engine::raft::Engine;
use crate::engine::serve::Arrivals;
use crate::engine::types::Proposal;
use crate::error::{OnFatal, ProposeError, StartError};
use crate::folder::Folder;
use crate::forward::Rounds;
use crate::machine::Machine;
use crate::peers::Peers;
use crate::progress::Progress;
use crate::snapshot::{self, Meta, SnapshotReader};
use crate::voters::Voter;
use crate::wal::{Log, Sizes};

/// Longest command.
pub const COMMAND_BYTES_MAX: usize = 4 << 20;

/// Most proposals that wait at a time, and most bytes of them.
const WAITING_MAX: usize = 16 << 10;
const WAITING_BYTES_MAX: usize = 64 << 20;
/// How long a full disk may keep a write under way from being decided before it is told so.
const FULL_PATIENCE: Duration = Duration::from_millis(500);

/// Bytes of a state that travel in one entry while it is replaced.
const RESTORE_BLOCK: usize = 256 << 10;

/// What can be chosen.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where peers reach this server.
    pub address: String,
    /// What a server on a new folder does.
    pub founding: Founding,
    /// Entries between snapshots.
    pub snapshot_after: u64,
    /// Entries kept in the log although a snapshot has them.
    pub entries_kept: u64,
    /// Stretches heartbeats and election timeouts, for networks slower than a LAN.
    pub raft_multiplier: u32,
    /// Free bytes of the disk below which nothing new is proposed.
    pub reserve_bytes: u64,
    /// Bytes of the newest entries kept in memory.
    pub cache_bytes: usize,
    /// Bytes of a file of the log. A snapshot frees whole files.
    pub segment_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            address: String::new(),
            founding: Founding::Alone,
            snapshot_after: 16 << 10,
            entries_kept: 1024,
            raft_multiplier: 1,
            reserve_bytes: 64 << 20,
            cache_bytes: 1 << 20,
            segment_bytes: 16 << 20,
        }
    }
}

/// What a server does that belongs to no group yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Founding {
    /// It founds a group of its own.
    Alone,
    /// It waits until a group takes it in, or until [`Consensus::found`] is called.
    Wait,
}

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leadership {
    /// The term.
    pub term: u64,
    /// The leader of the term, once known.
    pub leader: Option<Voter>,
    /// Whether it is this server.
    pub is_leader: bool,
    /// Whose votes count.
    pub voters: Vec<Voter>,
}

/// A command that took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// Its index.
    pub index: u64,
    /// What the machine made of it.
    pub outcome: Bytes,
}

/// Figures for operators.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// The term.
    pub term: u64,
    /// The last index that is decided, as this server knows; 0 while it knows of none.
    pub committed_index: u64,
    /// The index at which the voters last changed.
    pub voters_index: u64,
    /// The last index that the machine has published.
    pub applied_index: u64,
    /// The last index in the log.
    pub last_index: u64,
    /// The last index that is in the newest snapshot.
    pub snapshot_index: u64,
    /// The last index that is no longer in the log.
    pub purged_index: u64,
    /// Proposals that wait.
    pub n_waiting: usize,
    /// Syncs of the log since the start.
    pub n_syncs: u64,
    /// Entries written to the log since the start.
    pub n_entries: u64,
    /// Free bytes of the disk, as last seen.
    pub free_bytes: u64,
}

/// One server of a Raft group.
pub struct Consensus {
    pub(crate) engine: Engine,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) arrivals: Arrivals,
    pub(crate) rounds: Rounds,
    pub(crate) raft_multiplier: u32,
    pub(crate) leadership: watch::Receiver<Leadership>,
    /// Held while the servers of the group change.
    pub(crate) changing: Mutex<()>,
    log: Arc<Log>,
    folder: Folder,
    reserve_bytes: u64,
    n_waiting: AtomicUsize,
    waiting_bytes: AtomicUsize,
    is_stopping: AtomicBool,
    tasks: Vec<JoinHandle<()>>,
}

// ---------------------------------------------------------------- starting

impl Consensus {
    /// Starts from what the folder holds. `peers` is the way to the other servers, `on_fatal` is
    /// told when the process must end.
    pub async fn start(
        settings: Settings,
        folder: Folder,
        machine: Box<dyn Machine>,
        peers: Arc<dyn Peers>,
        on_fatal: OnFatal,
    ) -> Result<Consensus, StartError> {
        let world = folder.world().clone();
        let sizes = Sizes {
            cache: settings.cache_bytes,
            reserve: settings.reserve_bytes,
            segment: settings.segment_bytes,
            ..Sizes::default()
        };
        let opened = {
            let on_fatal = on_fatal.clone();
            blocking(&*world.clone(), move || open(folder, machine, sizes, on_fatal)).await
        };
        let opened = opened.ok_or_else(|| {
            StartError::Engine("the machine panicked while it was restored".to_owned())
        })??;
        opened.join(&settings, world, peers, on_fatal).await
    }
}

/// Makes the server of a folder the only voter of its group, for when the others are lost for good;
/// gives the last index it has. Everything in its log takes effect, whether it was known to be
/// decided or not. The others must never be started again with their old folders.
///
/// # Errors
/// Where the folder cannot be used, or holds nothing; it is left as it was.
pub async fn rescue(folder: Folder, machine: Box<dyn Machine>) -> Result<u64, StartError> {
    let world = folder.world().clone();
    let died: OnFatal = Arc::new(|fatal| tracing::error!(%fatal, "the rescue failed"));
    let opened = blocking(&*world, move || open(folder, machine, Sizes::default(), died)).await;
    let opened = opened.ok_or_else(|| StartError::Engine("the machine panicked".to_owned()))??;
    let Opened { folder, log, machine, snapshot } = opened;
    let last = engine::rescue::rescue(&folder, &log, machine, snapshot).await?;
    let (done, closed) = oneshot::channel();
    log.close(Box::new(move |outcome| drop(done.send(outcome))));
    if let Ok(Err(error)) = closed.await {
        tracing::warn!(%error, "the log was not closed in order");
    }
    Ok(last.index)
}

/// What is there before the engine is.
struct Opened {
    folder: Folder,
    log: Arc<Log>,
    machine: Box<dyn Machine>,
    snapshot: Option<snapshot::Snapshot>,
}

/// Opens the log and restores the machine from the newest snapshot. Blocks.
fn open(
    folder: Folder,
    mut machine: Box<dyn Machine>,
    sizes: Sizes,
    on_fatal: OnFatal,
) -> Result<Opened, StartError> {
    let world = folder.world().clone();
    let snapshots = folder.snapshots();
    snapshot::sweep(world.files(), &snapshots)
        .map_err(|error| StartError::machine("remove what is unfinished in", &snapshots, error))?;
    let snapshot = snapshot::newest(world.files(), &snapshots)
        .map_err(|error| StartError::machine("read the newest snapshot in", &snapshots, error))?;
    let log = Log::open(world.clone(), &folder.log(), folder.node(), sizes, on_fatal)?;
    if let Some(snapshot) = &snapshot {
        let restore = |error| match StartError::machine("restore", &snapshot.path, error) {
            StartError::Machine { path, error, .. } => StartError::Restore { path, error },
            damaged => damaged,
        };
        let mut reader = SnapshotReader::open(world.files(), &snapshot.path).map_err(restore)?;
        machine.restore(None, &mut reader).map_err(restore)?;
        reader.read_to_end().map_err(restore)?;
    }
    Ok(Opened { folder, log, machine, snapshot })
}

impl Opened {
    async fn join(
        self,
        settings: &Settings,
        world: Arc<dyn World>,
        peers: Arc<dyn Peers>,
        on_fatal: OnFatal,
    ) -> Result<Consensus, StartError> {
        let node = self.folder.node();
        let applied = self.snapshot.as_ref().map_or_else(Meta::default, |s| s.meta.clone());
        let progress = Arc::new(Progress::new(applied.last.map_or(0, |last| last.index)));
        let last = self.log.last();
        let is_new = last.is_none() && self.log.vote().is_none() && self.snapshot.is_none();
        let store = SnapshotStore::new(world.clone(), self.folder.snapshots(), self.snapshot);
        let applier = Applier::new(self.machine, applied, progress.clone(), store);
        let log_store = LogStore::new(self.log.clone(), world.clone());
        let network = Network::new(peers.clone(), world.clone());
        let engine = Engine::build(node, settings, network, log_store, applier).await?;
        let keeper = tokio::spawn(self.log.clone().keep());
        let (leadership, watcher) = engine.watch(on_fatal);
        let consensus = Consensus {
            engine,
            peers,
            progress,
            arrivals: Arrivals::new(world, self.folder.snapshots()),
            rounds: Rounds::default(),
            raft_multiplier: settings.raft_multiplier.max(1),
            leadership,
            changing: Mutex::default(),
            log: self.log,
            folder: self.folder,
            reserve_bytes: settings.reserve_bytes,
            n_waiting: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
            is_stopping: AtomicBool::new(false),
            tasks: vec![keeper, watcher],
        };
        if is_new && settings.founding == Founding::Alone {
            let own = Voter { id: node, address: settings.address.clone() };
            consensus.engine.found(&[own]).await.map_err(StartError::Engine)?;
        }
        let is_alone = consensus.engine.begin(last.map_or(0, |last| last.index)).await?;
        consensus.progress.set_alone(is_alone);
        tracing::info!(index = consensus.progress.index(), is_alone, "consensus started");
        Ok(consensus)
    }
}

// ---------------------------------------------------------------- writing

impl Consensus {
    /// Proposes as the leader, and waits until it is decided and applied here.
    pub(crate) async fn offer_here(
        &self,
        proposal: Proposal,
        deadline: Instant,
    ) -> Result<Decided, ProposeError> {
        self.log.admit().map_err(|free| ProposeError::DiskFull {
            folder: self.folder.path().to_owned(),
            free,
            reserve: self.reserve_bytes,
        })?;
        if self.is_stopping() {
            return Err(ProposeError::Stopped);
        }
        let _place = self.wait_in_line(proposal.len())?;
        let written = timeout_at(deadline, self.engine.write(proposal));
        tokio::select! {
            biased;
            written = written => written.unwrap_or(Err(ProposeError::Unknown)),
            () = self.log.stays_full(FULL_PATIENCE) => {
                Err(ProposeError::Stalled { folder: self.folder.path().to_owned() })
            }
        }
    }

    fn wait_in_line(&self, bytes: usize) -> Result<Place<'_>, ProposeError> {
        let place = Place { consensus: self, bytes };
        let n = self.n_waiting.fetch_add(1, Ordering::Relaxed);
        let total = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let is_full = n >= WAITING_MAX || total + bytes > WAITING_BYTES_MAX;
        if is_full { Err(ProposeError::Busy) } else { Ok(place) }
    }

    /// Replaces the whole state by what a frozen one once wrote, at a new index. Commands that are
    /// proposed meanwhile and decided before the end are replaced too.
    pub async fn restore(
        &self,
        from: &mut (dyn Read + Send),
        deadline: Instant,
    ) -> Result<u64, RestoreError> {
        self.restore_step(RestoreStep::Begin, deadline).await?;
        loop {
            let mut block = Vec::with_capacity(RESTORE_BLOCK);
            if let Err(error) = from.take(RESTORE_BLOCK as u64).read_to_end(&mut block) {
                self.restore_step(RestoreStep::GiveUp, deadline).await?;
                return Err(RestoreError::Refused(error.to_string()));
            }
            if block.is_empty() {
                return self.restore_step(RestoreStep::End, deadline).await;
            }
            self.restore_step(RestoreStep::Block(block.into()), deadline).await?;
        }
    }

    async fn restore_step(
        &self,
        step: RestoreStep,
        deadline: Instant,
    ) -> Result<u64, RestoreError> {
        let decided = self.offer(Proposal::Restore(step.encode()), deadline).await?;
        if decided.outcome.is_empty() {
            return Ok(decided.index);
        }
        Err(RestoreError::Refused(String::from_utf8_lossy(&decided.outcome).into_owned()))
    }
}

/// Why the state was not replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The log did not take it.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// What was given is not a state; nothing was touched.
    #[error("{0}")]
    Refused(String),
}

/// A place among the waiting proposals.
struct Place<'a> {
    consensus: &'a Consensus,
    bytes: usize,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.consensus.n_waiting.fetch_sub(1, Ordering::Relaxed);
        self.consensus.waiting_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

// ---------------------------------------------------------------- reading

impl Consensus {
    /// The id of this server.
    #[must_use]
    pub fn node(&self) -> u64 {
        self.folder.node()
    }

    /// The index up to which everything acknowledged so far is applied here, if that can be told
    /// at once: when this server is the only voter.
    #[must_use]
    pub fn confirmed(&self) -> Option<u64> {
        self.progress.confirmed()
    }

    /// The last index that the machine has published.
    #[must_use]
    pub fn applied_index(&self) -> u64 {
        self.progress.index()
    }

    /// Waits until the machine has published an index; false when the deadline came first.
    pub async fn wait_applied(&self, index: u64, deadline: Instant) -> bool {
        if self.progress.index() >= index {
            return true;
        }
        let mut applied = self.progress.subscribe();
        matches!(timeout_at(deadline, applied.wait_for(|now| *now >= index)).await, Ok(Ok(_)))
    }

    /// Who leads, and news of it.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Whether there is space here for what would be proposed. Where there was none, it is looked for.
    #[must_use]
    pub fn has_space(&self) -> bool {
        self.log.admit().is_ok()
    }

    /// Figures for operators.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let standing = self.engine.standing();
        let (n_syncs, n_entries) = self.log.counts();
        Stats {
            term: standing.term,
            committed_index: standing.committed_index,
            voters_index: standing.voters_index,
            applied_index: self.progress.index(),
            last_index: self.log.last().map_or(0, |last| last.index),
            snapshot_index: standing.snapshot_index,
            purged_index: self.log.purged().map_or(0, |id| id.index),
            n_waiting: self.n_waiting.load(Ordering::Relaxed),
            n_syncs,
            n_entries,
            free_bytes: self.log.free_bytes(),
        }
    }
}

// ---------------------------------------------------------------- tending

impl Consensus {
    /// Writes a snapshot of the state as it is now and waits for it. Returns its index.
    pub async fn snapshot_now(&self, deadline: Instant) -> Result<u64, ProposeError> {
        let written = self.engine.snapshot(self.progress.index());
        timeout_at(deadline, written).await.unwrap_or(Err(ProposeError::Unknown))
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    /// Stops in order: nothing is proposed any more, and the log is closed. The folder is free for
    /// another process when this is dropped.
    pub async fn shutdown(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        self.progress.set_alone(false);
        self.engine.shutdown().await;
        let (done, closed) = oneshot::channel();
        self.log.close(Box::new(move |outcome| {
            // The other end waits right below.
            let _ = done.send(outcome);
        }));
        if let Ok(Err(error)) = closed.await {
            tracing::warn!(%error, "the log was not closed in order");
        }
    }
}

impl Drop for Consensus {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
