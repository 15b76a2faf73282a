//! Opening the log: read every segment, decide what the last moments left behind, and go on.
//!
//! Nothing is written before everything was read and found sound. What is written then: zeros
//! over a torn tail, a first segment, and the removal of segments that a snapshot made needless
//! and a power cut brought back. What was read is synced first: a process that died of a sync that
//! failed leaves bytes that can be read and are not on disk, and whatever is written after them
//! could survive a power cut without them.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex};

use muster_world::{File, Open, World};
use tokio::sync::{Notify, watch};

use super::record::Kind;
use super::segment::{self, Found, Opening, START, Scan};
use super::vote::VoteFile;
use super::writer::{Writer, file_name};
use super::{Log, Place, Segment, Sizes, State, UNWRITTEN};
use crate::error::{Damage, OnFatal, StartError};
use crate::term_id::EntryId;

/// No segment is longer; a longer file is none.
const SEGMENT_BYTES_MAX: u64 = 256 << 20;

/// A segment that was read.
struct Read {
    path: PathBuf,
    file: Arc<dyn File>,
    scan: Scan,
    length: u64,
}

impl Log {
    /// Opens the log in a folder, which exists and is locked. Blocks.
    pub(crate) fn open(
        world: Arc<dyn World>,
        folder: &Path,
        node: u64,
        sizes: Sizes,
        on_fatal: OnFatal,
    ) -> Result<Arc<Log>, StartError> {
        let vote_path = folder.with_file_name("vote");
        let vote = VoteFile::open(world.files(), &vote_path)
            .map_err(|error| StartError::machine("read", &vote_path, error))?;
        let segments = read_segments(&*world, folder, node)?;
        if segments.is_empty() && vote.vote().is_some() {
            return Err(
                Damage::new(folder, 0, "this server has voted, and its log is missing").into()
            );
        }
        let state = replay(&segments)?;
        let log = Log {
            folder: folder.to_owned(),
            sizes,
            on_fatal,
            writer: Mutex::new(begin_writing(&*world, folder, node, &segments)?),
            vote: Mutex::new(vote),
            free: AtomicU64::new(u64::MAX),
            is_looking_for_space: AtomicBool::new(false),
            stalled: Notify::new(),
            is_full: watch::Sender::new(false),
            n_stalls: AtomicU32::new(0),
            n_syncs: AtomicU64::new(0),
            n_entries: AtomicU64::new(0),
            state: Mutex::new(state),
            world,
        };
        log.first_segment(node)?;
        log.look_for_space();
        Ok(Arc::new(log))
    }

    /// Makes sure that there is a segment to write to.
    fn first_segment(&self, node: u64) -> Result<(), StartError> {
        let mut state = self.state();
        let mut writer = self.writer.lock().expect("nobody else has the log yet");
        if state.segments.back().is_some_and(|last| last.sequence == writer.sequence) {
            return Ok(());
        }
        let opening = Opening { sequence: u64::from(writer.sequence), node, purged: state.purged };
        let (path, file) = self
            .begin(&opening)
            .map_err(|error| StartError::machine("begin a log segment in", &self.folder, error))?;
        let sequence = writer.sequence;
        state.segments.push_back(Segment { sequence, path, file: file.clone(), last_index: None });
        *writer = Writer::new(&opening, file, START as u64, self.sizes.first_zeros());
        Ok(())
    }
}

/// Reads the segments that belong together: the last one and those that follow each other up to
/// it. Older ones before a gap were removed by a purge and brought back by a power cut.
fn read_segments(world: &dyn World, folder: &Path, node: u64) -> Result<Vec<Read>, StartError> {
    let names =
        world.files().list(folder).map_err(|error| StartError::machine("list", folder, error))?;
    world
        .files()
        .sync_folder(folder)
        .map_err(|error| StartError::machine("sync", folder, error))?;
    let mut sequences: Vec<u64> = names.iter().filter_map(|name| sequence_of(name)).collect();
    sequences.sort_unstable();
    let chain =
        sequences.windows(2).rposition(|pair| pair[0] + 1 != pair[1]).map_or(0, |gap| gap + 1);
    let mut segments = Vec::new();
    for sequence in &sequences[chain..] {
        let is_last = Some(sequence) == sequences.last();
        segments.extend(read_segment(world, folder, *sequence, node, is_last)?);
    }
    Ok(segments)
}

fn sequence_of(name: &str) -> Option<u64> {
    name.strip_suffix(".log")?.parse().ok()
}

fn read_segment(
    world: &dyn World,
    folder: &Path,
    sequence: u64,
    node: u64,
    is_last: bool,
) -> Result<Option<Read>, StartError> {
    let path = folder.join(file_name(sequence));
    let read = || {
        let bytes = world.files().read(&path, SEGMENT_BYTES_MAX)?;
        let file: Arc<dyn File> = world.files().open(&path, Open::Write)?.into();
        file.sync()?;
        Ok((bytes, file))
    };
    let (bytes, file) = read().map_err(|error| StartError::machine("read", &path, error))?;
    let Some(scan) = segment::scan(&path, &bytes, is_last)? else { return Ok(None) };
    if scan.opening.node != node {
        let folder = folder.to_owned();
        return Err(StartError::OtherNode { folder, theirs: scan.opening.node, ours: node });
    }
    if scan.opening.sequence != sequence {
        return Err(Damage::new(&path, 0, "this is another segment under a wrong name").into());
    }
    Ok(Some(Read { path, file, scan, length: bytes.len() as u64 }))
}

/// Follows the journal and returns what holds at its end.
fn replay(segments: &[Read]) -> Result<State, Damage> {
    let mut state = State {
        places: VecDeque::new(),
        first: 0,
        purged: segments.iter().filter_map(purged_in).max_by_key(|id| id.index),
        cache: VecDeque::new(),
        cache_bytes: 0,
        queue: VecDeque::new(),
        is_writing: false,
        segments: VecDeque::new(),
        failed: None,
    };
    if let Some(oldest) = segments.first()
        && oldest.scan.opening.sequence != 1
        && state.purged.is_none()
    {
        return Err(Damage::new(&oldest.path, 0, "the log segments before this one are missing"));
    }
    for segment in segments {
        let sequence = segment.scan.opening.sequence as u32;
        let mut last_index = None;
        for found in &segment.scan.records {
            replay_record(&mut state, sequence, found)
                .map_err(|what| Damage::new(&segment.path, found.offset, what))?;
            if found.header.kind.is_entry() {
                last_index = last_index.max(Some(found.header.id.index));
            }
        }
        let (path, file) = (segment.path.clone(), segment.file.clone());
        state.segments.push_back(Segment { sequence, path, file, last_index });
    }
    Ok(state)
}

fn purged_in(segment: &Read) -> Option<EntryId> {
    let notes = segment.scan.records.iter().filter(|found| found.header.kind == Kind::Purge);
    notes.map(|found| found.header.id).chain(segment.scan.opening.purged).max_by_key(|id| id.index)
}

fn replay_record(state: &mut State, segment: u32, found: &Found) -> Result<(), String> {
    let id = found.header.id;
    match found.header.kind {
        Kind::Truncate => state.truncate(id.index),
        Kind::Purge | Kind::Seal | Kind::Close => {}
        kind @ (Kind::Blank | Kind::Command | Kind::Voters | Kind::Restore) => {
            if state.purged.is_some_and(|purged| id.index <= purged.index) {
                return Ok(());
            }
            match state.last() {
                Some(last) if id.index != last.index + 1 => {
                    return Err(format!("entry {id} follows entry {last}: entries are missing"));
                }
                Some(last) if id.term < last.term => {
                    return Err(format!("entry {id} follows entry {last}: terms never fall"));
                }
                None => state.first = id.index,
                Some(_) if state.places.is_empty() => state.first = id.index,
                Some(_) => {}
            }
            let (offset, length) = (found.offset as u32, found.header.length as u32);
            debug_assert_ne!(offset, UNWRITTEN);
            state.places.push_back(Place { term: id.term, segment, offset, length, kind });
        }
    }
    Ok(())
}

/// The writer behind the last record, with a torn tail wiped; a stand-in when there is no segment.
fn begin_writing(
    world: &dyn World,
    folder: &Path,
    node: u64,
    segments: &[Read],
) -> Result<Writer, StartError> {
    let Some(last) = segments.last() else {
        let opening = Opening { sequence: 1, node, purged: None };
        return Ok(Writer::new(&opening, Arc::new(Nowhere), 0, 0));
    };
    if last.scan.is_torn {
        wipe(last)
            .map_err(|error| StartError::machine("wipe the torn end of", &last.path, error))?;
    }
    // A segment that was torn before it got a beginning is begun again.
    let next = last.scan.opening.sequence + 1;
    let is_begun = world
        .files()
        .exists(&folder.join(file_name(next)))
        .map_err(|error| StartError::machine("look for", folder, error))?;
    let mut opening = last.scan.opening;
    if is_begun {
        opening.sequence = next;
        return Ok(Writer::new(&opening, Arc::new(Nowhere), 0, 0));
    }
    let mut writer =
        Writer::new(&opening, last.file.clone(), last.scan.end, last.length.max(last.scan.end));
    writer.is_sealed = last.scan.is_sealed;
    Ok(writer)
}

fn wipe(segment: &Read) -> std::io::Result<()> {
    let length = segment.length.saturating_sub(segment.scan.end);
    tracing::warn!(file = %segment.path.display(), at = segment.scan.end, "cutting a torn write off the log");
    segment.file.write_all_at(&vec![0; length as usize], segment.scan.end)?;
    segment.file.sync()
}

/// Stands where a segment will be.
struct Nowhere;

impl File for Nowhere {
    fn read_at(&self, _: &mut [u8], _: u64) -> std::io::Result<usize> {
        Ok(0)
    }

    fn write_at(&self, _: &[u8], _: u64) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    fn sync(&self) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    fn length(&self) -> std::io::Result<u64> {
        Ok(0)
    }

    fn truncate(&self, _: u64) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}
