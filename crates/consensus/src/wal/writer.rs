//! The job that writes: take what waits, write it, sync it, report, look again.
//!
//! It runs on a blocking thread while there is something to write, one at a time, and owns the
//! segment that is being filled. Zeros are written ahead of the records, so that the sync of a
//! commit finds nothing but data to write: no new length, no new blocks.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use muster_world::{File, Open};

use super::record::{self, Kind};
use super::segment::{Opening, SECTOR, START};
use super::{Done, Log, Op, Place, Segment};
use crate::term_id::EntryId;

/// Buffers larger than this are given back after use.
const BUFFER_KEPT: usize = 256 << 10;

/// How often a full disk is met between two lines about it: ten seconds.
const STALLS_A_LINE: u32 = 100;

/// The segment that is being filled.
pub(crate) struct Writer {
    pub(super) node: u64,
    pub(super) sequence: u32,
    pub(super) salt: u32,
    pub(super) file: Arc<dyn File>,
    /// Where the next group goes.
    pub(super) end: u64,
    /// Up to where zeros were written.
    pub(super) zeroed: u64,
    pub(super) is_sealed: bool,
    /// A group that found the disk full.
    pub(super) unfinished: Option<Group>,
    pub(super) buffer: Vec<u8>,
}

/// What is written and synced together.
#[derive(Default)]
pub(super) struct Group {
    ops: Vec<Op>,
    done: Vec<Done>,
}

impl Log {
    /// Writes until nothing waits or the disk is full.
    pub(super) fn write_all(self: &Arc<Self>) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(group) = writer.unfinished.take().or_else(|| self.next_group()) {
            match self.write(&mut writer, &group) {
                Ok(places) => {
                    self.recover();
                    self.settle(&writer, group, &places);
                }
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    writer.unfinished = Some(group);
                    return self.stall();
                }
                Err(error) => {
                    let error = self.fail(error);
                    refuse(group, &error);
                }
            }
        }
    }

    /// The disk is full: the group at hand waits, and is tried again some time later. Said when it
    /// begins and now and then while it lasts.
    fn stall(&self) {
        if self.n_stalls.fetch_add(1, Ordering::Relaxed).is_multiple_of(STALLS_A_LINE) {
            tracing::error!(folder = %self.folder.display(), "disk full: writes wait for space");
        }
        self.free.store(0, Ordering::Relaxed);
        self.is_full.send_replace(true);
        self.stalled.notify_one();
    }

    /// There is room again, if there was none.
    fn recover(&self) {
        if self.n_stalls.swap(0, Ordering::Relaxed) > 0 {
            tracing::info!(folder = %self.folder.display(), "there is space again: writes go on");
            self.is_full.send_replace(false);
        }
    }

    /// Takes what waits, up to the limit of a group; `None` ends the job.
    fn next_group(&self) -> Option<Group> {
        let mut state = self.state();
        let mut group = Group::default();
        let mut bytes = 0;
        while bytes < self.sizes.group {
            match state.queue.pop_front() {
                Some(Op::Done(done)) => group.done.push(done),
                Some(op) => {
                    bytes += op.size();
                    group.ops.push(op);
                }
                None => break,
            }
        }
        // What was promised right behind the last record belongs to it.
        while let Some(Op::Done(_)) = state.queue.front() {
            if let Some(Op::Done(done)) = state.queue.pop_front() {
                group.done.push(done);
            }
        }
        let is_empty = group.ops.is_empty() && group.done.is_empty();
        state.is_writing = !is_empty;
        (!is_empty).then_some(group)
    }

    /// Brings a group to the disk and returns where its entries lie.
    fn write(&self, writer: &mut Writer, group: &Group) -> io::Result<Vec<(EntryId, u32)>> {
        if let Some(error) = &self.state().failed {
            return Err(io::Error::new(error.kind(), error.to_string()));
        }
        if group.ops.is_empty() {
            return Ok(Vec::new());
        }
        let bytes: usize = group.ops.iter().map(Op::size).sum();
        let room_for_seal = record::size(0) as u64;
        if writer.is_sealed || writer.end + bytes as u64 + room_for_seal > self.sizes.segment {
            self.roll(writer)?;
        }
        let mut buffer = std::mem::take(&mut writer.buffer);
        buffer.clear();
        let places = encode(group, writer, &mut buffer);
        let written = self.write_group(writer, &buffer);
        if buffer.capacity() <= BUFFER_KEPT {
            writer.buffer = buffer;
        }
        written.map(|()| places)
    }

    fn write_group(&self, writer: &mut Writer, bytes: &[u8]) -> io::Result<()> {
        let end = writer.end + bytes.len() as u64;
        if end + record::size(0) as u64 > writer.zeroed {
            self.zero_ahead(writer, end)?;
        }
        writer.file.write_all_at(bytes, writer.end)?;
        sync(&*writer.file)?;
        writer.end = end;
        Ok(())
    }

    /// Writes zeros so far that the group and a seal fit, and some more to come. The file always ends
    /// with a whole sector: one that does not was cut short.
    fn zero_ahead(&self, writer: &mut Writer, end: u64) -> io::Result<()> {
        let upto =
            (end + self.sizes.ahead).min(self.sizes.segment).max(end + record::size(0) as u64);
        let upto = upto.next_multiple_of(SECTOR as u64).max(writer.zeroed);
        let zeros = vec![0; (upto - writer.zeroed) as usize];
        writer.file.write_all_at(&zeros, writer.zeroed)?;
        writer.zeroed = upto;
        self.look_for_space();
        Ok(())
    }

    /// Seals the segment and begins the next one. May be called again after it failed.
    fn roll(&self, writer: &mut Writer) -> io::Result<()> {
        if !writer.is_sealed {
            let mut seal = Vec::new();
            record::encode(&mut seal, writer.salt, Kind::Seal, EntryId::default(), &[]);
            self.write_group(writer, &seal)?;
            writer.is_sealed = true;
        }
        let purged = self.state().purged;
        let sequence = writer.sequence + 1;
        let opening = Opening { sequence: u64::from(sequence), node: writer.node, purged };
        let (path, file) = self.begin(&opening)?;
        self.state().segments.push_back(Segment {
            sequence,
            path,
            file: file.clone(),
            last_index: None,
        });
        *writer = Writer::new(&opening, file, START as u64, self.sizes.first_zeros());
        Ok(())
    }

    /// Creates the file of a segment, durably.
    pub(super) fn begin(&self, opening: &Opening) -> io::Result<(PathBuf, Arc<dyn File>)> {
        let path = self.folder.join(file_name(opening.sequence));
        let file: Arc<dyn File> = self.world.files().open(&path, Open::Create)?.into();
        let mut bytes = vec![0; self.sizes.first_zeros() as usize];
        bytes[..START].copy_from_slice(&opening.encode());
        file.write_all_at(&bytes, 0)?;
        sync(&*file)?;
        self.world.files().sync_folder(&self.folder)?;
        Ok((path, file))
    }

    /// Takes note that a group is on disk, and tells those who wait for it.
    fn settle(&self, writer: &Writer, group: Group, places: &[(EntryId, u32)]) {
        self.n_syncs.fetch_add(u64::from(!group.ops.is_empty()), Ordering::Relaxed);
        self.n_entries.fetch_add(places.len() as u64, Ordering::Relaxed);
        let mut unneeded = Vec::new();
        {
            let mut state = self.state();
            for (id, offset) in places {
                state.settle(*id, writer.sequence, *offset);
            }
            if group.ops.iter().any(|op| matches!(op, Op::Note(Kind::Purge, _))) {
                unneeded = state.take_unneeded(writer.sequence);
            }
            state.evict(self.sizes.cache);
        }
        for done in group.done {
            done(Ok(()));
        }
        self.remove(&unneeded);
    }

    /// Removes segments that a snapshot made needless, oldest first: a power cut may leave some.
    fn remove(&self, unneeded: &[Segment]) {
        for segment in unneeded {
            let removed = self.world.files().remove(&segment.path);
            if let Err(error) = removed {
                tracing::warn!(file = %segment.path.display(), %error, "cannot remove an old log segment");
            }
        }
    }
}

impl Writer {
    pub(super) fn new(opening: &Opening, file: Arc<dyn File>, end: u64, zeroed: u64) -> Writer {
        Writer {
            node: opening.node,
            sequence: opening.sequence as u32,
            salt: opening.salt(),
            file,
            end,
            zeroed,
            is_sealed: false,
            unfinished: None,
            buffer: Vec::new(),
        }
    }
}

impl Op {
    fn size(&self) -> usize {
        match self {
            Op::Entry(entry) => record::size(entry.payload.len()),
            Op::Note(..) => record::size(0),
            Op::Done(_) => 0,
        }
    }
}

impl super::State {
    /// Writes down where an entry lies, unless it was truncated in the meantime.
    fn settle(&mut self, id: EntryId, segment: u32, offset: u32) {
        let last_index = self.segments.iter_mut().find(|s| s.sequence == segment);
        if let Some(segment) = last_index {
            segment.last_index = segment.last_index.max(Some(id.index));
        }
        let Some(at) = id.index.checked_sub(self.first) else { return };
        if let Some(place) = self.places.get_mut(at as usize)
            && place.term == id.term
        {
            *place = Place { segment, offset, ..*place };
        }
    }

    /// Takes out the oldest segments that hold nothing but purged entries.
    fn take_unneeded(&mut self, active: u32) -> Vec<Segment> {
        let mut unneeded = Vec::new();
        while let Some(oldest) = self.segments.front() {
            let is_purged = oldest.last_index <= self.purged.map(|purged| purged.index);
            if oldest.sequence == active || !is_purged {
                break;
            }
            unneeded.extend(self.segments.pop_front());
        }
        unneeded
    }
}

/// The name of a segment's file; names sort as the segments follow each other.
pub(super) fn file_name(sequence: u64) -> String {
    format!("{sequence:010}.log")
}

fn encode(group: &Group, writer: &Writer, buffer: &mut Vec<u8>) -> Vec<(EntryId, u32)> {
    let mut places = Vec::with_capacity(group.ops.len());
    for op in &group.ops {
        match op {
            Op::Entry(entry) => {
                places.push((entry.id, (writer.end + buffer.len() as u64) as u32));
                record::encode(buffer, writer.salt, entry.kind, entry.id, &entry.payload);
            }
            Op::Note(kind, id) => record::encode(buffer, writer.salt, *kind, *id, &[]),
            Op::Done(_) => {}
        }
    }
    places
}

/// A sync that fails for want of space has failed all the same: what reached the disk is unknown.
fn sync(file: &dyn File) -> io::Result<()> {
    file.sync().map_err(|error| io::Error::other(format!("sync: {error}")))
}

fn refuse(group: Group, error: &Arc<io::Error>) {
    for done in group.done {
        done(Err(io::Error::new(error.kind(), error.to_string())));
    }
}
