//! Who is at the other end, and what both sides agree on before anything else.
//!
//! A connection begins, each way, with a preface of fixed form: eight bytes that no other protocol
//! begins with, and the lowest and highest version of the protocol that the sender speaks. Then
//! comes the greeting, as a frame. The dialer speaks first; the acceptor answers with its own, or
//! with its preface and last words. Later versions may append fields to a greeting: what a reader
//! does not know at its end is skipped.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, BufMut as _, Bytes, BytesMut};
use muster_world::Address;

use crate::fault::Fault;
use crate::limits::{EXTRA_BYTES_MAX, HELLO_BYTES_MAX, NAME_BYTES_MAX, Terms};
use crate::security::PeerIdentity;

/// What a connection begins with.
pub(crate) const MAGIC: [u8; 8] = *b"\x00muster\n";
/// Bytes of a preface: the magic, the lowest and the highest version.
pub(crate) const PREFACE_BYTES: usize = MAGIC.len() + 4;
/// The versions that this code speaks.
pub(crate) const VERSIONS: Versions = Versions { min: 1, max: 1 };

/// What an agent says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Its datacenter, at most 255 bytes.
    pub datacenter: String,
    /// Its number in the Raft group.
    pub node_id: u64,
    /// Its node's name, at most 255 bytes.
    pub node: String,
    /// Whether it is a server.
    pub is_server: bool,
    /// What else the cluster's agents tell each other, at most 1,024 bytes; opaque here.
    pub extra: Bytes,
}

/// What a connection is for. Each lane is a connection of its own, so that what is urgent never
/// waits behind what is long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Votes, signs of leadership, read confirmations.
    Urgent,
    /// Entries of the Raft log.
    Log,
    /// Commands and queries.
    Call,
    /// Snapshots and other long transfers.
    Bulk,
}

const LANES: [Lane; 4] = [Lane::Urgent, Lane::Log, Lane::Call, Lane::Bulk];

/// Whom to dial: an address, and the name that the agent there has to prove, if the pool's
/// [`crate::Security`] asks for proof. Connections are shared only for the same address and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// The name to be proved.
    pub name: Option<Arc<str>>,
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self { address, name: None }
    }
}

/// The agent at the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// What it says of itself.
    pub hello: Hello,
    /// What the connection is for.
    pub lane: Lane,
    /// The version of the protocol that both speak.
    pub version: u16,
    /// Where it came from, or where it was dialed.
    pub address: Address,
    /// What its certificate says, if it showed one. Only an acceptor is told; a dialer has asked
    /// for a name instead.
    pub identity: Option<PeerIdentity>,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.hello.node, self.address)
    }
}

/// A range of versions, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) min: u16,
    pub(crate) max: u16,
}

impl Versions {
    /// The highest version in both ranges.
    pub(crate) fn common(self, other: Self) -> Option<u16> {
        let version = self.max.min(other.max);
        (version >= self.min.max(other.min)).then_some(version)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.min == self.max {
            true => write!(f, "version {}", self.max),
            false => write!(f, "versions {} to {}", self.min, self.max),
        }
    }
}

/// The preface of this code.
pub(crate) fn preface(versions: Versions) -> [u8; PREFACE_BYTES] {
    let mut preface = [0; PREFACE_BYTES];
    preface[..8].copy_from_slice(&MAGIC);
    preface[8..10].copy_from_slice(&versions.min.to_be_bytes());
    preface[10..].copy_from_slice(&versions.max.to_be_bytes());
    preface
}

/// What a greeting says, with what the sender takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub(crate) hello: Hello,
    pub(crate) lane: Lane,
    pub(crate) terms: Terms,
}

impl Greeting {
    /// The payload of the frame, or what of it is too long.
    pub(crate) fn encode(&self) -> Result<Bytes, Fault> {
        let hello = &self.hello;
        let mut out = BytesMut::with_capacity(64);
        out.put_u8(LANES.iter().position(|lane| *lane == self.lane).unwrap_or(0) as u8);
        out.put_u8(u8::from(hello.is_server));
        out.put_u64(hello.node_id);
        put_text(&mut out, hello.datacenter.as_bytes(), NAME_BYTES_MAX)?;
        put_text(&mut out, hello.node.as_bytes(), NAME_BYTES_MAX)?;
        put_text(&mut out, &hello.extra, EXTRA_BYTES_MAX)?;
        out.put_u32(self.terms.body_bytes_max);
        out.put_u32(self.terms.exchanges_max);
        out.put_u32(self.terms.window_items);
        out.put_u32(self.terms.window_bytes);
        debug_assert!(out.len() < HELLO_BYTES_MAX);
        Ok(out.freeze())
    }

    /// Reads a payload; `None` if it is none.
    pub(crate) fn decode(mut payload: Bytes) -> Option<Self> {
        let lane = *LANES.get(usize::from(payload.try_get_u8().ok()?))?;
        let is_server = payload.try_get_u8().ok()? != 0;
        let node_id = payload.try_get_u64().ok()?;
        let datacenter = take_text(&mut payload, NAME_BYTES_MAX)?;
        let node = take_text(&mut payload, NAME_BYTES_MAX)?;
        let extra = take_bytes(&mut payload, EXTRA_BYTES_MAX)?;
        let terms = Terms {
            body_bytes_max: payload.try_get_u32().ok()?,
            exchanges_max: payload.try_get_u32().ok()?,
            window_items: payload.try_get_u32().ok()?,
            window_bytes: payload.try_get_u32().ok()?,
        };
        let hello = Hello { datacenter, node_id, node, is_server, extra };
        Some(Self { hello, lane, terms: terms.clamped() })
    }
}

fn put_text(out: &mut BytesMut, text: &[u8], bytes_max: usize) -> Result<(), Fault> {
    if text.len() > bytes_max {
        return Err(Fault::TooLarge { bytes: text.len() as u64, bytes_max: bytes_max as u64 });
    }
    out.put_u16(u16::try_from(text.len()).expect("the limits of a hello fit"));
    out.extend_from_slice(text);
    Ok(())
}

fn take_bytes(payload: &mut Bytes, bytes_max: usize) -> Option<Bytes> {
    let length = usize::from(payload.try_get_u16().ok()?);
    let is_there = length <= bytes_max && length <= payload.len();
    is_there.then(|| payload.split_to(length))
}

fn take_text(payload: &mut Bytes, bytes_max: usize) -> Option<String> {
    String::from_utf8(take_bytes(payload, bytes_max)?.into()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::Limits;

    fn greeting() -> Greeting {
        let hello = Hello {
            datacenter: "dc1".to_owned(),
            node_id: 7,
            node: "n1".to_owned(),
            is_server: true,
            extra: Bytes::from_static(b"more"),
        };
        Greeting { hello, lane: Lane::Log, terms: Limits::default().terms() }
    }

    proptest! {
        #[test]
        fn no_greeting_panics(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Greeting::decode(payload.into());
        }
    }

    #[test]
    fn a_greeting_is_read_as_it_was_written_and_later_fields_are_skipped() {
        let mut payload = BytesMut::from(&greeting().encode().expect("short")[..]);
        payload.extend_from_slice(b"a field of a later version");
        assert_eq!(Greeting::decode(payload.freeze()), Some(greeting()));
    }

    #[test]
    fn a_greeting_that_is_cut_is_none() {
        let payload = greeting().encode().expect("short");
        for length in 0..payload.len() {
            assert_eq!(Greeting::decode(payload.slice(..length)), None);
        }
    }

    #[test]
    fn a_name_over_the_limit_is_not_sent() {
        let mut long = greeting();
        long.hello.node = "n".repeat(256);
        assert_eq!(long.encode(), Err(Fault::TooLarge { bytes: 256, bytes_max: 255 }));
    }

    #[test]
    fn the_highest_common_version_is_taken() {
        let of = |min, max| Versions { min, max };
        assert_eq!(of(1, 3).common(of(2, 5)), Some(3));
        assert_eq!(of(2, 5).common(of(1, 3)), Some(3));
        assert_eq!(of(1, 1).common(of(2, 3)), None);
    }
}
