//! Who votes, and how that is written into the log and into snapshots.

use std::time::Duration;

use minicbor::{Decode, Encode};

/// A server of the Raft group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash, Encode, Decode)]
pub struct Voter {
    /// Its number, unique and never used again.
    #[n(0)]
    pub id: u64,
    /// Where its peers reach it.
    #[n(1)]
    pub address: String,
}

/// A server of the group, with what its leader knows of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Server {
    /// Who it is.
    pub voter: Voter,
    /// Whether its vote counts; else it follows only.
    pub is_voter: bool,
    /// Whether it leads.
    pub is_leader: bool,
    /// The last index it is known to have on disk.
    pub last: Option<u64>,
    /// The term of that entry.
    pub last_term: Option<u64>,
    /// How long ago it answered a heartbeat; zero for this server itself.
    pub heard_ago: Option<Duration>,
}

/// Most sets of voters that can hold at once (two while the voters change).
const SETS_MAX: u32 = 8;
/// Most servers of a group.
const SERVERS_MAX: u32 = 1024;
/// Longest address.
const ADDRESS_BYTES_MAX: u32 = 1024;

/// The sets whose majorities decide, and the addresses of everybody in them and of learners.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub(crate) struct Roster {
    #[n(0)]
    pub(crate) sets: Vec<Vec<u64>>,
    #[n(1)]
    pub(crate) servers: Vec<Voter>,
}

impl Roster {
    /// Whether a server is the only one that votes.
    pub(crate) fn is_alone(&self, id: u64) -> bool {
        !self.sets.is_empty() && self.sets.iter().all(|set| **set == [id])
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let count =
            |bytes: &mut Vec<u8>, n: usize| bytes.extend_from_slice(&(n as u32).to_le_bytes());
        count(&mut bytes, self.sets.len());
        for set in &self.sets {
            count(&mut bytes, set.len());
            for id in set {
                bytes.extend_from_slice(&id.to_le_bytes());
            }
        }
        count(&mut bytes, self.servers.len());
        for server in &self.servers {
            bytes.extend_from_slice(&server.id.to_le_bytes());
            count(&mut bytes, server.address.len());
            bytes.extend_from_slice(server.address.as_bytes());
        }
        bytes
    }

    pub(crate) fn parse(mut bytes: &[u8]) -> Option<Roster> {
        let mut roster = Roster::default();
        for _ in 0..count(&mut bytes, SETS_MAX)? {
            let n = count(&mut bytes, SERVERS_MAX)?;
            roster.sets.push((0..n).map(|_| long(&mut bytes)).collect::<Option<_>>()?);
        }
        for _ in 0..count(&mut bytes, SERVERS_MAX)? {
            let id = long(&mut bytes)?;
            let length = count(&mut bytes, ADDRESS_BYTES_MAX)? as usize;
            let (address, rest) = bytes.split_at_checked(length)?;
            bytes = rest;
            roster.servers.push(Voter { id, address: String::from_utf8(address.to_vec()).ok()? });
        }
        bytes.is_empty().then_some(roster)
    }
}

fn count(bytes: &mut &[u8], max: u32) -> Option<u32> {
    let (count, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u32::from_le_bytes(*count)).filter(|count| *count <= max)
}

fn long(bytes: &mut &[u8]) -> Option<u64> {
    let (long, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*long))
}
