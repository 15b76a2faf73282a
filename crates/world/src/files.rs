//! Files as the log, the snapshots and the local agent need them, and not more.
//!
//! A [`File`] is read and written at offsets and synced; [`Files`] opens, lists, renames, removes
//! and locks them. All calls block and so belong into [`crate::blocking`]. What the contract
//! promises is what a journaling file system promises and no more: a write is durable after
//! [`File::sync`], a name after [`Files::sync_folder`]; before that a power cut may keep any
//! subset of the written sectors.

use std::io;
use std::path::Path;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// A new file, for reading and writing; an existing one is emptied.
    Create,
}

/// An open file.
pub trait File: Send + Sync {
    /// Reads up to the length of the buffer; 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes from the bytes and returns how many were taken, which may be fewer than given.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Returns when everything written so far would survive a power cut.
    fn sync(&self) -> io::Result<()>;

    /// The length in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Cuts the file to a length.
    fn truncate(&self, length: u64) -> io::Result<()>;
}

impl dyn File + '_ {
    /// Writes all of the bytes.
    pub fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self.write_at(bytes, offset)?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[written..];
            offset += written as u64;
        }
        Ok(())
    }

    /// Fills as much of the buffer as the file has, and returns how much that is.
    pub fn read_full_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let read = self.read_at(&mut buffer[filled..], offset + filled as u64)?;
            if read == 0 {
                break;
            }
            filled += read;
        }
        Ok(filled)
    }

    /// Fills the buffer or fails with `UnexpectedEof`.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self.read_full_at(buffer, offset)? == buffer.len() {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Held as long as a folder or file must not be used by another process.
pub trait Lock: Send + Sync {}

/// The files of a machine.
pub trait Files: Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn File>>;

    /// Creates a folder and its parents; an existing one is left as it is.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// The names in a folder, sorted.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Gives a file another name, replacing what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Returns when the names in the folder would survive a power cut.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Bytes that can still be written on the disk of this folder.
    fn free_space(&self, folder: &Path) -> io::Result<u64>;

    /// Takes a lock on a file, creating it; `WouldBlock` when another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
}

impl dyn Files + '_ {
    /// Reads a whole file, refusing one longer than `limit`.
    pub fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let file = self.open(path, Open::Read)?;
        let length = file.length()?;
        if length > limit {
            let why = format!("{} has {length} bytes, more than {limit}", path.display());
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
        let mut content = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        file.read_exact_at(&mut content, 0)?;
        Ok(content)
    }

    /// Replaces a file so that a power cut leaves the old content or the new, never a mixture:
    /// written aside, synced, renamed, and the folder synced.
    pub fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let aside = path.with_extension("tmp");
        let file = self.open(&aside, Open::Create)?;
        file.write_all_at(content, 0)?;
        file.sync()?;
        self.rename(&aside, path)?;
        self.sync_folder(path.parent().unwrap_or(Path::new("/")))
    }

    /// Whether a file can be opened for reading.
    pub fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.open(path, Open::Read) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}
