//! Reading what a recursor answered: whether it belongs to our question, and the addresses in it.
//!
//! Names in a reply may be compressed. A pointer is followed only towards the start of the message
//! and a name grows to 255 bytes at most, so reading one ends.

use super::query::{RawRecord, skip_name};
use super::{CLASS_IN, HEADER_BYTES, Rcode, kind, u16_at};
use crate::compose::Followed;
use crate::limits::{ALIAS_RECORDS_MAX, NAME_BYTES_MAX};
use crate::wire::writer::write_piece_head;

const FLAG_RESPONSE: u16 = 0x8000;
const FLAG_TRUNCATED: u16 = 0x0200;
const FLAG_RECURSION_DESIRED: u16 = 0x0100;
/// Bytes over UDP that we ask recursors for: what fits an unfragmented packet nearly everywhere.
const OWN_UDP_BYTES: u16 = 1_232;

/// A question of our own to a recursor.
pub(crate) fn question(name: &[u8], kind: u16) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + name.len() + 15);
    for word in [0, FLAG_RECURSION_DESIRED, 1, 0, 0, 1] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    out.extend_from_slice(name);
    for word in [kind, CLASS_IN] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    out.push(0);
    for word in [kind::OPT, OWN_UDP_BYTES, 0, 0, 0] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    out
}

/// Whether `reply` is a response to `query`: its id and its question.
pub(crate) fn belongs_to(reply: &[u8], query: &[u8]) -> bool {
    let is_response = u16_at(reply, 2).is_some_and(|flags| flags & FLAG_RESPONSE != 0);
    if !is_response || reply.get(..2) != query.get(..2) || u16_at(reply, 4) != Some(1) {
        return false;
    }
    let end = skip_name(query, HEADER_BYTES).map_or(0, |end| end + 4);
    match (query.get(HEADER_BYTES..end), reply.get(HEADER_BYTES..end)) {
        (Some(asked), Some(told)) => asked.eq_ignore_ascii_case(told),
        _ => false,
    }
}

/// Whether a reply settles the question, if only by "there is no such name".
pub(crate) fn is_settled(reply: &[u8]) -> bool {
    let rcode = u16_at(reply, 2).map(|flags| flags & 0x0F);
    [Rcode::NoError, Rcode::NxDomain].iter().any(|own| Some(own.number()) == rcode)
}

/// Whether something was left out of a reply.
pub(crate) fn is_truncated(reply: &[u8]) -> bool {
    u16_at(reply, 2).is_some_and(|flags| flags & FLAG_TRUNCATED != 0)
}

/// The aliases and addresses among the answers of a reply.
pub(crate) fn addresses(reply: &[u8], wanted: u16) -> Vec<Followed> {
    let mut found = Vec::new();
    let n_answers = u16_at(reply, 6).map_or(0, usize::from).min(ALIAS_RECORDS_MAX);
    let Some(mut at) = skip_name(reply, HEADER_BYTES).map(|end| end + 4) else { return found };
    for _ in 0..n_answers {
        let Some(record) = RawRecord::read(reply, at) else { break };
        let owner = expand(reply, at);
        let data = match record.kind {
            kind::CNAME => expand(reply, record.data_at),
            kind if kind == wanted => Some(record.data.to_vec()),
            _ => None,
        };
        if let (Some(owner), Some(data), CLASS_IN) = (owner, data, record.class) {
            let mut piece = Vec::with_capacity(data.len() + 10);
            write_piece_head(&mut piece, record.kind, data.len());
            piece.extend_from_slice(&data);
            found.push(Followed { owner, piece, ttl: record.ttl });
        }
        at = record.end;
    }
    found
}

/// The name at `at`, written in full.
fn expand(message: &[u8], mut at: usize) -> Option<Vec<u8>> {
    let mut name = Vec::new();
    let mut lowest = at;
    loop {
        let length = *message.get(at)?;
        match length {
            0 => {
                name.push(0);
                return (name.len() <= NAME_BYTES_MAX).then_some(name);
            }
            1..=63 => {
                name.extend_from_slice(message.get(at..at + 1 + usize::from(length))?);
                at += 1 + usize::from(length);
                if name.len() >= NAME_BYTES_MAX {
                    return None;
                }
            }
            0xC0.. => {
                let to = usize::from(u16_at(message, at)? & 0x3FFF);
                if to >= lowest {
                    return None;
                }
                (at, lowest) = (to, to);
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::name_bytes;

    #[test]
    fn a_pointer_forward_or_to_itself_ends_the_reading() {
        let mut message = vec![0; HEADER_BYTES];
        message.extend_from_slice(&[0xC0, 12]);
        assert_eq!(expand(&message, 12), None);
        message.extend_from_slice(&[1, b'a', 0xC0, 14]);
        assert_eq!(expand(&message, 14), None);
        message.extend_from_slice(&[0xC0, 200]);
        assert_eq!(expand(&message, 18), None);
    }

    #[test]
    fn a_compressed_name_is_written_in_full() {
        let mut message = vec![0; HEADER_BYTES];
        message.extend_from_slice(&name_bytes("example.org").unwrap());
        let at = message.len();
        message.extend_from_slice(&[3, b'w', b'w', b'w', 0xC0, 12]);
        assert_eq!(expand(&message, at), name_bytes("www.example.org").ok());
    }

    #[test]
    fn a_reply_belongs_to_the_question_it_repeats() {
        let query = question(&name_bytes("a.org").unwrap(), kind::A);
        let mut reply = query.clone();
        assert!(!belongs_to(&reply, &query));
        reply[2] |= 0x80;
        assert!(belongs_to(&reply, &query));
        reply[HEADER_BYTES + 1] = b'A';
        assert!(belongs_to(&reply, &query));
        reply[HEADER_BYTES + 1] = b'b';
        assert!(!belongs_to(&reply, &query));
        assert!(!belongs_to(&reply[..14], &query));
    }
}
