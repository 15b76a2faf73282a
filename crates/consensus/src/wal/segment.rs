//! One file of the log: how it begins, where its records lie, and whether its end is sound.
//!
//! A segment starts with a header of 64 bytes, is filled with groups of records, and ends with a
//! seal when the next one takes over. [`scan`] reads a segment at start-up. Three things can be
//! behind a record that does not check out, and they are told apart:
//!
//! - **The clean end.** Only zeros follow: this is where writing goes on.
//! - **A torn tail.** The power went while a group was being synced, so any of its sectors may be
//!   missing, or the process was killed in the middle of the write. Nothing in it was
//!   acknowledged; it is cut. A torn group is the last one, and its first bad record has a hole
//!   (a stretch of a sector that should hold part of it and holds zeros) or lacks its end.
//! - **Damage.** A record of a later group follows (it was written after the sync of this one),
//!   or the segment is not the last, or nothing is missing. Something acknowledged has rotted; it is
//!   reported with file and offset, and the log does not open.
//!
//! A file that was cut short is damage too: zeros lie ahead of the records, so behind whatever was
//! synced there is room for a seal. Only a loss of power leaves a file that ends sooner, and then
//! at the edge of a sector.
//!
//! What this cannot see: damage in the very last group when its payload has, by itself, a sector
//! of zeros, and the log was not closed in order; a file that was cut at the edge of a sector.

use std::path::Path;

use super::record::{self, HEADER, Header, Kind};
use crate::error::Damage;
use crate::term_id::EntryId;

/// Bytes of a segment before its first record.
pub(crate) const START: usize = 64;

/// Bytes that a disk writes whole or not at all.
pub(crate) const SECTOR: usize = 512;

const MAGIC: &[u8; 8] = b"musterwl";
const FORMAT: u32 = 1;

/// The beginning of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opening {
    /// Counts the segments of this log, from 1.
    pub(crate) sequence: u64,
    /// Whose log it is.
    pub(crate) node: u64,
    /// The last entry that was purged when the segment was begun.
    pub(crate) purged: Option<EntryId>,
}

impl Opening {
    pub(crate) fn encode(&self) -> [u8; START] {
        let mut bytes = [0; START];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[12..16].copy_from_slice(&u32::from(self.purged.is_some()).to_le_bytes());
        let purged = self.purged.unwrap_or_default();
        let longs = [self.sequence, self.node, purged.index, purged.term];
        for (n, long) in longs.into_iter().enumerate() {
            bytes[16 + 8 * n..][..8].copy_from_slice(&long.to_le_bytes());
        }
        let checksum = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Opening> {
        let bytes: &[u8; START] = bytes.get(..START)?.try_into().ok()?;
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let is_sound =
            &bytes[..8] == MAGIC && word(8) == FORMAT && word(60) == crc32c::crc32c(&bytes[..60]);
        is_sound.then(|| Opening {
            sequence: long(16),
            node: long(24),
            purged: (word(12) == 1).then(|| EntryId { index: long(32), term: long(40) }),
        })
    }

    /// What the checksums of this segment's records start from.
    pub(crate) fn salt(&self) -> u32 {
        crc32c::crc32c(&self.encode())
    }
}

/// A record found in a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) offset: u64,
    pub(crate) header: Header,
}

/// What a segment holds.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) opening: Opening,
    pub(crate) records: Vec<Found>,
    /// Where the next group goes.
    pub(crate) end: u64,
    /// Whether a torn tail lies behind the end and has to be wiped.
    pub(crate) is_torn: bool,
    /// Whether a seal was found.
    pub(crate) is_sealed: bool,
}

/// Reads a segment. `None` when it is the last and was torn before it got a beginning.
pub(crate) fn scan(file: &Path, bytes: &[u8], is_last: bool) -> Result<Option<Scan>, Damage> {
    let Some(opening) = Opening::parse(bytes) else {
        let is_empty = bytes.get(START..).is_none_or(|rest| rest.iter().all(|byte| *byte == 0));
        if is_last && is_empty {
            return Ok(None);
        }
        return Err(Damage::new(file, 0, "the head of a log segment does not match its checksum"));
    };
    let salt = opening.salt();
    let mut records = Vec::new();
    let mut at = START;
    while let Some(header) = bytes.get(at..).and_then(|rest| record::whole(rest, salt)) {
        records.push(Found { offset: at as u64, header });
        at += record::size(header.length);
        if header.kind == Kind::Seal {
            let end = at as u64;
            return Ok(Some(Scan { opening, records, end, is_torn: false, is_sealed: true }));
        }
    }
    if !is_last {
        let what = "a record does not match its checksum, and later segments follow";
        return Err(Damage::new(file, at as u64, what));
    }
    let is_torn = judge_tail(file, bytes, at, salt)?;
    Ok(Some(Scan { opening, records, end: at as u64, is_torn, is_sealed: false }))
}

/// Decides what the bytes from `at` on are: false for a clean end, true for a torn tail.
fn judge_tail(file: &Path, bytes: &[u8], at: usize, salt: u32) -> Result<bool, Damage> {
    let tail = &bytes[at.min(bytes.len())..];
    let whole = record::header(tail, salt).map_or(HEADER, |header| record::size(header.length));
    if at + whole.max(record::size(0)) > bytes.len() && !bytes.len().is_multiple_of(SECTOR) {
        let what = "the file was cut short: what was written behind this is missing";
        return Err(Damage::new(file, bytes.len() as u64, what));
    }
    let Some(last) = tail.iter().rposition(|byte| *byte != 0) else { return Ok(false) };
    let mut later = at + 8;
    while later <= at + last {
        if let Some(header) = record::header(&bytes[later..], salt)
            && later as u64 > at as u64 + u64::from(header.group)
        {
            let what = format!(
                "a record does not match its checksum, and one at byte {later} was written later"
            );
            return Err(Damage::new(file, at as u64, what));
        }
        later += 8;
    }
    if !is_incomplete(bytes, at, at + whole) {
        return Err(Damage::new(file, at as u64, "the last record does not match its checksum"));
    }
    Ok(true)
}

/// Whether part of this range was never written: its last byte, or some sector's share of it.
fn is_incomplete(bytes: &[u8], from: usize, to: usize) -> bool {
    if bytes.get(to - 1).is_none_or(|last| *last == 0) {
        return true;
    }
    let mut at = from;
    while at < to {
        let next = ((at / SECTOR + 1) * SECTOR).min(to);
        if bytes[at..next].iter().all(|byte| *byte == 0) {
            return true;
        }
        at = next;
    }
    false
}
