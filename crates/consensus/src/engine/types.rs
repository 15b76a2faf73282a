//! What openraft carries here, and the two-way conversion between its words and ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;

use bytes::Bytes;
use openraft::entry::RaftEntry;
use openraft::impls::leader_id_std::LeaderId;
use openraft::vote::{RaftLeaderId, RaftVote};
use openraft::{EntryPayload, Membership, RaftTypeConfig, StoredMembership, alias};

use super::runtime::Runtime;
use crate::snapshot::Meta;
use crate::term_id::EntryId;
use crate::voters::{Roster, Voter};
use crate::wal;
use crate::wal::record::Kind;
use crate::wal::vote::Vote;

openraft::declare_raft_types!(
    /// Our choice among openraft's options: numbered servers, standard Raft terms, bytes inside.
    pub(crate) Types:
        D = Proposal,
        R = Reply,
        NodeId = u64,
        Node = Peer,
        LeaderId = LeaderId<u64, u64>,
        AsyncRuntime = Runtime,
);

pub(crate) type RaftEntryOf = <Types as RaftTypeConfig>::Entry;
pub(crate) type RaftVoteOf = <Types as RaftTypeConfig>::Vote;
pub(crate) type LogId = alias::LogIdOf<Types>;
pub(crate) type Stored = alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<Types>;

/// What an entry holds for us.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Proposal {
    /// Bytes for the machine.
    Command(Bytes),
    /// A step of replacing the whole state.
    Restore(Bytes),
}

/// What the machine made of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reply(pub(crate) Bytes);

/// How to reach a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) address: String,
}

impl Proposal {
    /// Bytes in it.
    pub(crate) fn len(&self) -> usize {
        match self {
            Proposal::Command(bytes) | Proposal::Restore(bytes) => bytes.len(),
        }
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Proposal::Command(bytes) => write!(f, "a command of {} bytes", bytes.len()),
            Proposal::Restore(bytes) => write!(f, "a step of a restore, {} bytes", bytes.len()),
        }
    }
}

// Contents are secrets of whoever wrote them; logs get sizes.
impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

pub(crate) fn to_log_id(id: EntryId) -> LogId {
    LogId::new(LeaderId::new(id.term, 0).to_committed(), id.index)
}

pub(crate) fn from_log_id(id: &LogId) -> EntryId {
    EntryId { term: id.committed_leader_id().term, index: id.index() }
}

pub(crate) fn to_vote(vote: Vote) -> RaftVoteOf {
    RaftVoteOf::from_leader_id(LeaderId::new(vote.term, vote.candidate), vote.is_committed)
}

pub(crate) fn from_vote(vote: &RaftVoteOf) -> Vote {
    let leader = vote.leader_id();
    Vote { term: leader.term, candidate: leader.voted_for, is_committed: vote.is_committed() }
}

/// As the log keeps it.
pub(crate) fn to_record(entry: RaftEntryOf) -> wal::Entry {
    let id = from_log_id(&entry.log_id());
    let (kind, payload) = match entry.payload {
        EntryPayload::Blank => (Kind::Blank, Bytes::new()),
        EntryPayload::Normal(Proposal::Command(bytes)) => (Kind::Command, bytes),
        EntryPayload::Normal(Proposal::Restore(bytes)) => (Kind::Restore, bytes),
        EntryPayload::Membership(voters) => (Kind::Voters, to_roster(&voters).encode().into()),
    };
    wal::Entry { id, kind, payload }
}

/// As openraft wants it back.
pub(crate) fn from_record(entry: wal::Entry) -> io::Result<RaftEntryOf> {
    let payload = match entry.kind {
        Kind::Blank => EntryPayload::Blank,
        Kind::Command => EntryPayload::Normal(Proposal::Command(entry.payload)),
        Kind::Restore => EntryPayload::Normal(Proposal::Restore(entry.payload)),
        Kind::Voters => {
            let roster = Roster::parse(&entry.payload).ok_or_else(|| {
                io::Error::other(format!("entry {} names voters in an unknown form", entry.id))
            })?;
            EntryPayload::Membership(to_membership(&roster)?)
        }
        Kind::Truncate | Kind::Purge | Kind::Seal | Kind::Close => {
            return Err(io::Error::other(format!("entry {} is a note of the log", entry.id)));
        }
    };
    Ok(RaftEntryOf::new(to_log_id(entry.id), payload))
}

pub(crate) fn to_roster(voters: &Membership<u64, Peer>) -> Roster {
    Roster {
        sets: voters.get_joint_config().iter().map(|set| set.iter().copied().collect()).collect(),
        servers: voters
            .nodes()
            .map(|(id, peer)| Voter { id: *id, address: peer.address.clone() })
            .collect(),
    }
}

pub(crate) fn to_membership(roster: &Roster) -> io::Result<Membership<u64, Peer>> {
    if roster.sets.is_empty() {
        return Ok(Membership::default());
    }
    let sets: Vec<BTreeSet<u64>> =
        roster.sets.iter().map(|set| set.iter().copied().collect()).collect();
    let peers: BTreeMap<u64, Peer> =
        roster.servers.iter().map(|s| (s.id, Peer { address: s.address.clone() })).collect();
    Membership::new(sets, peers).map_err(|error| io::Error::other(error.to_string()))
}

pub(crate) fn to_stored(meta: &Meta) -> io::Result<Stored> {
    Ok(StoredMembership::new(meta.roster_id.map(to_log_id), to_membership(&meta.roster)?))
}

pub(crate) fn to_snapshot_meta(meta: &Meta) -> io::Result<SnapshotMeta> {
    Ok(SnapshotMeta { last_log_id: meta.last.map(to_log_id), last_membership: to_stored(meta)? })
}

pub(crate) fn from_snapshot_meta(meta: &SnapshotMeta) -> Meta {
    Meta {
        last: meta.last_log_id.as_ref().map(from_log_id),
        roster_id: meta.last_membership.log_id().as_ref().map(from_log_id),
        roster: to_roster(meta.last_membership.membership()),
    }
}
