//! One record of the log as bytes, and how to tell a true one.
//!
//! ```text
//!  0  checksum of the rest of the header      4  checksum of the payload
//!  8  length of the payload                  12  kind, three zeros
//! 16  index                                  24  term
//! 32  bytes back to the start of the group   36  mark
//! 40  payload, then 1 to 8 bytes of filling up to a multiple of eight
//! ```
//!
//! Both checksums are CRC-32C and start from the salt of the segment, so that bytes of another
//! segment are never taken for a record of this one. The header has a checksum of its own because
//! a length that lies would hide where the record ends. A **group** is what was written and
//! synced together: a record of a later group proves that the earlier ones were on disk.
//!
//! Where nothing was written there are zeros. So that [`super::segment`] can tell what was never
//! written from what rotted, the last byte of a header and the last byte of a record are never
//! zero, nor one bit away from it, and no eight aligned bytes of a header are all zero.

use crate::term_id::EntryId;

/// Bytes before the payload.
pub(crate) const HEADER: usize = 40;

/// Longest payload of one record.
pub(crate) const PAYLOAD_MAX: usize = 8 << 20;

/// What a record is filled up with.
const FILLING: u8 = 0xa5;

const MARK: u32 = u32::from_le_bytes(*b"mrec");

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// An entry without content, proposed by a new leader.
    Blank = 1,
    /// An entry that the state machine applies.
    Command = 2,
    /// An entry that changes the voters.
    Voters = 3,
    /// An entry that is a step of replacing the whole state.
    Restore = 4,
    /// Entries from this index on are void.
    Truncate = 16,
    /// Entries up to this index are in a snapshot and no longer needed.
    Purge = 17,
    /// The segment ends here and another follows.
    Seal = 18,
    /// The log was closed in order.
    Close = 19,
}

impl Kind {
    pub(crate) fn parse(byte: u8) -> Option<Kind> {
        use Kind::{Blank, Close, Command, Purge, Restore, Seal, Truncate, Voters};
        [Blank, Command, Voters, Restore, Truncate, Purge, Seal, Close]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }

    /// Whether the record is an entry of the Raft log rather than a note about it.
    pub(crate) fn is_entry(self) -> bool {
        matches!(self, Kind::Blank | Kind::Command | Kind::Voters | Kind::Restore)
    }
}

/// The header of a record, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) id: EntryId,
    pub(crate) length: usize,
    /// Bytes back to the start of the group.
    pub(crate) group: u32,
    payload_checksum: u32,
}

/// Bytes that a payload takes in the log.
pub(crate) fn size(payload: usize) -> usize {
    (HEADER + payload + 1).next_multiple_of(8)
}

/// Appends a record to a buffer whose first byte is the start of the group.
pub(crate) fn encode(group: &mut Vec<u8>, salt: u32, kind: Kind, id: EntryId, payload: &[u8]) {
    debug_assert!(payload.len() <= PAYLOAD_MAX);
    let start = group.len();
    let payload_checksum = crc32c::crc32c_append(salt, payload);
    group.extend_from_slice(&[0; 4]);
    group.extend_from_slice(&payload_checksum.to_le_bytes());
    group.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    group.extend_from_slice(&[kind as u8, 0, 0, 0]);
    group.extend_from_slice(&id.index.to_le_bytes());
    group.extend_from_slice(&id.term.to_le_bytes());
    group.extend_from_slice(&(start as u32).to_le_bytes());
    group.extend_from_slice(&MARK.to_le_bytes());
    let checksum = crc32c::crc32c_append(salt, &group[start + 4..]);
    group[start..start + 4].copy_from_slice(&checksum.to_le_bytes());
    group.extend_from_slice(payload);
    group.resize(start + size(payload.len()), FILLING);
}

/// The header at the start of the bytes, if it is one.
pub(crate) fn header(bytes: &[u8], salt: u32) -> Option<Header> {
    let bytes: &[u8; HEADER] = bytes.get(..HEADER)?.try_into().ok()?;
    let word =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    // The mark first: most of what is looked at after damage is no header.
    if word(36) != MARK || word(0) != crc32c::crc32c_append(salt, &bytes[4..]) {
        return None;
    }
    let kind = Kind::parse(bytes[12])?;
    let length = usize::try_from(word(8)).ok().filter(|length| *length <= PAYLOAD_MAX)?;
    let id = EntryId { index: long(16), term: long(24) };
    Some(Header { kind, id, length, group: word(32), payload_checksum: word(4) })
}

impl Header {
    /// Whether this is the payload that the header announces.
    pub(crate) fn admits(&self, payload: &[u8], salt: u32) -> bool {
        payload.len() == self.length
            && crc32c::crc32c_append(salt, payload) == self.payload_checksum
    }
}

/// The header at the start of the bytes, if all of its record follows and is what was written.
pub(crate) fn whole(bytes: &[u8], salt: u32) -> Option<Header> {
    let header = header(bytes, salt)?;
    let payload = bytes.get(HEADER..HEADER + header.length)?;
    let filling = bytes.get(HEADER + header.length..size(header.length))?;
    let is_whole = header.admits(payload, salt) && filling.iter().all(|byte| *byte == FILLING);
    is_whole.then_some(header)
}
