//! Backup: the whole state as one file that a person can keep.
//!
//! ```text
//! magic (16 bytes)  block (header)  block (state) ...  empty block
//! block = length u32, crc32c of the bytes u32, bytes; numbers are little-endian
//! ```
//! The header tells what is inside. The empty block at the end tells a whole file from one that was
//! cut. A restore reads and checks everything before it touches anything.

use std::io::{self, Read};

use bytes::Bytes;
use minicbor::{Decode, Encode};
use muster_consensus::RestoreError;
use muster_model::{Index, Text};
use muster_registry::operator::Saved;
use muster_registry::{Call, Freshness, Refusal};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::agent::Agent;
use crate::registry::refuse;

const MAGIC: &[u8; 16] = b"MUSTER SNAPSHOT\x01";
/// Longest block that is read.
const BLOCK_BYTES_MAX: usize = 8 << 20;
/// Longest file that is restored.
pub const BACKUP_BYTES_MAX: usize = 4 << 30;
/// Blocks that wait for a slow reader.
const BLOCKS_WAITING_MAX: usize = 4;

/// What a backup says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Header {
    /// The index the state stands at.
    #[n(0)]
    pub index: Index,
    /// The term of the leader then.
    #[n(1)]
    pub term: u64,
    /// Seconds since 1970.
    #[n(2)]
    pub saved_at: u64,
    /// The datacenter it was saved in.
    #[n(3)]
    pub datacenter: Text,
    /// The version of muster that saved it.
    #[n(4)]
    pub version: Text,
    /// How many objects there are of which kind.
    #[n(5)]
    pub counts: Vec<(Text, u64)>,
}

impl Agent {
    pub(crate) async fn save_state(
        &self,
        call: &Call,
        freshness: Freshness,
    ) -> Result<Saved, Refusal> {
        if freshness != Freshness::Stale {
            self.catch_up(call).await?;
        }
        let state = self.shared.state.load_full();
        let index = state.index();
        let header = self.describe(&state);
        let (sender, blocks) = mpsc::channel(BLOCKS_WAITING_MAX);
        self.world.start_blocking(Box::new(move || {
            for piece in pieces(&header, state.save()) {
                if sender.blocking_send(Ok(piece)).is_err() {
                    return;
                }
            }
        }));
        Ok(Saved { index, standing: self.standing(freshness), blocks })
    }

    pub(crate) async fn restore_state(
        &self,
        call: &Call,
        mut blocks: mpsc::Receiver<Result<Bytes, io::Error>>,
    ) -> Result<(), Refusal> {
        let mut file = Vec::new();
        while let Some(piece) = blocks.recv().await {
            let piece = piece.map_err(|error| Refusal::Invalid(error.to_string()))?;
            if file.len() + piece.len() > BACKUP_BYTES_MAX {
                let n_bytes = file.len() + piece.len();
                return Err(Refusal::TooLarge {
                    what: "the snapshot",
                    n_bytes,
                    n_bytes_max: BACKUP_BYTES_MAX,
                });
            }
            file.extend_from_slice(&piece);
        }
        let checked = muster_world::blocking(&*self.world, move || check(&file)).await;
        let state = checked
            .ok_or(Refusal::Stopping)?
            .map_err(|error| Refusal::Invalid(format!("snapshot refused: {error}")))?;
        let deadline = self.deadline(call).max(Instant::now() + RESTORE_TIMEOUT);
        match self.consensus.restore(&mut state.as_slice(), deadline).await {
            Ok(_) => Ok(()),
            Err(RestoreError::Propose(error)) => Err(refuse(error)),
            Err(RestoreError::Refused(why)) => Err(Refusal::Invalid(why)),
        }
    }

    fn describe(&self, state: &muster_state::State) -> Header {
        let usage = state.usage();
        Header {
            index: state.index(),
            term: self.consensus.stats().term,
            saved_at: self.world.wall_clock().as_secs(),
            datacenter: self.setup.identity.datacenter.clone(),
            version: self.setup.identity.version.into(),
            counts: vec![
                ("nodes".into(), usage.n_nodes),
                ("services".into(), usage.n_services),
                ("instances".into(), usage.n_instances),
                ("checks".into(), usage.n_checks),
                ("pairs".into(), usage.n_pairs),
                ("sessions".into(), usage.n_sessions),
            ],
        }
    }
}

/// A backup as it is written, piece by piece.
pub fn pieces(header: &Header, state: impl Iterator<Item = Bytes>) -> impl Iterator<Item = Bytes> {
    let mut first = MAGIC.to_vec();
    first.extend_from_slice(&block(&muster_model::encode(header)));
    let state = state.filter(|bytes| !bytes.is_empty()).map(|bytes| block(&bytes));
    std::iter::once(Bytes::from(first)).chain(state).chain([block(&[])])
}

/// How long a restore may take at least: its blocks travel through the log.
const RESTORE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(300);

fn block(bytes: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(8 + bytes.len());
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
    out.extend_from_slice(bytes);
    out.into()
}

/// Reads what a backup says of itself, and checks the whole file.
///
/// # Errors
/// Says where the file is not what was saved.
pub fn inspect(file: &mut impl Read) -> io::Result<Header> {
    let (header, _) = read(file, |_| {})?;
    Ok(header)
}

/// Checks a whole file and gives the state in the form in which consensus carries it.
fn check(file: &[u8]) -> io::Result<Vec<u8>> {
    let mut state = Vec::with_capacity(file.len());
    read(&mut &*file, |bytes| crate::machine::frame(bytes, &mut state))?;
    crate::machine::thaw(&mut state.as_slice())?;
    Ok(state)
}

fn read(file: &mut impl Read, mut each: impl FnMut(&[u8])) -> io::Result<(Header, u64)> {
    let mut magic = [0; MAGIC.len()];
    let not_ours = |_| invalid("this is not a snapshot of muster".to_string());
    file.read_exact(&mut magic).map_err(not_ours)?;
    if magic != *MAGIC {
        return Err(not_ours(io::ErrorKind::InvalidData.into()));
    }
    let mut offset = MAGIC.len() as u64;
    let header = read_block(file, &mut offset)?;
    let header = muster_model::decode(&header).map_err(|error| invalid(error.to_string()))?;
    loop {
        let bytes = read_block(file, &mut offset)?;
        if bytes.is_empty() {
            return Ok((header, offset));
        }
        each(&bytes);
    }
}

fn read_block(file: &mut impl Read, offset: &mut u64) -> io::Result<Vec<u8>> {
    let at = *offset;
    let damaged = |what: &str| invalid(format!("damaged at byte {at}: {what}"));
    let mut head = [0; 8];
    file.read_exact(&mut head).map_err(|_| damaged("the file ends before its end mark"))?;
    let [a, b, c, d, e, f, g, h] = head;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    if length > BLOCK_BYTES_MAX {
        return Err(damaged("a block is longer than any that is written"));
    }
    let mut bytes = vec![0; length];
    file.read_exact(&mut bytes).map_err(|_| damaged("the file ends inside a block"))?;
    if crc32c::crc32c(&bytes) != u32::from_le_bytes([e, f, g, h]) {
        return Err(damaged("the checksum of a block does not fit"));
    }
    *offset += (head.len() + length) as u64;
    Ok(bytes)
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let header = Header { index: 7, datacenter: "dc1".into(), ..Header::default() };
        pieces(&header, [Bytes::from_static(b"state")].into_iter()).flatten().collect()
    }

    #[test]
    fn a_whole_file_tells_what_is_inside() {
        assert_eq!(inspect(&mut file().as_slice()).unwrap().index, 7);
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let file = file();
        for length in 0..file.len() {
            assert!(inspect(&mut &file[..length]).is_err(), "cut to {length} bytes");
        }
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let whole = file();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(inspect(&mut flipped.as_slice()).is_err(), "bit {bit}");
        }
    }
}
