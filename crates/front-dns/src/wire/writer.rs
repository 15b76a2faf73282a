//! Writing a response into a buffer that is used again and again.
//!
//! Records come as *pieces*: kind, class, an empty TTL, length and data, made once and copied from
//! then on. The writer puts the owner before a piece and the TTL into it. Owners that stand in
//! the message already are written as pointers unless compression is switched off.

use super::query::{DnsQuery, Edns};
use super::{CLASS_IN, HEADER_BYTES, Rcode, kind};

/// Bytes of a pointer to a name.
pub(crate) const POINTER_BYTES: usize = 2;
/// Bytes of a piece before its data.
pub(crate) const PIECE_HEAD_BYTES: usize = 10;
/// The last place that a pointer can name.
const POINTER_MAX: usize = 0x3FFF;

const FLAG_RESPONSE: u16 = 0x8000;
const FLAG_AUTHORITATIVE: u16 = 0x0400;
const FLAG_TRUNCATED: u16 = 0x0200;
const FLAG_RECURSION_AVAILABLE: u16 = 0x0080;

/// Appends the head of a piece: kind, class, no TTL yet, length.
pub(crate) fn write_piece_head(out: &mut Vec<u8>, kind: u16, n_data_bytes: usize) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(n_data_bytes as u16).to_be_bytes());
}

/// Bytes that the OPT record of a response takes.
pub(crate) fn edns_bytes(edns: Option<&Edns<'_>>) -> usize {
    edns.map_or(0, |edns| 11 + edns.subnet.map_or(0, |subnet| 8 + subnet.address.len()))
}

/// A response being written.
pub(crate) struct Writer<'o> {
    out: &'o mut Vec<u8>,
    /// Where the message begins in `out`.
    start: usize,
    flags: u16,
    /// Questions, answers, authority, additional.
    counts: [u16; 4],
    compress: bool,
}

/// A section of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Answer = 1,
    Authority = 2,
    Additional = 3,
}

impl<'o> Writer<'o> {
    /// Begins a response with the question as the client wrote it.
    pub(crate) fn answering(out: &'o mut Vec<u8>, query: &DnsQuery<'_>, compress: bool) -> Self {
        let mut writer = Writer::bare(out, query.id, query.flags);
        writer.compress = compress;
        writer.counts[0] = 1;
        writer.out.extend_from_slice(query.name.asked());
        writer.out.extend_from_slice(&query.kind.to_be_bytes());
        writer.out.extend_from_slice(&query.class.to_be_bytes());
        writer
    }

    /// Begins a response without a question.
    pub(crate) fn bare(out: &'o mut Vec<u8>, id: u16, flags: u16) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_BYTES]);
        out[start..start + 2].copy_from_slice(&id.to_be_bytes());
        let flags = flags | FLAG_RESPONSE;
        Writer { out, start, flags, counts: [0; 4], compress: true }
    }

    /// The data comes from the registry itself.
    pub(crate) fn set_authoritative(&mut self) {
        self.flags |= FLAG_AUTHORITATIVE;
    }

    /// Names outside our own are looked up too.
    pub(crate) fn set_recursion_available(&mut self) {
        self.flags |= FLAG_RECURSION_AVAILABLE;
    }

    /// Something was left out.
    pub(crate) fn set_truncated(&mut self) {
        self.flags |= FLAG_TRUNCATED;
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.out.len() - self.start
    }

    /// Appends a record whose owner stands at `owner_at` in the message, or if that cannot be
    /// pointed to, `owner`.
    pub(crate) fn record(
        &mut self,
        section: Section,
        owner_at: usize,
        owner: &[u8],
        piece: &[u8],
        ttl: u32,
    ) {
        if self.can_point(owner_at) {
            let pointer = 0xC000 | owner_at as u16;
            self.out.extend_from_slice(&pointer.to_be_bytes());
        } else {
            self.out.extend_from_slice(owner);
        }
        self.piece(section, piece, ttl);
    }

    /// Bytes that an owner takes that stands at `owner_at`.
    pub(crate) fn owner_bytes(&self, owner_at: usize, owner: &[u8]) -> usize {
        if self.can_point(owner_at) { POINTER_BYTES } else { owner.len() }
    }

    fn can_point(&self, at: usize) -> bool {
        self.compress && at <= POINTER_MAX
    }

    /// Appends a record whose owner stands nowhere else.
    pub(crate) fn record_of(&mut self, section: Section, owner: &[u8], piece: &[u8], ttl: u32) {
        self.out.extend_from_slice(owner);
        self.piece(section, piece, ttl);
    }

    fn piece(&mut self, section: Section, piece: &[u8], ttl: u32) {
        let at = self.out.len();
        self.out.extend_from_slice(piece);
        self.out[at + 4..at + 8].copy_from_slice(&ttl.to_be_bytes());
        self.counts[section as usize] += 1;
    }

    /// Appends the OPT record that answers the client's, and ends the response. The scope of a
    /// subnet is its prefix where the answer depended on it, else 0.
    pub(crate) fn finish(mut self, rcode: Rcode, edns: Option<&Edns<'_>>, depends_on_subnet: bool) {
        let number = rcode.number();
        if let Some(edns) = edns {
            self.counts[Section::Additional as usize] += 1;
            self.out.push(0);
            self.out.extend_from_slice(&kind::OPT.to_be_bytes());
            self.out.extend_from_slice(&edns.udp_bytes.to_be_bytes());
            self.out.extend_from_slice(&[(number >> 4) as u8, 0, 0, 0]);
            match edns.subnet {
                None => self.out.extend_from_slice(&[0, 0]),
                Some(subnet) => {
                    let n_bytes = 4 + subnet.address.len() as u16;
                    self.out.extend_from_slice(&(4 + n_bytes).to_be_bytes());
                    self.out.extend_from_slice(&[0, 8]);
                    self.out.extend_from_slice(&n_bytes.to_be_bytes());
                    self.out.extend_from_slice(&subnet.family.to_be_bytes());
                    let scope = if depends_on_subnet { subnet.prefix } else { 0 };
                    self.out.extend_from_slice(&[subnet.prefix, scope]);
                    self.out.extend_from_slice(subnet.address);
                }
            }
        }
        self.flags |= number & 0x0F;
        let header = &mut self.out[self.start..self.start + HEADER_BYTES];
        header[2..4].copy_from_slice(&self.flags.to_be_bytes());
        for (i, count) in self.counts.iter().enumerate() {
            header[4 + 2 * i..6 + 2 * i].copy_from_slice(&count.to_be_bytes());
        }
    }
}
