//! What servers of a group say to each other, as bytes.
//!
//! Numbers are never used again for something else, so that servers of two versions understand
//! each other during an upgrade. What does not parse is refused with a sentence; it never reaches
//! the engine.

use std::io;

use bytes::Bytes;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};

use super::types::{
    RaftEntryOf, Types, from_log_id, from_record, from_vote, to_log_id, to_record, to_vote,
};
use crate::snapshot::Meta;
use crate::term_id::EntryId;
use crate::wal;
use crate::wal::record::Kind;
use crate::wal::vote::Vote;

/// What one server says to another.
#[derive(Debug, Encode, Decode)]
pub(crate) enum Message {
    /// Asks for a vote.
    #[n(0)]
    Vote(#[n(0)] VoteAsk),
    /// Asks whether a vote would be given.
    #[n(1)]
    PreVote(#[n(0)] VoteAsk),
    /// Brings entries, or none: a heartbeat.
    #[n(2)]
    Append(#[n(0)] AppendAsk),
    /// Hands the leadership over.
    #[n(3)]
    Transfer(#[n(0)] TransferAsk),
    /// Opens a line of appends.
    #[n(4)]
    Appends,
    /// Opens a line that brings a snapshot: blocks follow.
    #[n(5)]
    Snapshot(#[n(0)] SnapshotAsk),
    /// Asks the leader for an index to read at.
    #[n(6)]
    Confirm,
    /// Asks the leader to propose a command.
    #[n(7)]
    Propose(#[n(0)] ByteVec),
    /// Asks the leader to propose a step of a restore.
    #[n(8)]
    Restore(#[n(0)] ByteVec),
    /// Asks where the other stands, before a group is founded.
    #[n(9)]
    Standing,
}

#[derive(Debug, Encode, Decode)]
pub(crate) struct VoteAsk {
    #[n(0)]
    vote: Vote,
    #[n(1)]
    last: Option<EntryId>,
    #[n(2)]
    is_transfer: bool,
}

#[derive(Debug, Encode, Decode)]
pub(crate) struct VoteAnswer {
    #[n(0)]
    vote: Vote,
    #[n(1)]
    is_granted: bool,
    #[n(2)]
    last: Option<EntryId>,
}

#[derive(Debug, Encode, Decode)]
pub(crate) struct AppendAsk {
    #[n(0)]
    vote: Vote,
    #[n(1)]
    previous: Option<EntryId>,
    #[n(2)]
    committed: Option<EntryId>,
    #[n(3)]
    entries: Vec<EntryBody>,
}

#[derive(Debug, Encode, Decode)]
struct EntryBody {
    #[n(0)]
    id: EntryId,
    #[n(1)]
    kind: u8,
    #[n(2)]
    payload: ByteVec,
}

#[derive(Debug, Encode, Decode)]
pub(crate) enum AppendAnswer {
    #[n(0)]
    Taken,
    #[n(1)]
    TakenUpTo(#[n(0)] Option<EntryId>),
    #[n(2)]
    Conflict(#[n(0)] Option<EntryId>),
    #[n(3)]
    HigherVote(#[n(0)] Vote),
}

#[derive(Debug, Encode, Decode)]
pub(crate) struct TransferAsk {
    #[n(0)]
    from: Vote,
    #[n(1)]
    to: u64,
    #[n(2)]
    last: Option<EntryId>,
}

#[derive(Debug, Encode, Decode)]
pub(crate) struct SnapshotAsk {
    #[n(0)]
    pub(crate) vote: Vote,
    #[n(1)]
    pub(crate) meta: Meta,
}

/// Where a server stands before a group is founded.
#[derive(Debug, Encode, Decode)]
pub(crate) struct StandingAnswer {
    /// Whether it belongs to a group already.
    #[n(0)]
    pub(crate) is_member: bool,
}

pub(crate) fn encode(value: &impl Encode<()>) -> Bytes {
    let mut out = Vec::with_capacity(128);
    minicbor::encode(value, &mut out).expect("writing to a Vec cannot fail");
    out.into()
}

/// Reads what [`encode`] wrote.
pub(crate) fn decode<T: for<'b> Decode<'b, ()>>(bytes: &[u8]) -> io::Result<T> {
    minicbor::decode(bytes).map_err(|error| {
        let why = format!("a message of the group cannot be read: {error}");
        io::Error::new(io::ErrorKind::InvalidData, why)
    })
}

// ---------------------------------------------------------------- to and from openraft

impl VoteAsk {
    pub(crate) fn new(ask: &VoteRequest<Types>) -> Self {
        VoteAsk {
            vote: from_vote(&ask.vote),
            last: ask.last_log_id.as_ref().map(from_log_id),
            is_transfer: ask.leadership_transfer,
        }
    }

    pub(crate) fn into_raft(self) -> VoteRequest<Types> {
        VoteRequest {
            vote: to_vote(self.vote),
            last_log_id: self.last.map(to_log_id),
            leadership_transfer: self.is_transfer,
        }
    }
}

impl VoteAnswer {
    pub(crate) fn new(answer: &VoteResponse<Types>) -> Self {
        VoteAnswer {
            vote: from_vote(&answer.vote),
            is_granted: answer.vote_granted,
            last: answer.last_log_id.as_ref().map(from_log_id),
        }
    }

    pub(crate) fn into_raft(self) -> VoteResponse<Types> {
        VoteResponse {
            vote: to_vote(self.vote),
            vote_granted: self.is_granted,
            last_log_id: self.last.map(to_log_id),
        }
    }
}

impl AppendAsk {
    pub(crate) fn new(ask: AppendEntriesRequest<Types>) -> Self {
        AppendAsk {
            vote: from_vote(&ask.vote),
            previous: ask.prev_log_id.as_ref().map(from_log_id),
            committed: ask.leader_commit.as_ref().map(from_log_id),
            entries: ask.entries.into_iter().map(EntryBody::new).collect(),
        }
    }

    pub(crate) fn into_raft(self) -> io::Result<AppendEntriesRequest<Types>> {
        Ok(AppendEntriesRequest {
            vote: to_vote(self.vote),
            prev_log_id: self.previous.map(to_log_id),
            leader_commit: self.committed.map(to_log_id),
            entries: self
                .entries
                .into_iter()
                .map(EntryBody::into_raft)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl EntryBody {
    fn new(entry: RaftEntryOf) -> Self {
        let wal::Entry { id, kind, payload } = to_record(entry);
        EntryBody { id, kind: kind as u8, payload: Vec::from(payload).into() }
    }

    fn into_raft(self) -> io::Result<RaftEntryOf> {
        let kind = Kind::parse(self.kind).ok_or_else(|| {
            io::Error::other(format!("entry {} is of the unknown kind {}", self.id, self.kind))
        })?;
        from_record(wal::Entry { id: self.id, kind, payload: Vec::from(self.payload).into() })
    }
}

impl AppendAnswer {
    pub(crate) fn new(answer: &AppendEntriesResponse<Types>) -> Self {
        match answer {
            AppendEntriesResponse::Success => AppendAnswer::Taken,
            AppendEntriesResponse::PartialSuccess(id) => {
                AppendAnswer::TakenUpTo(id.as_ref().map(from_log_id))
            }
            AppendEntriesResponse::Conflict => AppendAnswer::Conflict(None),
            AppendEntriesResponse::HigherVote(vote) => AppendAnswer::HigherVote(from_vote(vote)),
        }
    }

    pub(crate) fn into_raft(self) -> AppendEntriesResponse<Types> {
        match self {
            AppendAnswer::Taken => AppendEntriesResponse::Success,
            AppendAnswer::TakenUpTo(id) => AppendEntriesResponse::PartialSuccess(id.map(to_log_id)),
            AppendAnswer::Conflict(_) => AppendEntriesResponse::Conflict,
            AppendAnswer::HigherVote(vote) => AppendEntriesResponse::HigherVote(to_vote(vote)),
        }
    }

    pub(crate) fn of_stream(result: &openraft::raft::StreamAppendResult<Types>) -> Self {
        match result {
            Ok(id) => AppendAnswer::TakenUpTo(id.as_ref().map(from_log_id)),
            Err(StreamAppendError::Conflict(id)) => AppendAnswer::Conflict(Some(from_log_id(id))),
            Err(StreamAppendError::HigherVote(vote)) => AppendAnswer::HigherVote(from_vote(vote)),
        }
    }

    /// Nothing where the answer makes no sense on a line of appends.
    pub(crate) fn into_stream(self) -> Option<openraft::raft::StreamAppendResult<Types>> {
        Some(match self {
            AppendAnswer::TakenUpTo(id) => Ok(id.map(to_log_id)),
            AppendAnswer::Conflict(Some(id)) => Err(StreamAppendError::Conflict(to_log_id(id))),
            AppendAnswer::HigherVote(vote) => Err(StreamAppendError::HigherVote(to_vote(vote))),
            AppendAnswer::Taken | AppendAnswer::Conflict(None) => return None,
        })
    }
}

impl TransferAsk {
    pub(crate) fn new(ask: &TransferLeaderRequest<Types>) -> Self {
        TransferAsk {
            from: from_vote(ask.from_leader()),
            to: *ask.to_node_id(),
            last: ask.last_log_id().map(from_log_id),
        }
    }

    pub(crate) fn into_raft(self) -> TransferLeaderRequest<Types> {
        TransferLeaderRequest::new(to_vote(self.from), self.to, self.last.map(to_log_id))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let vote = Vote { term: 3, candidate: 9, is_committed: true };
        let entry = EntryBody {
            id: EntryId { term: 3, index: 7 },
            kind: Kind::Command as u8,
            payload: vec![1, 2, 3].into(),
        };
        let ask = AppendAsk { vote, previous: None, committed: None, entries: vec![entry] };
        let Message::Append(read) = decode(&encode(&Message::Append(ask))).expect("it is whole")
        else {
            panic!("another message was read");
        };
        let request = read.into_raft().expect("its kinds are known");
        assert_eq!(request.entries.len(), 1);
        assert_eq!(from_log_id(&request.entries[0].log_id).index, 7);
    }

    #[test]
    fn an_entry_of_an_unknown_kind_is_refused() {
        let id = EntryId { term: 1, index: 2 };
        let entry = EntryBody { id, kind: 99, payload: Vec::new().into() };
        let refused = entry.into_raft().expect_err("99 is no kind");
        assert_eq!(refused.to_string(), "entry 2 of term 1 is of the unknown kind 99");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Message::Append(ask)) = decode::<Message>(&bytes) {
                let _ = ask.into_raft();
            }
            let _ = decode::<AppendAsk>(&bytes);
            let _ = decode::<AppendAnswer>(&bytes);
            let _ = decode::<VoteAnswer>(&bytes);
        }
    }
}
