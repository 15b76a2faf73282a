//! The file in which an agent keeps what clients registered with it.
//!
//! Records are appended; those that wait together are one group: one write and one sync. A
//! registration is acknowledged only after its group is synced: an agent that forgot one would, on
//! its next start, remove it from the catalog as something it does not vouch for. Words on TTL checks
//! are hints and wait for nobody: they are written and not synced. Once most of the file is out of
//! date it is written anew, aside, and renamed.
//!
//! A group is its length, its CRC-32C, and its records. At most one group in the file is not synced,
//! the last: what is written after hints replaces them by a group that has both. So a power cut
//! leaves nothing torn that a good group follows, and whatever is found so is damage, refused with
//! file and offset, because going on would withdraw services that still run. A torn last group is cut
//! at the start: nobody was told that it was saved. Zeros lie ahead of the groups, so that the sync of
//! one changes neither the length of the file nor its allocation.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use muster_world::{File, Open, World, blocking};
use tokio::sync::{Notify, oneshot};

use super::saved::{Record, Saved};

/// What the file begins with: kind and version of the format.
const MAGIC: &[u8; 8] = b"mustloc1";
/// Bytes before the records of a group: length and checksum.
const HEAD_BYTES: usize = 8;
/// Bytes of the records of one group; what is more is written anew.
const GROUP_BYTES_MAX: usize = 16 << 20;
/// Bytes of hints that may be without a sync.
const UNSYNCED_BYTES_MAX: usize = 64 << 10;
/// Bytes of a whole journal.
const JOURNAL_BYTES_MAX: u64 = 4 << 30;
/// Bytes that may be out of date besides as many as are not.
const SLACK_BYTES: u64 = 1 << 20;

/// Zeros written ahead of use.
const AHEAD_BYTES: usize = 64 << 10;

/// The open journal.
pub(super) struct Journal {
    world: Arc<dyn World>,
    path: PathBuf,
    queue: Mutex<Queue>,
    has_work: Notify,
}

/// Records that wait to be saved, and those who wait for that.
#[derive(Default)]
struct Queue {
    records: Vec<u8>,
    waiting: Vec<oneshot::Sender<Result<(), String>>>,
}

/// Where the file stands.
struct Tail {
    file: Arc<dyn File>,
    /// Everything before this is good, and synced.
    length: u64,
    /// The records of the group that begins there, none of which anybody waited for.
    unsynced: Vec<u8>,
    /// From the end of the groups to here are zeros.
    laid_out: u64,
    /// The length after it was last written anew.
    length_when_new: u64,
}

/// Ready once a record, and all before it, would survive a power cut; or says why not.
pub(super) type Saving = oneshot::Receiver<Result<(), String>>;

/// Why a journal cannot be opened. The operator must act.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file or its folder cannot be used.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the machine says.
        error: io::Error,
    },
    /// The file is not what was written.
    #[error(
        "{path}: damaged at offset {offset}: {what}. Restore the file, or remove it to start \
         without the services and checks that clients registered with this agent"
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Where.
        offset: usize,
        /// How.
        what: String,
    },
}

impl Journal {
    /// Opens the journal in `folder`, or begins one. Gives what it holds and the task that keeps
    /// it, to be spawned: `all` gives it everything that must be in a file written anew.
    pub(super) async fn open(
        world: Arc<dyn World>,
        folder: PathBuf,
        all: impl Fn() -> Saved + Send + Sync + 'static,
    ) -> Result<(Arc<Journal>, Saved, impl Future<Output = ()> + Send), JournalError> {
        let path = folder.join("vouched");
        let (saved, tail) = {
            let (world_too, path) = (world.clone(), path.clone());
            let opened = blocking(&*world, move || open_file(&*world_too, &path)).await;
            opened.unwrap_or_else(|| Err(stopping(&folder)))?
        };
        let queue = Mutex::default();
        let journal = Arc::new(Journal { world, path, queue, has_work: Notify::new() });
        let keeping = journal.clone().keep(tail, all);
        Ok((journal, saved, keeping))
    }

    /// Appends records in the order of the calls.
    pub(super) fn append(&self, records: &[Record]) -> Saving {
        let (saved, saving) = oneshot::channel();
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            queue.records.extend(&muster_model::encode(record));
        }
        queue.waiting.push(saved);
        drop(queue);
        self.has_work.notify_one();
        saving
    }

    /// Appends a record that nobody waits for; it travels with the next that somebody does.
    pub(super) fn hint(&self, record: &Record) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.records.extend(&muster_model::encode(record));
        drop(queue);
        self.has_work.notify_one();
    }

    async fn keep(self: Arc<Journal>, tail: Tail, all: impl Fn() -> Saved + Send + Sync + 'static) {
        let all = Arc::new(all);
        let mut tail = Some(tail);
        loop {
            self.has_work.notified().await;
            let queue =
                std::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner));
            let is_awaited = !queue.waiting.is_empty();
            let (world, path, all) = (self.world.clone(), self.path.clone(), all.clone());
            let save = move || {
                let saved = match tail.take() {
                    Some(tail) if tail.has_place_for(queue.records.len()) => {
                        tail.append(&queue.records, is_awaited)
                    }
                    // Also after a failure: what the file then holds is not known.
                    _ => write_anew(&*world, &path, all().into_records()),
                };
                match saved {
                    Ok(tail) => (Some(tail), Ok(())),
                    Err(error) => (None, Err(format!("{}: {error}", path.display()))),
                }
            };
            let Some((tail_now, result)) = blocking(&*self.world, save).await else { return };
            tail = tail_now;
            if let Err(error) = &result {
                tracing::error!("what clients registered could not be saved: {error}");
            }
            for waiting in queue.waiting {
                // Whoever waited may have gone.
                let _ = waiting.send(result.clone());
            }
        }
    }
}

impl Tail {
    /// Whether as many bytes of records can be appended; else the file is written anew.
    fn has_place_for(&self, n_bytes: usize) -> bool {
        let n_bytes = self.unsynced.len() + n_bytes;
        let length = self.length + n_bytes as u64;
        n_bytes <= GROUP_BYTES_MAX && length <= 2 * self.length_when_new + SLACK_BYTES
    }

    fn append(mut self, records: &[u8], syncs: bool) -> io::Result<Tail> {
        self.unsynced.extend(records);
        let mut group = Vec::with_capacity(HEAD_BYTES + self.unsynced.len());
        frame(&self.unsynced, &mut group);
        self.file.write_all_at(&group, self.length)?;
        let end = self.length + group.len() as u64;
        if end > self.laid_out {
            // A disk that has no room for them has none to lose.
            let is_laid_out = self.file.write_all_at(&[0; AHEAD_BYTES], end).is_ok();
            self.laid_out = end + if is_laid_out { AHEAD_BYTES as u64 } else { 0 };
        }
        if syncs || self.unsynced.len() > UNSYNCED_BYTES_MAX {
            self.file.sync()?;
            self.unsynced.clear();
            self.length = end;
        }
        Ok(self)
    }
}

fn open_file(world: &dyn World, path: &Path) -> Result<(Saved, Tail), JournalError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| JournalError::Io { path, error }
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    world.files().create_folder(folder).map_err(at(folder))?;
    if !world.files().exists(path).map_err(at(path))? {
        let tail = write_anew(world, path, std::iter::empty()).map_err(at(path))?;
        return Ok((Saved::default(), tail));
    }
    let bytes = world.files().read(path, JOURNAL_BYTES_MAX).map_err(at(path))?;
    let (records, length) = read(&bytes).map_err(|(offset, what)| JournalError::Damaged {
        path: path.to_owned(),
        offset,
        what,
    })?;
    let mut saved = Saved::default();
    records.into_iter().for_each(|record| saved.fold(record));
    let file: Arc<dyn File> = world.files().open(path, Open::Write).map_err(at(path))?.into();
    let is_torn = bytes[length..].iter().any(|byte| *byte != 0);
    if is_torn {
        tracing::warn!("{}: cut a torn group at offset {length}", path.display());
        file.truncate(length as u64).map_err(at(path))?;
    }
    // What a process wrote that ended before its sync is built on from now on.
    file.sync().map_err(at(path))?;
    let laid_out = if is_torn { length } else { bytes.len() } as u64;
    let length = length as u64;
    let unsynced = Vec::new();
    Ok((saved, Tail { file, length, unsynced, laid_out, length_when_new: length }))
}

fn write_anew(
    world: &dyn World,
    path: &Path,
    records: impl Iterator<Item = Record>,
) -> io::Result<Tail> {
    let mut bytes = MAGIC.to_vec();
    records.for_each(|record| frame(&muster_model::encode(&record), &mut bytes));
    world.files().replace(path, &bytes)?;
    let file: Arc<dyn File> = world.files().open(path, Open::Write)?.into();
    let length = bytes.len() as u64;
    let unsynced = Vec::new();
    Ok(Tail { file, length, unsynced, laid_out: length, length_when_new: length })
}

fn frame(records: &[u8], out: &mut Vec<u8>) {
    out.extend((records.len() as u32).to_le_bytes());
    out.extend(crc32c::crc32c(records).to_le_bytes());
    out.extend(records);
}

/// The records of a journal, and where the good ones end.
fn read(bytes: &[u8]) -> Result<(Vec<Record>, usize), (usize, String)> {
    if !bytes.starts_with(MAGIC) {
        return Err((0, "it is not a journal of this version".into()));
    }
    let mut records = Vec::new();
    let mut offset = MAGIC.len();
    while offset < bytes.len() {
        match content_at(bytes, offset) {
            Some(content) => {
                let group = muster_model::decode_all::<Record>(content);
                records.extend(group.map_err(|error| (offset, error.to_string()))?);
                offset += HEAD_BYTES + content.len();
            }
            None if has_group_after(bytes, offset) => {
                return Err((offset, "its checksum is wrong, and good records follow".into()));
            }
            None => break,
        }
    }
    Ok((records, offset))
}

/// The records of the group at `offset`, if a good one is there.
fn content_at(bytes: &[u8], offset: usize) -> Option<&[u8]> {
    let head = bytes.get(offset..offset + HEAD_BYTES)?;
    let (length, checksum) = head.split_at(4);
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    if length == 0 || length > GROUP_BYTES_MAX {
        return None;
    }
    let content = bytes.get(offset + HEAD_BYTES..)?.get(..length)?;
    (crc32c::crc32c(content).to_le_bytes() == checksum).then_some(content)
}

fn has_group_after(bytes: &[u8], offset: usize) -> bool {
    (offset + 1..bytes.len()).any(|at| content_at(bytes, at).is_some())
}

fn stopping(folder: &Path) -> JournalError {
    let error = io::Error::other("the agent is stopping");
    JournalError::Io { path: folder.to_owned(), error }
}

#[cfg(test)]
mod tests;
