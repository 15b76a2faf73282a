//! Snapshots: the whole state in a file that is either complete and sound or not used.
//!
//! ```text
//! magic, format
//! block*      length, checksum over (number of the block, length, content), content
//! end         a block of length zero
//! ```
//!
//! The first block says up to which entry the state goes and who voted then; the rest is what the
//! machine wrote. A snapshot is written under a temporary name, synced, renamed, and the folder
//! synced; then older ones are removed. Reading checks each block before a byte of it is handed
//! on, so a flipped bit is reported with file and offset and never served.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use muster_world::{File, Files, Open};

use crate::error::Damage;
use crate::machine::Frozen;
use crate::term_id::EntryId;
use crate::voters::Roster;

const MAGIC: &[u8; 16] = b"muster snapshot1";
const BLOCK: usize = 128 << 10;
const BLOCK_BYTES_MAX: usize = 1 << 20;
const BLOCK_HEADER: usize = 8;
const TEMPORARY: &str = "snapshot.tmp";
/// A snapshot of a peer while it is checked.
const ADOPTED: &str = "adopted.tmp";
/// How the files begin in which snapshots of peers arrive.
pub(crate) const ARRIVING: &str = "arriving-";

/// What a snapshot is of.
#[derive(Debug, Clone, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Meta {
    /// The last entry that the state has taken in.
    #[n(0)]
    pub(crate) last: Option<EntryId>,
    /// The entry that named these voters.
    #[n(1)]
    pub(crate) roster_id: Option<EntryId>,
    #[n(2)]
    pub(crate) roster: Roster,
}

/// A finished snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) meta: Meta,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// Writes a snapshot and removes the ones before it. Blocks.
pub(crate) fn write(
    files: &dyn Files,
    folder: &Path,
    meta: Meta,
    frozen: &dyn Frozen,
) -> io::Result<Snapshot> {
    let file = files.open(&folder.join(TEMPORARY), Open::Create)?;
    let mut writer = BlockWriter::new(&*file)?;
    writer.write_all(&meta.encode())?;
    writer.flush()?;
    frozen.write(&mut writer)?;
    let bytes = writer.finish()?;
    keep(files, folder, TEMPORARY, &*file, meta, bytes)
}

/// Takes a snapshot that came from elsewhere into the folder, checking it on the way. Blocks.
pub(crate) fn adopt(files: &dyn Files, folder: &Path, from: &Path) -> io::Result<Snapshot> {
    let mut reader = SnapshotReader::open(files, from)?;
    let meta = reader.meta.clone();
    let file = files.open(&folder.join(ADOPTED), Open::Create)?;
    let mut writer = BlockWriter::new(&*file)?;
    writer.write_all(&meta.encode())?;
    writer.flush()?;
    io::copy(&mut reader, &mut writer)?;
    let bytes = writer.finish()?;
    keep(files, folder, ADOPTED, &*file, meta, bytes)
}

/// Makes what was written under a temporary name a snapshot.
fn keep(
    files: &dyn Files,
    folder: &Path,
    temporary: &str,
    file: &dyn File,
    meta: Meta,
    bytes: u64,
) -> io::Result<Snapshot> {
    file.sync()?;
    let path = folder.join(file_name(&meta));
    files.rename(&folder.join(temporary), &path)?;
    files.sync_folder(folder)?;
    remove_older(files, folder, &path)?;
    Ok(Snapshot { meta, path, bytes })
}

/// The newest snapshot of a folder, with the block that describes it checked. Blocks.
pub(crate) fn newest(files: &dyn Files, folder: &Path) -> io::Result<Option<Snapshot>> {
    let names = files.list(folder)?;
    let Some(name) = names.iter().rfind(|name| name.ends_with(".snap")) else { return Ok(None) };
    let path = folder.join(name);
    let reader = SnapshotReader::open(files, &path)?;
    let bytes = reader.length()?;
    Ok(Some(Snapshot { meta: reader.meta, path, bytes }))
}

/// Removes the snapshots before one. A newer one may have come from the leader meanwhile.
fn remove_older(files: &dyn Files, folder: &Path, kept: &Path) -> io::Result<()> {
    for name in files.list(folder)? {
        let path = folder.join(&name);
        if name.ends_with(".snap") && *path < *kept {
            files.remove(&path)?;
        }
    }
    Ok(())
}

/// Removes what was never finished, before anything new is begun. Blocks.
pub(crate) fn sweep(files: &dyn Files, folder: &Path) -> io::Result<()> {
    for name in files.list(folder)? {
        if name == TEMPORARY || name == ADOPTED || name.starts_with(ARRIVING) {
            files.remove(&folder.join(name))?;
        }
    }
    Ok(())
}

/// Names sort as the snapshots follow each other.
fn file_name(meta: &Meta) -> String {
    let last = meta.last.unwrap_or_default();
    format!("{:020}-{:020}.snap", last.index, last.term)
}

impl Meta {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for id in [self.last, self.roster_id] {
            bytes.push(u8::from(id.is_some()));
            let id = id.unwrap_or_default();
            bytes.extend_from_slice(&id.index.to_le_bytes());
            bytes.extend_from_slice(&id.term.to_le_bytes());
        }
        bytes.extend_from_slice(&self.roster.encode());
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Meta> {
        let id = |at: usize| {
            let index = bytes.get(at + 1..at + 9)?.try_into().ok()?;
            let term = bytes.get(at + 9..at + 17)?.try_into().ok()?;
            let id = EntryId { index: u64::from_le_bytes(index), term: u64::from_le_bytes(term) };
            match bytes[at] {
                0 => Some(None),
                1 => Some(Some(id)),
                _ => None,
            }
        };
        let (last, roster_id) = (id(0)?, id(17)?);
        Some(Meta { last, roster_id, roster: Roster::parse(bytes.get(34..)?)? })
    }
}

// ---------------------------------------------------------------- blocks

struct BlockWriter<'a> {
    file: &'a dyn File,
    offset: u64,
    n_blocks: u32,
    block: Vec<u8>,
}

impl<'a> BlockWriter<'a> {
    fn new(file: &'a dyn File) -> io::Result<Self> {
        file.write_all_at(MAGIC, 0)?;
        let block = Vec::with_capacity(BLOCK_HEADER + BLOCK);
        let mut writer = BlockWriter { file, offset: MAGIC.len() as u64, n_blocks: 0, block };
        writer.block.extend_from_slice(&[0; BLOCK_HEADER]);
        Ok(writer)
    }

    fn put_block(&mut self) -> io::Result<()> {
        let length = ((self.block.len() - BLOCK_HEADER) as u32).to_le_bytes();
        let checksum = checksum(self.n_blocks, length, &self.block[BLOCK_HEADER..]);
        self.block[..4].copy_from_slice(&length);
        self.block[4..8].copy_from_slice(&checksum.to_le_bytes());
        self.file.write_all_at(&self.block, self.offset)?;
        self.offset += self.block.len() as u64;
        self.n_blocks += 1;
        self.block.truncate(BLOCK_HEADER);
        Ok(())
    }

    fn finish(mut self) -> io::Result<u64> {
        self.flush()?;
        self.put_block()?;
        Ok(self.offset)
    }
}

impl Write for BlockWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = BLOCK_HEADER + BLOCK - self.block.len();
        let taken = bytes.len().min(room);
        self.block.extend_from_slice(&bytes[..taken]);
        if taken == room {
            self.put_block()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.block.len() > BLOCK_HEADER { self.put_block() } else { Ok(()) }
    }
}

fn checksum(number: u32, length: [u8; 4], content: &[u8]) -> u32 {
    let head = crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), &length);
    crc32c::crc32c_append(head, content)
}

/// Reads what the machine wrote, block by checked block.
pub(crate) struct SnapshotReader {
    pub(crate) meta: Meta,
    blocks: BlockReader,
}

struct BlockReader {
    file: Box<dyn File>,
    path: PathBuf,
    offset: u64,
    n_blocks: u32,
    block: Vec<u8>,
    read: usize,
    is_at_end: bool,
}

impl SnapshotReader {
    pub(crate) fn open(files: &dyn Files, path: &Path) -> io::Result<SnapshotReader> {
        let file = files.open(path, Open::Read)?;
        let mut magic = [0; MAGIC.len()];
        file.read_full_at(&mut magic, 0)?;
        if &magic != MAGIC {
            return Err(Damage::new(path, 0, "this is no snapshot").into());
        }
        let mut blocks = BlockReader {
            file,
            path: path.to_owned(),
            offset: MAGIC.len() as u64,
            n_blocks: 0,
            block: Vec::new(),
            read: 0,
            is_at_end: false,
        };
        let at = blocks.offset;
        blocks.next_block()?;
        blocks.read = blocks.block.len();
        let what = "the description of the snapshot cannot be read";
        let meta = Meta::parse(&blocks.block).ok_or_else(|| Damage::new(path, at, what))?;
        Ok(SnapshotReader { meta, blocks })
    }
}

impl SnapshotReader {
    /// Bytes of the file.
    pub(crate) fn length(&self) -> io::Result<u64> {
        self.blocks.file.length()
    }

    /// Checks what was not read.
    pub(crate) fn read_to_end(&mut self) -> io::Result<()> {
        io::copy(self, &mut io::sink()).map(drop)
    }
}

impl BlockReader {
    fn next_block(&mut self) -> io::Result<()> {
        let damage = |at, what| Damage::new(&self.path, at, what);
        let at = self.offset;
        let mut head = [0; BLOCK_HEADER];
        if self.file.read_full_at(&mut head, at)? < BLOCK_HEADER {
            return Err(damage(at, "the snapshot ends too early").into());
        }
        let [a, b, c, d, sum @ ..] = head;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > BLOCK_BYTES_MAX {
            return Err(damage(at, "a block is longer than any block").into());
        }
        self.block.resize(length, 0);
        let read = self.file.read_full_at(&mut self.block, at + BLOCK_HEADER as u64)?;
        let expected = checksum(self.n_blocks, [a, b, c, d], &self.block);
        if read < length || sum != expected.to_le_bytes() {
            return Err(damage(at, "a block does not match its checksum").into());
        }
        self.offset = at + (BLOCK_HEADER + length) as u64;
        self.n_blocks += 1;
        self.read = 0;
        self.is_at_end = length == 0;
        if self.is_at_end && self.file.length()? != self.offset {
            return Err(damage(self.offset, "something follows the end of the snapshot").into());
        }
        Ok(())
    }
}

impl Read for SnapshotReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let blocks = &mut self.blocks;
        while blocks.read == blocks.block.len() && !blocks.is_at_end {
            blocks.next_block()?;
        }
        let n = buffer.len().min(blocks.block.len() - blocks.read);
        buffer[..n].copy_from_slice(&blocks.block[blocks.read..blocks.read + n]);
        blocks.read += n;
        Ok(n)
    }
}
