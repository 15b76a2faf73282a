//! Reading a query: one question, and what the client says about itself in an OPT record.
//!
//! A query is read with bounded steps and without the heap. Names outside the question are only
//! stepped over: a pointer ends such a name and is not followed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::name::Name;
use super::{HEADER_BYTES, Rcode, kind, u16_at};
use crate::limits::{LABELS_MAX, QUERY_RECORDS_MAX, UDP_BYTES_DEFAULT, UDP_BYTES_MAX};

/// A query that can be answered.
pub(crate) struct DnsQuery<'m> {
    /// The client's id.
    pub(crate) id: u16,
    /// The flags that a response gives back: recursion desired, checking disabled.
    pub(crate) flags: u16,
    /// The name asked for.
    pub(crate) name: Name<'m>,
    /// The kind of record asked for.
    pub(crate) kind: u16,
    /// The class asked for.
    pub(crate) class: u16,
    /// What the client says about itself.
    pub(crate) edns: Option<Edns<'m>>,
}

/// What an OPT record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edns<'m> {
    /// Bytes that the client takes over UDP, as it wrote them.
    pub(crate) udp_bytes: u16,
    /// Its version of EDNS.
    pub(crate) version: u8,
    /// On whose behalf it asks.
    pub(crate) subnet: Option<Subnet<'m>>,
}

impl Edns<'_> {
    /// Bytes that a response over UDP may have.
    pub(crate) fn response_bytes(&self) -> usize {
        usize::from(self.udp_bytes).clamp(UDP_BYTES_DEFAULT, UDP_BYTES_MAX)
    }
}

/// On whose behalf a resolver asks (RFC 7871).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subnet<'m> {
    /// 1: IPv4, 2: IPv6.
    pub(crate) family: u16,
    /// Bits of the address that are told.
    pub(crate) prefix: u8,
    /// The bytes of the address that are told.
    pub(crate) address: &'m [u8],
}

impl Subnet<'_> {
    /// The address, with zeros for what is not told.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        if self.family == 1 {
            let mut octets = [0; 4];
            octets.get_mut(..self.address.len())?.copy_from_slice(self.address);
            Some(Ipv4Addr::from(octets).into())
        } else {
            let mut octets = [0; 16];
            octets.get_mut(..self.address.len())?.copy_from_slice(self.address);
            Some(Ipv6Addr::from(octets).into())
        }
    }
}

/// Why a query is not answered as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It is not a query at all: no word is given to it, so that two servers cannot talk for ever.
    NotAQuery,
    /// It gets this code, with its id and flags.
    Refused {
        /// Its id.
        id: u16,
        /// The flags to give back.
        flags: u16,
        /// The code.
        rcode: Rcode,
    },
}

const FLAG_RESPONSE: u16 = 0x8000;
const OPCODE_BITS: u16 = 0x7800;
/// Opcode, recursion desired and checking disabled: what a response gives back.
const FLAGS_GIVEN_BACK: u16 = OPCODE_BITS | 0x0110;
const OPTION_SUBNET: u16 = 8;

/// Reads a query.
pub(crate) fn parse(message: &[u8]) -> Result<DnsQuery<'_>, Unreadable> {
    let word = |i: usize| u16_at(message, 2 * i);
    let (Some(id), Some(flags), Some(_)) = (word(0), word(1), word(5)) else {
        return Err(Unreadable::NotAQuery);
    };
    if flags & FLAG_RESPONSE != 0 {
        return Err(Unreadable::NotAQuery);
    }
    let refused = |rcode| Unreadable::Refused { id, flags: flags & FLAGS_GIVEN_BACK, rcode };
    if flags & OPCODE_BITS != 0 {
        return Err(refused(Rcode::NotImp));
    }
    read_body(message, id, flags & FLAGS_GIVEN_BACK).ok_or(refused(Rcode::FormErr))
}

/// Reads everything after the flags; nothing where it makes no sense.
fn read_body(message: &[u8], id: u16, flags: u16) -> Option<DnsQuery<'_>> {
    let count = |i: usize| u16_at(message, 2 * i).map(usize::from);
    let (n_questions, n_before) = (count(2)?, count(3)? + count(4)?);
    let n_records = n_before + count(5)?;
    if n_questions != 1 || n_records > QUERY_RECORDS_MAX {
        return None;
    }
    let name = Name::parse(&message[HEADER_BYTES..]).ok()?;
    let mut at = HEADER_BYTES + name.asked().len();
    let (asked_kind, class) = (u16_at(message, at)?, u16_at(message, at + 2)?);
    at += 4;
    let mut edns = None;
    for i in 0..n_records {
        let record = RawRecord::read(message, at)?;
        if record.kind == kind::OPT {
            // Only one, only in the additional section, only at the root.
            if edns.is_some() || i < n_before || !record.is_at_root {
                return None;
            }
            edns = Some(read_edns(&record)?);
        }
        at = record.end;
    }
    Some(DnsQuery { id, flags, name, kind: asked_kind, class, edns })
}

/// A record in a message, its name stepped over.
pub(crate) struct RawRecord<'m> {
    pub(crate) kind: u16,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    pub(crate) data: &'m [u8],
    /// Where its data begins in the message.
    pub(crate) data_at: usize,
    /// Where the next record begins.
    pub(crate) end: usize,
    is_at_root: bool,
}

impl<'m> RawRecord<'m> {
    /// The record at `at`.
    pub(crate) fn read(message: &'m [u8], at: usize) -> Option<RawRecord<'m>> {
        let fixed_at = skip_name(message, at)?;
        let fixed = message.get(fixed_at..fixed_at.checked_add(10)?)?;
        let ttl = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
        let data_at = fixed_at + 10;
        let end = data_at + usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        Some(RawRecord {
            kind: u16::from_be_bytes([fixed[0], fixed[1]]),
            class: u16::from_be_bytes([fixed[2], fixed[3]]),
            ttl,
            data: message.get(data_at..end)?,
            data_at,
            end,
            is_at_root: fixed_at == at + 1,
        })
    }
}

/// Steps over a name; gives where it ends. A pointer ends it.
pub(crate) fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    for _ in 0..=LABELS_MAX {
        let length = *message.get(at)?;
        match length {
            0 => return Some(at + 1),
            1..=63 => at += 1 + usize::from(length),
            0xC0.. => return message.get(at + 1).map(|_| at + 2),
            _ => return None,
        }
    }
    None
}

fn read_edns<'m>(record: &RawRecord<'m>) -> Option<Edns<'m>> {
    let mut subnet = None;
    let mut rest = record.data;
    // Each option takes at least four bytes, so this ends.
    while !rest.is_empty() {
        let (code, length) = (u16_at(rest, 0)?, usize::from(u16_at(rest, 2)?));
        let body = rest.get(4..4 + length)?;
        if code == OPTION_SUBNET {
            subnet = Some(read_subnet(body)?);
        }
        rest = &rest[4 + length..];
    }
    Some(Edns { udp_bytes: record.class, version: (record.ttl >> 16) as u8, subnet })
}

fn read_subnet(body: &[u8]) -> Option<Subnet<'_>> {
    let (family, prefix) = (u16_at(body, 0)?, *body.get(2)?);
    let scope = *body.get(3)?;
    let address = &body[4..];
    let n_bits = match family {
        1 => 32,
        2 => 128,
        _ => return None,
    };
    let is_sound =
        prefix <= n_bits && scope == 0 && address.len() == usize::from(prefix).div_ceil(8);
    is_sound.then_some(Subnet { family, prefix, address })
}
