//! A snapshot of the peers that are known, by which a restarted agent finds its pool again.

use std::net::SocketAddr;

use minicbor::{Decoder, Encoder};
use thiserror::Error;

use crate::limits::SNAPSHOT_PEERS_MAX;

const VERSION: u8 = 1;
const CHECKSUM: usize = 4;

/// Why a snapshot cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SnapshotError {
    /// Cut off or altered.
    #[error("the snapshot of known peers is damaged: remove it, and join by address")]
    Damaged,
    /// Of a later release.
    #[error("the snapshot of known peers is of a newer release: remove it, and join by address")]
    Newer,
}

/// The bytes that keep these peers; of more than [`SNAPSHOT_PEERS_MAX`] the first.
pub(crate) fn snapshot_of(peers: &[SocketAddr]) -> Vec<u8> {
    let peers = &peers[..peers.len().min(SNAPSHOT_PEERS_MAX)];
    let mut encoder = Encoder::new(vec![0; CHECKSUM]);
    let encoded = encoder
        .u8(VERSION)
        .and_then(|encoder| encoder.array(peers.len() as u64))
        .and_then(|encoder| peers.iter().try_fold(encoder, |encoder, peer| encoder.encode(peer)));
    encoded.expect("a vector takes all bytes");
    let mut bytes = encoder.into_writer();
    let checksum = crc32c::crc32c(&bytes[CHECKSUM..]);
    bytes[..CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The addresses to join that a snapshot keeps.
///
/// # Errors
/// If it is damaged or of a later release. An agent then joins by the addresses it was given.
pub fn peers_of(snapshot: &[u8]) -> Result<Vec<SocketAddr>, SnapshotError> {
    let (checksum, content) =
        snapshot.split_first_chunk::<CHECKSUM>().ok_or(SnapshotError::Damaged)?;
    if u32::from_le_bytes(*checksum) != crc32c::crc32c(content) {
        return Err(SnapshotError::Damaged);
    }
    let mut decoder = Decoder::new(content);
    if decoder.u8().map_err(|_| SnapshotError::Damaged)? > VERSION {
        return Err(SnapshotError::Newer);
    }
    let peers = decoder.array_iter::<SocketAddr>().map_err(|_| SnapshotError::Damaged)?;
    peers.take(SNAPSHOT_PEERS_MAX).collect::<Result<_, _>>().map_err(|_| SnapshotError::Damaged)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn peers_come_back_and_no_more_than_the_bound() {
        let peers: Vec<SocketAddr> = (0..2_000).map(|port| ([10, 0, 0, 1], port).into()).collect();
        let kept = peers_of(&snapshot_of(&peers)).unwrap();
        assert_eq!(kept, peers[..SNAPSHOT_PEERS_MAX]);
        assert_eq!(peers_of(&snapshot_of(&[])), Ok(Vec::new()));
    }

    #[test]
    fn damage_is_found() {
        let whole = snapshot_of(&[([10, 0, 0, 1], 8301).into()]);
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert_eq!(peers_of(&damaged), Err(SnapshotError::Damaged));
            assert_eq!(peers_of(&whole[..at]), Err(SnapshotError::Damaged));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(content in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut bytes = crc32c::crc32c(&content).to_le_bytes().to_vec();
            bytes.extend_from_slice(&content);
            let _ = peers_of(&bytes);
        }
    }
}
