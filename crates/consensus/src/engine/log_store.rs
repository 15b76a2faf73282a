//! Our log as openraft wants a log: appends that report when they are on disk, reads that see an
//! entry as soon as it is appended.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds, RangeInclusive};
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use muster_world::{World, blocking};
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use tokio::sync::oneshot;

use super::types::{LogId, RaftEntryOf, RaftVoteOf, Types};
use super::types::{from_log_id, from_record, from_vote, to_log_id, to_record, to_vote};
use crate::wal::{self, Log};

/// Bytes of entries that are read at a time.
const READ_BYTES: usize = 1 << 20;

/// The log and the world it is in.
#[derive(Clone)]
pub(crate) struct LogStore {
    log: Arc<Log>,
    world: Arc<dyn World>,
}

impl LogStore {
    pub(crate) fn new(log: Arc<Log>, world: Arc<dyn World>) -> Self {
        LogStore { log, world }
    }

    /// Entries from memory at once, or from disk off the runtime.
    async fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<RaftEntryOf>> {
        let entries = match self.log.cached(from, to, bytes_max) {
            Some(entries) => entries,
            None => {
                let log = self.log.clone();
                off_runtime(&*self.world, move || log.read(from, to, bytes_max)).await?
            }
        };
        entries.into_iter().map(from_record).collect()
    }

    /// Queues something and waits until it is on disk.
    async fn durably(&self, queue: impl FnOnce(&Arc<Log>, wal::Done)) -> io::Result<()> {
        let (done, result) = oneshot::channel();
        queue(
            &self.log,
            Box::new(move |outcome| {
                // Whoever waited may be gone with the runtime.
                let _ = done.send(outcome);
            }),
        );
        result.await.unwrap_or_else(|_| Err(io::Error::other("the log was dropped")))
    }
}

pub(crate) async fn off_runtime<T: Send + 'static>(
    world: &dyn World,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    blocking(world, work)
        .await
        .unwrap_or_else(|| Err(io::Error::other("the runtime is going down")))
}

/// For what nobody waits for. That it failed is told to the next append, and ends the process.
fn unawaited() -> wal::Done {
    Box::new(|_| {})
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(before) => before + 1,
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(to) => *to,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<RaftEntryOf>> {
        let (from, to) = bounds(&range);
        self.read(from, to, usize::MAX).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<RaftVoteOf>> {
        Ok(self.log.vote().map(to_vote))
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> io::Result<Vec<RaftEntryOf>> {
        self.read(start, end, READ_BYTES).await
    }

    /// Committed entries on their way to the state machine: read bit by bit, however many.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = io::Result<RaftEntryOf>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = bounds(&range);
        let parts = stream::try_unfold((self.clone(), from), move |(store, from)| async move {
            if from >= to {
                return Ok(None);
            }
            let entries = store.read(from, to, READ_BYTES).await?;
            let Some(last) = entries.last() else { return Ok(None) };
            let next = last.index() + 1;
            Ok(Some((stream::iter(entries.into_iter().map(Ok)), (store, next))))
        });
        parts.flat_map(|part: io::Result<_>| match part {
            Ok(entries) => entries.left_stream(),
            Err(error) => stream::iter([Err(error)]).right_stream(),
        })
    }

    /// The last entry of every term in a range.
    async fn get_key_log_ids(&mut self, range: RangeInclusive<LogId>) -> io::Result<Vec<LogId>> {
        let (first, last) = (from_log_id(range.start()), from_log_id(range.end()));
        let mut keys = vec![first];
        for index in first.index + 1..=last.index {
            let id = self.log.id(index).unwrap_or(last);
            if keys.last().is_some_and(|key| key.term == id.term) {
                keys.pop();
            }
            keys.push(id);
        }
        Ok(keys.into_iter().map(to_log_id).collect())
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        Ok(LogState {
            last_purged_log_id: self.log.purged().map(to_log_id),
            last_log_id: self.log.last().map(to_log_id),
        })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVoteOf) -> io::Result<()> {
        // The first entry names the voters, and a vote without it is no good. On any other the vote
        // does not rest: also a server without space for entries has to take another for its leader.
        if !self.log.has_begun() {
            self.durably(|log, done| log.append(std::iter::empty(), done)).await?;
        }
        let (log, vote) = (self.log.clone(), from_vote(vote));
        off_runtime(&*self.world, move || log.save_vote(vote)).await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = RaftEntryOf> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let done = Box::new(move |outcome| callback.io_completed(outcome));
        self.log.append(entries.into_iter().map(to_record), done);
        Ok(())
    }

    /// Not waited for: what is appended next is on disk only behind it, and a server that dies before
    /// is one that never heard of it. One without space for the note has to follow on.
    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let from = last_log_id.map_or(0, |id| id.index() + 1);
        self.log.truncate(from, unawaited());
        Ok(())
    }

    /// Not waited for, for the same reasons: more of the log than is needed does no harm.
    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        self.log.purge(from_log_id(&log_id), unawaited());
        Ok(())
    }
}
