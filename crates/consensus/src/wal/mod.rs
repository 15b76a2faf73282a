//! The log on disk: a journal of records in segments, written in groups, each group synced once.
//!
//! Nothing is ever changed in place. Entries are appended; that entries are void (a follower had
//! to take back what a leader never committed) or no longer needed (a snapshot has them) is
//! appended too, as a record of its own. So a power cut can only ever tear the last group, and
//! every older byte is what was synced or is damage ([`segment`]).
//!
//! [`Log`] is the memory of it: where each entry lies (24 bytes an entry), the payloads of the
//! newest ones, and the queue of what is still to be written. [`Log::append`] only takes note and
//! returns; a job on a blocking thread ([`writer`]) takes all that waits, writes it with one
//! call, syncs it with one `fdatasync`, reports, and looks again. That is the group commit, and
//! there is no task or thread of the log's own.
//!
//! An entry can be read as soon as it is appended. It is acknowledged (`Done`) after the sync.
//!
//! When the disk is full the job keeps its group and tries again ([`Log::keep`]); proposals are
//! refused long before ([`Log::admit`]). When a sync fails the log is dead: see [`Fatal`].

pub(crate) mod open;
pub(crate) mod record;
pub(crate) mod segment;
pub(crate) mod vote;
pub(crate) mod writer;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use muster_world::{File, World};
use tokio::sync::{Notify, watch};

use self::record::{HEADER, Kind};
use self::vote::{Vote, VoteFile};
use self::writer::Writer;
use crate::error::{Damage, Fatal, OnFatal};
use crate::term_id::EntryId;

/// How long a full disk is left alone before the group that found it full is tried again.
const FULL_RETRY: Duration = Duration::from_millis(100);

/// Told when everything queued before it is on disk.
pub(crate) type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Sizes of the log.
#[derive(Debug, Clone)]
pub(crate) struct Sizes {
    /// A segment is followed by another before it grows beyond this.
    pub(crate) segment: u64,
    /// Zeros written ahead of use, so that a commit changes no length and no allocation.
    pub(crate) ahead: u64,
    /// A group is closed at this many bytes.
    pub(crate) group: usize,
    /// Payloads of the newest entries kept in memory.
    pub(crate) cache: usize,
    /// Free bytes below which nothing is admitted.
    pub(crate) reserve: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Sizes {
            segment: 16 << 20,
            ahead: 256 << 10,
            group: 1 << 20,
            cache: 1 << 20,
            reserve: 64 << 20,
        }
    }
}

impl Sizes {
    /// Bytes of a segment that was just begun.
    fn first_zeros(&self) -> u64 {
        self.ahead.min(self.segment).max(1).next_multiple_of(segment::SECTOR as u64)
    }
}

/// An entry as read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: EntryId,
    pub(crate) kind: Kind,
    pub(crate) payload: Bytes,
}

/// The log of one server.
pub(crate) struct Log {
    world: Arc<dyn World>,
    folder: PathBuf,
    sizes: Sizes,
    on_fatal: OnFatal,
    state: Mutex<State>,
    /// Held by the one job that writes.
    writer: Mutex<Writer>,
    vote: Mutex<VoteFile>,
    /// The last known free space, for refusing early.
    free: AtomicU64,
    is_looking_for_space: AtomicBool,
    stalled: Notify,
    /// Whether the last group found the disk full and waits.
    is_full: watch::Sender<bool>,
    /// How often it did since.
    n_stalls: AtomicU32,
    n_syncs: AtomicU64,
    n_entries: AtomicU64,
}

struct State {
    /// Where the entries lie; the first has index `first`.
    places: VecDeque<Place>,
    first: u64,
    purged: Option<EntryId>,
    /// Payloads of the newest entries; the last belongs to the last place.
    cache: VecDeque<Bytes>,
    cache_bytes: usize,
    /// What is to be written, in order.
    queue: VecDeque<Op>,
    is_writing: bool,
    segments: VecDeque<Segment>,
    failed: Option<Arc<io::Error>>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    term: u64,
    segment: u32,
    /// `UNWRITTEN` until the group is on disk.
    offset: u32,
    length: u32,
    kind: Kind,
}

const UNWRITTEN: u32 = u32::MAX;

/// A file of the log, kept open for reading.
struct Segment {
    sequence: u32,
    path: PathBuf,
    file: Arc<dyn File>,
    /// The highest index of an entry in it.
    last_index: Option<u64>,
}

enum Op {
    Entry(Entry),
    Note(Kind, EntryId),
    Done(Done),
}

// ---------------------------------------------------------------- asking

impl Log {
    /// The newest entry, which may be a purged one.
    pub(crate) fn last(&self) -> Option<EntryId> {
        let state = self.state();
        state.last()
    }

    /// The newest entry that was purged.
    pub(crate) fn purged(&self) -> Option<EntryId> {
        self.state().purged
    }

    /// The id of an entry that the log holds.
    pub(crate) fn id(&self, index: u64) -> Option<EntryId> {
        let state = self.state();
        state.place(index).map(|place| EntryId { term: place.term, index })
    }

    /// The entries of a range that the log holds, at most about `bytes_max`, but one at least.
    /// `None` when some are only on disk.
    pub(crate) fn cached(&self, from: u64, to: u64, bytes_max: usize) -> Option<Vec<Entry>> {
        let state = self.state();
        let (from, to) = state.clamp(from, to);
        let mut entries = Vec::new();
        let mut bytes = 0;
        for index in from..to {
            let payload = state.cached(index)?.clone();
            let place = state.place(index)?;
            bytes += payload.len() + HEADER;
            let id = EntryId { term: place.term, index };
            entries.push(Entry { id, kind: place.kind, payload });
            if bytes >= bytes_max {
                break;
            }
        }
        Some(entries)
    }

    /// The entries of a range that the log holds, from memory and disk. Blocks.
    pub(crate) fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        let (from, to) = self.state().clamp(from, to);
        for index in from..to {
            let Some(entry) = self.read_one(index)? else { break };
            bytes += entry.payload.len() + HEADER;
            entries.push(entry);
            if bytes >= bytes_max {
                break;
            }
        }
        Ok(entries)
    }

    fn read_one(&self, index: u64) -> io::Result<Option<Entry>> {
        let (place, file, path) = {
            let state = self.state();
            let Some(place) = state.place(index).copied() else { return Ok(None) };
            if let Some(payload) = state.cached(index) {
                let id = EntryId { term: place.term, index };
                return Ok(Some(Entry { id, kind: place.kind, payload: payload.clone() }));
            }
            let Some(segment) = state.segments.iter().find(|s| s.sequence == place.segment) else {
                return Err(io::Error::other(format!("the segment of entry {index} is gone")));
            };
            (place, segment.file.clone(), segment.path.clone())
        };
        let id = EntryId { term: place.term, index };
        let damage = || {
            Damage::new(
                &path,
                u64::from(place.offset),
                format!("entry {id} does not match its checksum"),
            )
        };
        let mut bytes = vec![0; HEADER + place.length as usize];
        file.read_exact_at(&mut bytes, u64::from(place.offset))?;
        let salt = self.salt(&*file)?;
        let header = record::header(&bytes, salt).ok_or_else(damage)?;
        let payload = Bytes::from(bytes).slice(HEADER..);
        if header.id != id || header.kind != place.kind || !header.admits(&payload, salt) {
            return Err(damage().into());
        }
        Ok(Some(Entry { id, kind: place.kind, payload }))
    }

    fn salt(&self, file: &dyn File) -> io::Result<u32> {
        let mut opening = [0; segment::START];
        file.read_exact_at(&mut opening, 0)?;
        Ok(crc32c::crc32c(&opening))
    }

    /// Whether the log would be there after a loss of power: its first entry is on disk, or was.
    pub(crate) fn has_begun(&self) -> bool {
        let state = self.state();
        let is_written = |place: &Place| place.offset != UNWRITTEN;
        state.purged.is_some() || state.places.front().is_some_and(is_written)
    }

    /// The vote as last saved.
    pub(crate) fn vote(&self) -> Option<Vote> {
        self.vote.lock().unwrap_or_else(PoisonError::into_inner).vote()
    }

    /// Whether there is room for more; else the free bytes.
    pub(crate) fn admit(self: &Arc<Self>) -> Result<(), u64> {
        let free = self.free.load(Ordering::Relaxed);
        if free >= self.sizes.reserve {
            return Ok(());
        }
        if !self.is_looking_for_space.swap(true, Ordering::AcqRel) {
            let log = self.clone();
            self.world.start_blocking(Box::new(move || {
                log.look_for_space();
                log.is_looking_for_space.store(false, Ordering::Release);
            }));
        }
        Err(free)
    }

    /// Groups and entries written since the log was opened.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.n_syncs.load(Ordering::Relaxed), self.n_entries.load(Ordering::Relaxed))
    }

    /// The free space of the disk, as last seen.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    fn look_for_space(&self) {
        match self.world.files().free_space(&self.folder) {
            Ok(free) => self.free.store(free, Ordering::Relaxed),
            Err(error) => tracing::warn!(%error, "cannot tell how much space is free"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ---------------------------------------------------------------- telling

impl Log {
    /// Appends entries, which follow the last one, and tells when they are on disk.
    pub(crate) fn append(self: &Arc<Self>, entries: impl Iterator<Item = Entry>, done: Done) {
        let mut state = self.state();
        for entry in entries {
            state.push(&entry);
            state.queue.push_back(Op::Entry(entry));
        }
        state.queue.push_back(Op::Done(done));
        state.evict(self.sizes.cache);
        self.start_writing(state);
    }

    /// Makes the entries from an index on void.
    pub(crate) fn truncate(self: &Arc<Self>, from: u64, done: Done) {
        let mut state = self.state();
        state.truncate(from);
        state.queue.push_back(Op::Note(Kind::Truncate, EntryId { index: from, term: 0 }));
        state.queue.push_back(Op::Done(done));
        self.start_writing(state);
    }

    /// Drops the entries up to one that a snapshot has.
    pub(crate) fn purge(self: &Arc<Self>, upto: EntryId, done: Done) {
        let mut state = self.state();
        state.purge(upto);
        state.queue.push_back(Op::Note(Kind::Purge, upto));
        state.queue.push_back(Op::Done(done));
        self.start_writing(state);
    }

    /// Marks the end, so that from now on damage in the last group cannot pass for a torn tail.
    pub(crate) fn close(self: &Arc<Self>, done: Done) {
        let mut state = self.state();
        state.queue.push_back(Op::Note(Kind::Close, EntryId::default()));
        state.queue.push_back(Op::Done(done));
        self.start_writing(state);
    }

    /// Saves the vote. Blocks until it is on disk.
    pub(crate) fn save_vote(&self, vote: Vote) -> io::Result<()> {
        let saved = self.vote.lock().unwrap_or_else(PoisonError::into_inner).save(vote);
        if let Err(error) = &saved {
            self.fail(io::Error::new(error.kind(), error.to_string()));
        }
        saved
    }

    /// Waits until the disk has been full for so long that who waits for a write is better told.
    pub(crate) async fn stays_full(&self, patience: Duration) {
        let mut is_full = self.is_full.subscribe();
        loop {
            if is_full.wait_for(|is_full| *is_full).await.is_err() {
                // The sender lives as long as this log.
                return std::future::pending().await;
            }
            let emptied = is_full.wait_for(|is_full| !is_full);
            if tokio::time::timeout(patience, emptied).await.is_err() {
                return;
            }
        }
    }

    /// Starts the job again some time after it found the disk full. Runs as long as the log.
    pub(crate) async fn keep(self: Arc<Self>) {
        loop {
            self.stalled.notified().await;
            tokio::time::sleep(FULL_RETRY).await;
            self.start_job();
        }
    }

    fn start_writing(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let must_start = !std::mem::replace(&mut state.is_writing, true);
        drop(state);
        if must_start {
            self.start_job();
        }
    }

    fn start_job(self: &Arc<Self>) {
        let log = self.clone();
        self.world.start_blocking(Box::new(move || log.write_all()));
    }

    /// From now on nothing is written and nothing is acknowledged.
    fn fail(&self, error: io::Error) -> Arc<io::Error> {
        let error = Arc::new(error);
        let is_first = {
            let mut state = self.state();
            let is_first = state.failed.is_none();
            state.failed.get_or_insert_with(|| error.clone());
            is_first
        };
        if is_first {
            tracing::error!(%error, "the log failed");
            (self.on_fatal)(Fatal::Log(error.clone()));
        }
        error
    }
}

// ---------------------------------------------------------------- the memory of it

impl State {
    fn last(&self) -> Option<EntryId> {
        let Some(place) = self.places.back() else { return self.purged };
        Some(EntryId { term: place.term, index: self.first + self.places.len() as u64 - 1 })
    }

    fn next_index(&self) -> u64 {
        self.last().map_or(0, |last| last.index + 1)
    }

    fn place(&self, index: u64) -> Option<&Place> {
        self.places.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    fn clamp(&self, from: u64, to: u64) -> (u64, u64) {
        let end = self.first + self.places.len() as u64;
        (from.max(self.first), to.min(end))
    }

    fn cached(&self, index: u64) -> Option<&Bytes> {
        let from_end = (self.first + self.places.len() as u64).checked_sub(index)?;
        let at = self.cache.len().checked_sub(usize::try_from(from_end).ok()?)?;
        self.cache.get(at)
    }

    fn push(&mut self, entry: &Entry) {
        if self.places.is_empty() {
            self.first = entry.id.index;
        }
        debug_assert_eq!(entry.id.index, self.first + self.places.len() as u64);
        self.places.push_back(Place {
            term: entry.id.term,
            segment: 0,
            offset: UNWRITTEN,
            length: entry.payload.len() as u32,
            kind: entry.kind,
        });
        self.cache_bytes += entry.payload.len() + HEADER;
        self.cache.push_back(entry.payload.clone());
    }

    /// Forgets old payloads beyond the limit, but none that is not on disk yet.
    fn evict(&mut self, bytes_max: usize) {
        while self.cache_bytes > bytes_max && !self.cache.is_empty() {
            let oldest = &self.places[self.places.len() - self.cache.len()];
            if oldest.offset == UNWRITTEN {
                break;
            }
            self.drop_oldest_payload();
        }
    }

    fn drop_oldest_payload(&mut self) {
        if let Some(payload) = self.cache.pop_front() {
            self.cache_bytes -= payload.len() + HEADER;
        }
    }

    fn truncate(&mut self, from: u64) {
        while !self.places.is_empty() && self.next_index() > from {
            self.places.pop_back();
            if let Some(payload) = self.cache.pop_back() {
                self.cache_bytes -= payload.len() + HEADER;
            }
        }
    }

    fn purge(&mut self, upto: EntryId) {
        if self.purged.is_some_and(|purged| purged.index >= upto.index) {
            return;
        }
        while !self.places.is_empty() && self.first <= upto.index {
            self.places.pop_front();
            self.first += 1;
            if self.cache.len() > self.places.len() {
                self.drop_oldest_payload();
            }
        }
        self.purged = Some(upto);
    }
}
