//! The vote: what this server promised in which term. Losing it could elect two leaders.
//!
//! The file has two slots in different blocks, written in turn, each with a generation and a
//! checksum. A slot is smaller than a sector, so a power cut leaves it old or new, never mixed;
//! a slot that does not check out is therefore damage, even when the other one is sound.

use std::io;
use std::path::{Path, PathBuf};

use muster_world::{File, Files, Open};

use crate::error::Damage;

const SLOT_BYTES: usize = 64;
const SLOT_DISTANCE: u64 = 4096;
const MAGIC: &[u8; 8] = b"mustervt";

/// What this server promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Vote {
    #[n(0)]
    pub(crate) term: u64,
    #[n(1)]
    pub(crate) candidate: u64,
    /// Whether the candidate was elected.
    #[n(2)]
    pub(crate) is_committed: bool,
}

/// The file that keeps the vote.
pub(crate) struct VoteFile {
    file: Box<dyn File>,
    path: PathBuf,
    generation: u64,
    vote: Option<Vote>,
}

impl VoteFile {
    /// Creates the file of a server that has promised nothing.
    pub(crate) fn create(files: &dyn Files, path: &Path) -> io::Result<()> {
        let mut bytes = vec![0; SLOT_DISTANCE as usize + SLOT_BYTES];
        bytes[..SLOT_BYTES].copy_from_slice(&encode(0, None));
        bytes[SLOT_DISTANCE as usize..].copy_from_slice(&encode(1, None));
        files.replace(path, &bytes)
    }

    /// Opens the file and reads the later of its slots. A slot that a process wrote before a sync
    /// failed is synced first: the next vote goes over the other one.
    pub(crate) fn open(files: &dyn Files, path: &Path) -> io::Result<VoteFile> {
        let file = files.open(path, Open::Write)?;
        file.sync()?;
        let mut slots = [(0, None); 2];
        for (slot, offset) in slots.iter_mut().zip([0, SLOT_DISTANCE]) {
            let mut bytes = [0; SLOT_BYTES];
            file.read_full_at(&mut bytes, offset)?;
            let what = "a slot of the vote does not match its checksum";
            *slot = parse(&bytes).ok_or_else(|| Damage::new(path, offset, what))?;
        }
        if slots[0].0.abs_diff(slots[1].0) != 1 || slots[1].0 % 2 != 1 {
            return Err(Damage::new(path, 0, "the slots of the vote are not of one history").into());
        }
        let (generation, vote) = if slots[0].0 > slots[1].0 { slots[0] } else { slots[1] };
        Ok(VoteFile { file, path: path.to_owned(), generation, vote })
    }

    pub(crate) fn vote(&self) -> Option<Vote> {
        self.vote
    }

    /// Writes a vote over the older slot and syncs it.
    pub(crate) fn save(&mut self, vote: Vote) -> io::Result<()> {
        let generation = self.generation + 1;
        let bytes = encode(generation, Some(vote));
        self.file.write_all_at(&bytes, (generation % 2) * SLOT_DISTANCE)?;
        self.file.sync()?;
        self.generation = generation;
        self.vote = Some(vote);
        tracing::debug!(file = %self.path.display(), ?vote, "vote saved");
        Ok(())
    }
}

fn encode(generation: u64, vote: Option<Vote>) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&generation.to_le_bytes());
    if let Some(vote) = vote {
        bytes[16..24].copy_from_slice(&vote.term.to_le_bytes());
        bytes[24..32].copy_from_slice(&vote.candidate.to_le_bytes());
        bytes[32] = 1 + u8::from(vote.is_committed);
    }
    let checksum = crc32c::crc32c(&bytes[..60]);
    bytes[60..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn parse(bytes: &[u8; SLOT_BYTES]) -> Option<(u64, Option<Vote>)> {
    let long = |at: usize| {
        let mut long = [0; 8];
        long.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(long)
    };
    let checksum = crc32c::crc32c(&bytes[..60]).to_le_bytes();
    if &bytes[..8] != MAGIC || bytes[60..] != checksum {
        return None;
    }
    let vote = match bytes[32] {
        0 => None,
        code @ (1 | 2) => {
            Some(Vote { term: long(16), candidate: long(24), is_committed: code == 2 })
        }
        _ => return None,
    };
    Some((long(8), vote))
}
