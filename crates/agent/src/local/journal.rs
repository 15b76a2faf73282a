//! The file in which an agent keeps what clients registered with it.
//!
//! Records are appended; those that wait together are one write and one sync. A registration is
//! acknowledged only after its record is synced: an agent that forgot one would, on its next start,
//! remove it from the catalog as something it does not vouch for. Words on TTL checks are hints and
//! wait for nobody. Once most of the file is out of date it is written anew, aside, and renamed.
//!
//! A record is its length, its CRC-32C, and its bytes. At the start a torn tail (a bad record that
//! no good one follows) is cut: nobody was told that it was saved. Any other damage is refused with
//! file and offset, because going on would withdraw services that still run.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use muster_world::{File, Open, World, blocking};
use tokio::sync::{Notify, oneshot};

use super::saved::{Record, Saved};

/// What the file begins with: kind and version of the format.
const MAGIC: &[u8; 8] = b"mustloc1";
/// Bytes before the content of a record: length and checksum.
const HEAD_BYTES: usize = 8;
/// Bytes of one record: an instance with every tag there may be is the greatest.
const RECORD_BYTES_MAX: usize = 16 << 20;
/// Bytes of a whole journal.
const JOURNAL_BYTES_MAX: u64 = 4 << 30;
/// Bytes that may be out of date besides as many as are not.
const SLACK_BYTES: u64 = 1 << 20;

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
    bytes: Vec<u8>,
    waiting: Vec<oneshot::Sender<Result<(), String>>>,
}

/// Where the file stands.
struct Tail {
    file: Arc<dyn File>,
    /// Everything before this is good.
    length: u64,
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
            frame(record, &mut queue.bytes);
        }
        queue.waiting.push(saved);
        drop(queue);
        self.has_work.notify_one();
        saving
    }

    /// Appends a record that nobody waits for; it travels with the next that somebody does.
    pub(super) fn hint(&self, record: &Record) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        frame(record, &mut queue.bytes);
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
                    Some(tail) if !tail.is_stale(queue.bytes.len()) => {
                        tail.append(&queue.bytes, is_awaited)
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
    fn is_stale(&self, n_bytes_more: usize) -> bool {
        self.length + n_bytes_more as u64 > 2 * self.length_when_new + SLACK_BYTES
    }

    fn append(mut self, bytes: &[u8], syncs: bool) -> io::Result<Tail> {
        self.file.write_all_at(bytes, self.length)?;
        if syncs {
            self.file.sync()?;
        }
        self.length += bytes.len() as u64;
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
    if length < bytes.len() {
        tracing::warn!("{}: cut a torn record at offset {length}", path.display());
        file.truncate(length as u64).map_err(at(path))?;
    }
    let length = length as u64;
    Ok((saved, Tail { file, length, length_when_new: length }))
}

fn write_anew(
    world: &dyn World,
    path: &Path,
    records: impl Iterator<Item = Record>,
) -> io::Result<Tail> {
    let mut bytes = MAGIC.to_vec();
    records.for_each(|record| frame(&record, &mut bytes));
    world.files().replace(path, &bytes)?;
    let file: Arc<dyn File> = world.files().open(path, Open::Write)?.into();
    let length = bytes.len() as u64;
    Ok(Tail { file, length, length_when_new: length })
}

fn frame(record: &Record, out: &mut Vec<u8>) {
    let content = muster_model::encode(record);
    out.extend((content.len() as u32).to_le_bytes());
    out.extend(crc32c::crc32c(&content).to_le_bytes());
    out.extend(&content);
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
                let record = muster_model::decode(content);
                records.push(record.map_err(|error| (offset, error.to_string()))?);
                offset += HEAD_BYTES + content.len();
            }
            None if has_record_after(bytes, offset) => {
                return Err((offset, "its checksum is wrong, and good records follow".into()));
            }
            None => break,
        }
    }
    Ok((records, offset))
}

/// The content of the record at `offset`, if a good one is there.
fn content_at(bytes: &[u8], offset: usize) -> Option<&[u8]> {
    let head = bytes.get(offset..offset + HEAD_BYTES)?;
    let (length, checksum) = head.split_at(4);
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    if length == 0 || length > RECORD_BYTES_MAX {
        return None;
    }
    let content = bytes.get(offset + HEAD_BYTES..)?.get(..length)?;
    (crc32c::crc32c(content).to_le_bytes() == checksum).then_some(content)
}

fn has_record_after(bytes: &[u8], offset: usize) -> bool {
    (offset + 1..bytes.len()).any(|at| content_at(bytes, at).is_some())
}

fn stopping(folder: &Path) -> JournalError {
    let error = io::Error::other("the agent is stopping");
    JournalError::Io { path: folder.to_owned(), error }
}

#[cfg(test)]
mod tests;
