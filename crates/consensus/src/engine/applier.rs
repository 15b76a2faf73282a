//! Our state machine as openraft wants one: committed entries in, outcomes and snapshots out.
//!
//! Entries are applied in batches, at most [`BATCH`] at a time, and the outcomes are sent after
//! the machine has published the batch and [`Progress`] says so: who reads after an
//! acknowledgement sees what was acknowledged.
//!
//! **Replacing the whole state** goes through the log in steps, so that the index never falls
//! back and every server does it at the same index: *begin*, *blocks*, *end*. The blocks are held
//! until the end arrives; until then no snapshot is made, because it would not contain them. A
//! begun one is forgotten when another begins, when it is given up, and when a new leader comes
//! (whoever was proposing the blocks is gone then).

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};
use muster_world::World;
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder, alias};

use super::log_store::off_runtime;
use super::types::{
    LogId, Proposal, RaftEntryOf, Reply, SnapshotMeta, Stored, Types, from_log_id,
    from_snapshot_meta, to_log_id, to_roster, to_snapshot_meta, to_stored,
};
use crate::machine::{Committed, Frozen, Machine};
use crate::progress::Progress;
use crate::snapshot::{self, Meta, Snapshot, SnapshotReader};
use crate::term_id::EntryId;
use crate::voters::{Roster, Voter};

/// Most entries that the machine is given at once.
const BATCH: usize = 1024;

/// Most bytes that a replaced state may have.
const RESTORE_BYTES_MAX: usize = 2 << 30;

/// A snapshot on its way between openraft's hands.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotFile {
    pub(crate) path: PathBuf,
}

type RaftSnapshot = alias::SnapshotOf<Types, SnapshotFile>;

/// The machine and what it has taken in.
pub(crate) struct Applier {
    /// Absent only while a restore has it on another thread.
    machine: Option<Box<dyn Machine>>,
    applied: Meta,
    incoming: Option<Incoming>,
    progress: Arc<Progress>,
    store: SnapshotStore,
}

/// Where snapshots are, and which is the newest.
#[derive(Clone)]
pub(crate) struct SnapshotStore {
    world: Arc<dyn World>,
    folder: PathBuf,
    newest: Arc<Mutex<Option<Snapshot>>>,
}

/// A state that is arriving block by block.
#[derive(Default)]
struct Incoming {
    blocks: Vec<Bytes>,
    bytes: usize,
}

/// A step of replacing the whole state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RestoreStep {
    Begin,
    Block(Bytes),
    End,
    GiveUp,
}

impl RestoreStep {
    pub(crate) fn encode(&self) -> Bytes {
        match self {
            RestoreStep::Begin => Bytes::from_static(&[0]),
            RestoreStep::Block(block) => [&[1], &block[..]].concat().into(),
            RestoreStep::End => Bytes::from_static(&[2]),
            RestoreStep::GiveUp => Bytes::from_static(&[3]),
        }
    }

    fn parse(bytes: &Bytes) -> Option<RestoreStep> {
        Some(match bytes.first()? {
            0 => RestoreStep::Begin,
            1 => RestoreStep::Block(bytes.slice(1..)),
            2 => RestoreStep::End,
            3 => RestoreStep::GiveUp,
            _ => return None,
        })
    }
}

impl SnapshotStore {
    pub(crate) fn new(world: Arc<dyn World>, folder: PathBuf, newest: Option<Snapshot>) -> Self {
        SnapshotStore { world, folder, newest: Arc::new(Mutex::new(newest)) }
    }

    fn newest(&self) -> MutexGuard<'_, Option<Snapshot>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(&self, meta: Meta, frozen: Box<dyn Frozen>) -> io::Result<Snapshot> {
        let (world, folder) = (self.world.clone(), self.folder.clone());
        let snapshot = off_runtime(&*self.world, move || {
            snapshot::write(world.files(), &folder, meta, &*frozen)
        })
        .await?;
        let last = snapshot.meta.last.unwrap_or_default();
        tracing::info!(index = last.index, bytes = snapshot.bytes, "snapshot written");
        self.keep_if_newer(&snapshot);
        Ok(snapshot)
    }

    /// A snapshot that was built meanwhile may be older than one that came from the leader.
    fn keep_if_newer(&self, snapshot: &Snapshot) {
        let mut newest = self.newest();
        if newest.as_ref().is_none_or(|known| known.meta.last <= snapshot.meta.last) {
            *newest = Some(snapshot.clone());
        }
    }
}

impl Applier {
    pub(crate) fn new(
        machine: Box<dyn Machine>,
        applied: Meta,
        progress: Arc<Progress>,
        store: SnapshotStore,
    ) -> Self {
        Applier { machine: Some(machine), applied, incoming: None, progress, store }
    }

    /// Leaves one server of the group, as of the last entry and outside of the log: for one that is
    /// rescued. Gives that entry; nothing if there is none.
    pub(crate) fn leave_only(&mut self, id: u64) -> Option<EntryId> {
        let last = self.applied.last?;
        self.applied.roster_id = Some(last);
        let servers = std::mem::take(&mut self.applied.roster.servers);
        let own = servers.into_iter().find(|server| server.id == id);
        let own = own.unwrap_or(Voter { id, ..Voter::default() });
        self.applied.roster = Roster { sets: vec![vec![id]], servers: vec![own] };
        Some(last)
    }

    fn machine(&mut self) -> io::Result<&mut Box<dyn Machine>> {
        self.machine.as_mut().ok_or_else(|| io::Error::other("the state machine is gone"))
    }

    /// Gives a batch to the machine and the outcomes to whoever waits for them.
    fn apply_batch(&mut self, batch: &mut Batch) -> io::Result<()> {
        if let Some(last) = batch.commands.last() {
            let last = last.index;
            batch.outcomes.clear();
            let (commands, outcomes) = (&batch.commands, &mut batch.outcomes);
            self.machine()?.apply(commands, outcomes);
            assert_eq!(outcomes.len(), commands.len(), "a machine answers every command");
            self.progress.applied(last);
            for (responder, outcome) in batch.responders.drain(..).zip(batch.outcomes.drain(..)) {
                if let Some(responder) = responder {
                    responder.send(Reply(outcome));
                }
            }
            batch.commands.clear();
        }
        Ok(())
    }

    /// Applies an entry that is no command.
    async fn apply_other(&mut self, entry: RaftEntryOf) -> io::Result<Reply> {
        let id = from_log_id(&entry.log_id);
        let mut reply = Reply::default();
        match entry.payload {
            EntryPayload::Blank => self.incoming = None,
            EntryPayload::Membership(voters) => {
                self.applied.roster_id = Some(id);
                self.applied.roster = to_roster(&voters);
            }
            EntryPayload::Normal(Proposal::Restore(step)) => {
                if let Err(refusal) = self.restore_step(id.index, &step).await? {
                    reply = Reply(refusal.into());
                }
            }
            EntryPayload::Normal(Proposal::Command(_)) => {}
        }
        self.progress.applied(id.index);
        Ok(reply)
    }

    /// Takes a step of a restore. The inner error is the same on every server.
    async fn restore_step(&mut self, index: u64, step: &Bytes) -> io::Result<Result<(), String>> {
        match (RestoreStep::parse(step), &mut self.incoming) {
            (Some(RestoreStep::Begin), _) => self.incoming = Some(Incoming::default()),
            (Some(RestoreStep::GiveUp), _) => self.incoming = None,
            (Some(RestoreStep::Block(block)), Some(incoming)) => {
                incoming.bytes += block.len();
                if incoming.bytes > RESTORE_BYTES_MAX {
                    self.incoming = None;
                    return Ok(Err(format!("the state is larger than {RESTORE_BYTES_MAX} bytes")));
                }
                incoming.blocks.push(block);
            }
            (Some(RestoreStep::End), Some(_)) => {
                let blocks = self.incoming.take().unwrap_or_default().blocks;
                let restored = self.restore(Some(index), Blocks { blocks: blocks.into() }).await?;
                return Ok(restored.map_err(|error| error.to_string()));
            }
            (Some(_), None) => return Ok(Err("the restore was interrupted".to_owned())),
            (None, _) => return Ok(Err("unknown step of a restore".to_owned())),
        }
        Ok(Ok(()))
    }

    /// Lets the machine restore itself, off the runtime.
    async fn restore(
        &mut self,
        replaced_at: Option<u64>,
        mut from: impl Read + Send + 'static,
    ) -> io::Result<io::Result<()>> {
        let missing = || io::Error::other("the state machine is gone");
        let mut machine = self.machine.take().ok_or_else(missing)?;
        let (machine, restored) = off_runtime(&*self.store.world, move || {
            let restored = machine.restore(replaced_at, &mut from);
            Ok((machine, restored))
        })
        .await?;
        self.machine = Some(machine);
        Ok(restored)
    }
}

/// Commands that are applied together, and who waits for their outcomes.
#[derive(Default)]
struct Batch {
    commands: Vec<Committed>,
    responders: Vec<Option<ApplyResponder<Types>>>,
    outcomes: Vec<Bytes>,
}

impl RaftStateMachine<Types> for Applier {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, Stored)> {
        Ok((self.applied.last.map(to_log_id), to_stored(&self.applied)?))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut batch = Batch::default();
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let id = from_log_id(&entry.log_id);
            if let EntryPayload::Normal(Proposal::Command(command)) = entry.payload {
                batch.commands.push(Committed { index: id.index, command });
                batch.responders.push(responder);
                if batch.commands.len() == BATCH {
                    self.apply_batch(&mut batch)?;
                }
            } else {
                self.apply_batch(&mut batch)?;
                let reply = self.apply_other(entry).await?;
                if let Some(responder) = responder {
                    responder.send(reply);
                }
            }
            self.applied.last = Some(id);
        }
        self.apply_batch(&mut batch)
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<Builder> {
        match self.incoming.is_some() && !force {
            true => None,
            false => Some(self.get_snapshot_builder().await),
        }
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let frozen = self.machine.as_ref().map(|machine| machine.freeze());
        Builder { meta: self.applied.clone(), frozen, store: self.store.clone() }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        data: SnapshotFile,
    ) -> io::Result<()> {
        let announced = from_snapshot_meta(meta);
        let (world, folder) = (self.store.world.clone(), self.store.folder.clone());
        let (snapshot, reader) = off_runtime(&*self.store.world, move || {
            let snapshot = snapshot::adopt(world.files(), &folder, &data.path)?;
            let reader = SnapshotReader::open(world.files(), &snapshot.path)?;
            Ok((snapshot, reader))
        })
        .await?;
        if snapshot.meta != announced {
            return Err(io::Error::other("the snapshot is not the one that was announced"));
        }
        let index = snapshot.meta.last.unwrap_or_default().index;
        self.restore(None, reader).await??;
        self.incoming = None;
        self.applied = snapshot.meta.clone();
        self.store.keep_if_newer(&snapshot);
        self.progress.applied(index);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<RaftSnapshot>> {
        self.store.newest().as_ref().map(to_raft_snapshot).transpose()
    }
}

fn to_raft_snapshot(snapshot: &Snapshot) -> io::Result<RaftSnapshot> {
    let data = SnapshotFile { path: snapshot.path.clone() };
    Ok(RaftSnapshot { meta: to_snapshot_meta(&snapshot.meta)?, snapshot: data })
}

/// Writes a frozen state while applying goes on.
pub(crate) struct Builder {
    meta: Meta,
    frozen: Option<Box<dyn Frozen>>,
    store: SnapshotStore,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> io::Result<RaftSnapshot> {
        let missing = || io::Error::other("this snapshot was built before");
        let frozen = self.frozen.take().ok_or_else(missing)?;
        let snapshot = self.store.write(self.meta.clone(), frozen).await?;
        to_raft_snapshot(&snapshot)
    }
}

/// Reads blocks one after the other.
struct Blocks {
    blocks: std::collections::VecDeque<Bytes>,
}

impl Read for Blocks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.blocks.front().is_some_and(Bytes::is_empty) {
            self.blocks.pop_front();
        }
        let Some(block) = self.blocks.front_mut() else { return Ok(0) };
        let n = block.len().min(buffer.len());
        block.copy_to_slice(&mut buffer[..n]);
        Ok(n)
    }
}
