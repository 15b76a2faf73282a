//! Files in memory, which remember what a power cut would take away.
//!
//! Two uses with one body. `agent --dev` runs on these files, so that nothing outlives the
//! process and yet every step is the one that a disk would see. Tests [`Memory::power_cut`] them:
//! since its last sync a file knows every sector that was written and what was there before, and
//! a cut keeps a random part of those sectors. Names are forgotten the same way: of the changes
//! to a folder since its last sync, a cut keeps the first few, as a journaling file system would.
//!
//! Faults can be switched on: syncs that fail, syncs that do nothing (so that a test can prove
//! that it would notice a missing one), a limit on bytes, writes that are cut short, a flipped
//! bit, a power failure after so many changes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::files::{File, Files, Lock, Open};

/// Bytes that a disk writes whole or not at all.
pub const SECTOR: usize = 512;

type Sector = Box<[u8; SECTOR]>;

/// What goes wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// Every sync fails with an input/output error.
    pub syncs_fail: bool,
    /// Every sync succeeds without doing anything.
    pub syncs_do_nothing: bool,
    /// The most bytes that all files together may have.
    pub bytes_max: Option<u64>,
    /// The most bytes that one write takes.
    pub write_max: Option<usize>,
    /// The power fails after this many more changes: from then on every call fails, until
    /// [`Memory::power_cut`] decides what is left.
    pub changes_left: Option<u64>,
}

/// A disk in memory, as one process sees it. Clones share it.
#[derive(Clone, Default)]
pub struct Memory {
    disk: Arc<Mutex<Disk>>,
    /// How many processes had this disk before this one.
    life: u64,
}

#[derive(Default)]
struct Disk {
    names: BTreeMap<PathBuf, u64>,
    folders: BTreeSet<PathBuf>,
    /// Changes to names since the last sync of their folder, oldest first.
    renamings: Vec<Renaming>,
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    locks: BTreeSet<PathBuf>,
    faults: Faults,
    n_syncs: u64,
    /// How many processes have had this disk and are dead.
    life: u64,
}

/// A name in a folder that came to mean another file, and what it meant before.
struct Renaming {
    path: PathBuf,
    before: Option<u64>,
    after: Option<u64>,
}

#[derive(Default)]
struct Inode {
    sectors: BTreeMap<u64, Sector>,
    length: u64,
    /// The content of the sectors written since the last sync, as that sync left them.
    before: BTreeMap<u64, Option<Sector>>,
    length_before: u64,
}

impl Memory {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.disk().faults = faults;
    }

    /// How many syncs of files and folders have succeeded.
    #[must_use]
    pub fn n_syncs(&self) -> u64 {
        self.disk().n_syncs
    }

    /// Whether the power has failed, as [`Faults::changes_left`] has it.
    #[must_use]
    pub fn is_without_power(&self) -> bool {
        self.disk().faults.changes_left == Some(0)
    }

    /// The bytes of all files.
    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        self.disk().n_bytes()
    }

    /// Takes the power away and gives it back: of everything not synced a random part is kept.
    /// Returns the disk as the next process finds it; to this one it is dead.
    #[must_use]
    pub fn power_cut(&self, seed: u64) -> Memory {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut disk = self.disk();
        disk.life += 1;
        disk.locks.clear();
        disk.faults.changes_left = None;
        disk.forget_names(&mut rng);
        // Some cuts lose nearly all, some nearly nothing, most something in between.
        let kept = [0.0, 0.1, 0.5, 0.9, 1.0][rng.random_range(0..5)];
        for inode in disk.inodes.values_mut() {
            inode.forget(&mut rng, kept);
        }
        Memory { disk: self.disk.clone(), life: disk.life }
    }

    /// Ends the process, and with it its locks; the machine runs on. What it wrote stays, and what
    /// of that was not synced is still in danger from a power cut. Returns the disk as the next
    /// process finds it; to this one it is dead.
    #[must_use]
    pub fn kill(&self) -> Memory {
        let mut disk = self.disk();
        disk.life += 1;
        disk.locks.clear();
        Memory { disk: self.disk.clone(), life: disk.life }
    }

    /// An independent copy of what the disk holds now, for looking at it in several ways.
    #[must_use]
    pub fn image(&self) -> Memory {
        let disk = self.disk();
        let inodes = disk.inodes.iter().map(|(id, inode)| (*id, inode.synced_copy())).collect();
        let copy = Disk {
            names: disk.names.clone(),
            folders: disk.folders.clone(),
            inodes,
            next_inode: disk.next_inode,
            ..Disk::default()
        };
        Memory { disk: Arc::new(Mutex::new(copy)), life: 0 }
    }

    /// Turns one bit of a file around. Does nothing to a file that does not exist or is shorter.
    pub fn flip_bit(&self, path: &Path, bit: u64) {
        let mut disk = self.disk();
        let Some(inode) = disk.names.get(path).copied() else { return };
        let Some(inode) = disk.inodes.get_mut(&inode) else { return };
        let (at, mask) = (bit / 8, 1 << (bit % 8));
        if at < inode.length {
            let byte = (at % SECTOR as u64) as usize;
            inode.sectors.entry(at / SECTOR as u64).or_insert_with(blank)[byte] ^= mask;
        }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk, if this process is still alive.
    fn live_disk(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.disk();
        match disk.life == self.life {
            true => Ok(disk),
            false => Err(io::Error::other("this process is dead")),
        }
    }
}

impl Disk {
    fn n_bytes(&self) -> u64 {
        self.inodes.values().map(|inode| inode.length).sum()
    }

    /// Makes a name mean a file, or nothing.
    fn point(&mut self, path: &Path, after: Option<u64>) {
        let before = match after {
            Some(inode) => self.names.insert(path.to_owned(), inode),
            None => self.names.remove(path),
        };
        self.renamings.push(Renaming { path: path.to_owned(), before, after });
        self.drop_nameless();
    }

    /// Frees the files that no name, present or remembered, leads to.
    fn drop_nameless(&mut self) {
        let mut named: BTreeSet<u64> = self.names.values().copied().collect();
        for renaming in &self.renamings {
            named.extend(renaming.before);
            named.extend(renaming.after);
        }
        self.inodes.retain(|id, _| named.contains(id));
    }

    /// Undoes the latest changes of names, as many as chance has it, in each folder by itself.
    fn forget_names(&mut self, rng: &mut SmallRng) {
        let renamings = std::mem::take(&mut self.renamings);
        let mut kept: BTreeMap<PathBuf, usize> = BTreeMap::new();
        for renaming in &renamings {
            *kept.entry(folder_of(&renaming.path)).or_default() += 1;
        }
        for n in kept.values_mut() {
            *n = rng.random_range(0..=*n);
        }
        let mut seen: BTreeMap<PathBuf, usize> = BTreeMap::new();
        let mut undone = Vec::new();
        for renaming in renamings {
            let folder = folder_of(&renaming.path);
            let n = seen.entry(folder.clone()).or_default();
            *n += 1;
            if *n > kept[&folder] {
                undone.push(renaming);
            }
        }
        for renaming in undone.into_iter().rev() {
            match renaming.before {
                Some(inode) => self.names.insert(renaming.path, inode),
                None => self.names.remove(&renaming.path),
            };
        }
        self.drop_nameless();
    }
}

impl Inode {
    fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let end = self.length.min(offset.saturating_add(buffer.len() as u64));
        let mut at = offset;
        while at < end {
            let from = (at % SECTOR as u64) as usize;
            let n = (SECTOR - from).min((end - at) as usize);
            let target = &mut buffer[(at - offset) as usize..][..n];
            match self.sectors.get(&(at / SECTOR as u64)) {
                Some(sector) => target.copy_from_slice(&sector[from..from + n]),
                None => target.fill(0),
            }
            at += n as u64;
        }
        at.saturating_sub(offset) as usize
    }

    fn write(&mut self, bytes: &[u8], offset: u64) {
        let end = offset + bytes.len() as u64;
        let mut at = offset;
        while at < end {
            let from = (at % SECTOR as u64) as usize;
            let n = (SECTOR - from).min((end - at) as usize);
            let source = &bytes[(at - offset) as usize..][..n];
            self.write_sector(at / SECTOR as u64, from, source);
            at += n as u64;
        }
        self.length = self.length.max(end);
    }

    /// Zeros where nothing was written take no room: a log is laid out with zeros ahead of use.
    fn write_sector(&mut self, number: u64, from: usize, source: &[u8]) {
        let present = self.sectors.contains_key(&number);
        if !present && source.iter().all(|byte| *byte == 0) {
            return;
        }
        let before = &self.sectors;
        self.before.entry(number).or_insert_with(|| before.get(&number).cloned());
        let sector = self.sectors.entry(number).or_insert_with(blank);
        sector[from..from + source.len()].copy_from_slice(source);
    }

    fn truncate(&mut self, length: u64) {
        let first_gone = length.div_ceil(SECTOR as u64);
        for (number, sector) in self.sectors.split_off(&first_gone) {
            self.before.entry(number).or_insert(Some(sector));
        }
        let rest = (length % SECTOR as u64) as usize;
        if rest > 0 && self.sectors.contains_key(&(length / SECTOR as u64)) {
            self.write_sector(length / SECTOR as u64, rest, &[0; SECTOR][rest..]);
        }
        self.length = length;
    }

    fn sync(&mut self) {
        self.before.clear();
        self.length_before = self.length;
    }

    fn forget(&mut self, rng: &mut SmallRng, kept: f64) {
        for (number, before) in std::mem::take(&mut self.before) {
            if !rng.random_bool(kept) {
                match before {
                    Some(sector) => self.sectors.insert(number, sector),
                    None => self.sectors.remove(&number),
                };
            }
        }
        if !rng.random_bool(kept) {
            self.truncate(self.length_before);
        }
        self.sync();
    }

    fn synced_copy(&self) -> Inode {
        Inode {
            sectors: self.sectors.clone(),
            length: self.length,
            before: BTreeMap::new(),
            length_before: self.length,
        }
    }
}

fn blank() -> Sector {
    Box::new([0; SECTOR])
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("/")).to_owned()
}

// ---------------------------------------------------------------- as files

impl Files for Memory {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn File>> {
        let mut disk = self.live_disk()?;
        let inode = match (disk.names.get(path).copied(), how) {
            (Some(inode), Open::Read | Open::Write) => inode,
            (None, Open::Read | Open::Write) => return Err(io::ErrorKind::NotFound.into()),
            (Some(inode), Open::Create) => {
                disk.count_change()?;
                if let Some(content) = disk.inodes.get_mut(&inode) {
                    content.truncate(0);
                }
                inode
            }
            (None, Open::Create) => {
                if !disk.folders.contains(&folder_of(path)) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                disk.count_change()?;
                let inode = disk.next_inode;
                disk.next_inode += 1;
                disk.inodes.insert(inode, Inode::default());
                disk.point(path, Some(inode));
                inode
            }
        };
        let may_write = how != Open::Read;
        Ok(Box::new(MemoryFile { disk: self.clone(), inode, may_write }))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.live_disk()?;
        for folder in path.ancestors() {
            disk.folders.insert(folder.to_owned());
        }
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let disk = self.live_disk()?;
        if !disk.folders.contains(folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside =
            disk.names.keys().chain(&disk.folders).filter(|path| path.parent() == Some(folder));
        let names = inside.filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
        let sorted: BTreeSet<String> = names.collect();
        Ok(sorted.into_iter().collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.live_disk()?;
        let inode = disk.names.get(from).copied().ok_or(io::ErrorKind::NotFound)?;
        disk.count_change()?;
        disk.point(to, Some(inode));
        disk.point(from, None);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.live_disk()?;
        if !disk.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        disk.count_change()?;
        disk.point(path, None);
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut disk = self.live_disk()?;
        disk.count_sync()?;
        if !disk.faults.syncs_do_nothing {
            disk.renamings.retain(|renaming| renaming.path.parent() != Some(folder));
            disk.drop_nameless();
        }
        Ok(())
    }

    fn free_space(&self, _folder: &Path) -> io::Result<u64> {
        let disk = self.live_disk()?;
        Ok(disk.faults.bytes_max.map_or(u64::MAX, |max| max.saturating_sub(disk.n_bytes())))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let mut disk = self.live_disk()?;
        if !disk.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemoryLock { disk: self.clone(), path: path.to_owned() }))
    }
}

impl Disk {
    /// Counts a change; the one that exhausts the count still takes place.
    fn count_change(&mut self) -> io::Result<()> {
        match &mut self.faults.changes_left {
            Some(0) => Err(io::Error::other("the power has failed (injected)")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn count_sync(&mut self) -> io::Result<()> {
        self.count_change()?;
        if self.faults.syncs_fail {
            return Err(io::Error::other("input/output error (injected)"));
        }
        self.n_syncs += 1;
        Ok(())
    }
}

struct MemoryFile {
    disk: Memory,
    inode: u64,
    may_write: bool,
}

impl MemoryFile {
    fn with<T>(&self, act: impl FnOnce(&mut Disk, &mut Inode) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.disk.live_disk()?;
        // A file whose last name was removed lives on while it is open, for reading and writing
        // that nobody will see again.
        let mut inode = disk.inodes.remove(&self.inode).unwrap_or_default();
        let result = act(&mut disk, &mut inode);
        disk.inodes.insert(self.inode, inode);
        result
    }
}

impl File for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|_, inode| Ok(inode.read(buffer, offset)))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if !self.may_write {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.with(|disk, inode| {
            let bytes = &bytes[..bytes.len().min(disk.faults.write_max.unwrap_or(usize::MAX))];
            let growth = (offset + bytes.len() as u64).saturating_sub(inode.length);
            let used = disk.n_bytes() + inode.length;
            if growth > 0 && disk.faults.bytes_max.is_some_and(|max| used + growth > max) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            disk.count_change()?;
            inode.write(bytes, offset);
            Ok(bytes.len())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|disk, inode| {
            disk.count_sync()?;
            if !disk.faults.syncs_do_nothing {
                inode.sync();
            }
            Ok(())
        })
    }

    fn length(&self) -> io::Result<u64> {
        self.with(|_, inode| Ok(inode.length))
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.with(|_, inode| {
            inode.truncate(length);
            Ok(())
        })
    }
}

struct MemoryLock {
    disk: Memory,
    path: PathBuf,
}

impl Lock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        // After a cut the lock is gone, and the name may be another process's.
        if let Ok(mut disk) = self.disk.live_disk() {
            disk.locks.remove(&self.path);
        }
    }
}
