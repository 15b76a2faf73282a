//! The files of a simulated host: [`Memory`] with its faults, and every change in the trace.

use std::io;
use std::path::{Path, PathBuf};

use muster_world::files::Lock;
use muster_world::{File, Files, Memory, Open};

use crate::trace::{HostNumber, Trace};

/// The disk of a host as one process sees it.
pub(crate) struct Disk {
    pub(crate) memory: Memory,
    pub(crate) trace: Trace,
    pub(crate) host: HostNumber,
}

/// An open file.
struct TracedFile {
    file: Box<dyn File>,
    path: PathBuf,
    trace: Trace,
    host: HostNumber,
}

impl Disk {
    fn note(&self, what: &str, path: &Path) {
        self.trace.change(self.host, what, &path.to_string_lossy(), 0, &[]);
    }
}

impl Files for Disk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn File>> {
        let file = self.memory.open(path, how)?;
        if how == Open::Create {
            self.note("create", path);
        }
        let (trace, host) = (self.trace.clone(), self.host);
        Ok(Box::new(TracedFile { file, path: path.to_owned(), trace, host }))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.memory.create_folder(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.memory.list(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.memory.rename(from, to)?;
        self.note("rename to", to);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.memory.remove(path)?;
        self.note("remove", path);
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.memory.sync_folder(folder)?;
        self.note("sync", folder);
        Ok(())
    }

    fn free_space(&self, folder: &Path) -> io::Result<u64> {
        self.memory.free_space(folder)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.memory.lock(path)
    }
}

impl TracedFile {
    fn note(&self, what: &str, at: u64, bytes: &[u8]) {
        self.trace.change(self.host, what, &self.path.to_string_lossy(), at, bytes);
    }
}

impl File for TracedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let n_bytes = self.file.write_at(bytes, offset)?;
        self.note("write", offset, &bytes[..n_bytes]);
        Ok(n_bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()?;
        self.note("sync", 0, &[]);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.truncate(length)?;
        self.note("truncate", length, &[]);
        Ok(())
    }
}
