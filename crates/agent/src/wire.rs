//! What agents say to each other over the internal protocol: the methods, and the bodies of those
//! that carry the verbs of the door.
//!
//! Bodies have the binary form of the log: numbered fields, so that agents of different versions
//! understand each other. A refusal is an answer like any other and travels as a value; faults of
//! the protocol itself are about connections only.
//!
//! Not here: what servers say among themselves, whose methods lie below [`SUBMIT`].

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use minicbor::{Decode, Decoder, Encode};
use muster_model::answer::{Answer, EncodingKey};
use muster_model::scope::Change;
use muster_model::{Command, Index, LeaseId, Outcome, Query, Scope, Text};
use muster_registry::{Answered, Call, Caller, Committed, Freshness, Refusal, Standing};
use tokio::time::Instant;

/// A command: [`Submit`], answered by a [`Committed`] or a refusal.
pub const SUBMIT: u16 = 10;
/// A query: [`Ask`], answered as [`pack_answer`] has it.
pub const ASK: u16 = 11;
/// The same query where its answer is long: an exchange whose items, put together, are the answer.
pub const ASK_IN_PIECES: u16 = 12;
/// A renewal: [`Renew`], answered by nothing or a refusal.
pub const RENEW: u16 = 13;
/// What changes: an exchange that begins with [`Follow`], of [`Wanted`] one way and [`News`] the
/// other.
pub const CHANGES: u16 = 14;
/// From here on: what operators want of a server (`operate`).
pub const OPERATOR_METHODS: u16 = 32;

/// What a request has beside its command, at most.
pub const ENVELOPE_BYTES_MAX: usize = 64 << 10;
/// Bytes of an answer that is sent as one; longer ones go in pieces, on a connection of their own.
pub const ANSWER_AT_ONCE_BYTES_MAX: usize = 1 << 20;
/// Bytes of an answer that is sent at all.
pub const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Bytes of a piece.
pub const PIECE_BYTES: usize = 256 << 10;
/// Scopes in one [`Wanted::More`].
pub const SCOPES_AT_ONCE_MAX: usize = 1_024;

// ------------------------------------------------------------------------------------------------
// Verbs
// ------------------------------------------------------------------------------------------------

/// Who asks, and which datacenter shall answer. The deadline travels with the call itself.
#[derive(Clone, Default, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Asker {
    #[n(0)]
    token: Text,
    /// Nothing: the one that is asked.
    #[n(1)]
    pub(crate) datacenter: Option<Text>,
}

impl Asker {
    /// Whoever makes a call.
    pub fn of(call: &Call) -> Asker {
        let token = call.caller.token.reveal().clone();
        Asker { token, datacenter: call.datacenter.clone() }
    }

    /// The call as it is made where it has arrived.
    pub fn call(&self, deadline: Instant) -> Call {
        let caller = Caller { token: self.token.clone().into() };
        Call { caller, datacenter: self.datacenter.clone(), deadline: Some(deadline) }
    }
}

impl std::fmt::Debug for Asker {
    /// Never shows the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asker").field("datacenter", &self.datacenter).finish_non_exhaustive()
    }
}

/// A command.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Submit {
    /// Who submits it.
    #[n(0)]
    pub asker: Asker,
    /// The command.
    #[n(1)]
    pub command: Command,
}

/// A query.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Ask {
    /// Who asks.
    #[n(0)]
    pub asker: Asker,
    /// The query.
    #[n(1)]
    pub query: Query,
    /// How fresh the answer has to be.
    #[cbor(n(2), with = "freshness")]
    pub freshness: Freshness,
    /// The index that a stale answer should have reached: the asker has seen it elsewhere.
    #[n(3)]
    pub not_before: Index,
}

/// A renewal.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Renew {
    /// Who renews.
    #[n(0)]
    pub asker: Asker,
    /// What it keeps alive.
    #[n(1)]
    pub lease: LeaseId,
}

/// The beginning of a stream of changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Follow {
    /// Who follows.
    #[n(0)]
    pub asker: Asker,
}

/// What the reader of changes wants.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Wanted {
    /// More scopes, at most [`SCOPES_AT_ONCE_MAX`]; the reader knows them up to an index.
    #[n(0)]
    More {
        /// Comes back in [`News::Settled`].
        #[n(0)]
        number: u64,
        /// Up to where the reader knows them.
        #[n(1)]
        since: Index,
        /// The scopes.
        #[n(2)]
        scopes: Vec<Scope>,
    },
    /// These no longer.
    #[n(1)]
    Less(#[n(0)] Vec<Scope>),
}

/// What the reader of changes is told.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum News {
    /// Everything up to an index was told. Comes first, and then again and again.
    #[n(0)]
    Still {
        /// The index.
        #[n(0)]
        index: Index,
        /// How the server stands.
        #[cbor(n(1), with = "standing")]
        standing: Standing,
        /// Raft's present term there.
        #[n(2)]
        term: u64,
    },
    /// What changed at an index. Of scopes that came late the index may be an earlier one.
    #[n(1)]
    Changed(#[n(0)] Index, #[n(1)] Vec<Change>),
    /// The scopes of that number are known from the index they were wanted from.
    #[n(2)]
    Settled(#[n(0)] u64),
    /// Changes are missing: everything may be another. What comes next is after this index.
    #[n(3)]
    Lost(#[n(0)] Index),
}

// ------------------------------------------------------------------------------------------------
// Answers
// ------------------------------------------------------------------------------------------------

/// What came of a command.
pub fn pack_committed(result: Result<Committed, Refusal>) -> Bytes {
    pack(result.map(|committed| (committed.index, committed.outcome)))
}

/// What [`pack_committed`] packed.
///
/// # Errors
/// The refusal that came, or [`Refusal::Internal`] for what cannot be read.
pub fn unpack_committed(bytes: &[u8]) -> Result<Committed, Refusal> {
    let (index, outcome) = unpack::<(Index, Outcome)>(bytes)?;
    Ok(Committed { index, outcome })
}

/// What came of a verb that answers nothing.
pub fn pack_done(result: Result<(), Refusal>) -> Bytes {
    pack(result)
}

/// What [`pack_done`] packed.
///
/// # Errors
/// Those of [`unpack_committed`].
pub fn unpack_done(bytes: &[u8]) -> Result<(), Refusal> {
    unpack::<()>(bytes)
}

/// What came of something else.
pub(crate) fn pack<T: Encode<()>>(result: Result<T, Refusal>) -> Bytes {
    muster_model::encode(&result.map_err(RefusalForm::from))
}

/// What [`pack`] packed.
pub(crate) fn unpack<T: for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Result<T, Refusal> {
    muster_model::decode::<Result<T, RefusalForm>>(bytes)
        .map_err(unreadable)?
        .map_err(RefusalForm::refusal)
}

/// What stands before the bytes of an answer.
#[derive(Clone, Debug, Encode, Decode)]
struct Head {
    #[n(0)]
    as_of: Index,
    #[cbor(n(1), with = "standing")]
    standing: Standing,
    /// Whether the answer is too long to follow: it has to be asked for in pieces.
    #[n(2)]
    is_elsewhere: bool,
}

/// An answer as it came.
#[derive(Clone, Debug)]
pub enum Unpacked {
    /// It is there, and had so many bytes.
    Answer(Answered, usize),
    /// It is long and has to be asked for in pieces.
    Elsewhere,
}

/// An answer with its head; the bytes of the answer itself are made once for all who ask. A long
/// one is only announced, unless `is_whole`.
pub fn pack_answer(result: Result<Answered, Refusal>, is_whole: bool) -> Bytes {
    let answered = match result {
        Ok(answered) => answered,
        Err(refusal) => {
            return muster_model::encode(&Err::<Head, _>(RefusalForm::from(refusal)));
        }
    };
    let key = EncodingKey { front: "wire", form: 0 };
    let body = answered.answer.encoded(key, muster_model::encode);
    if body.len() > ANSWER_BYTES_MAX {
        let (n_bytes, n_bytes_max) = (body.len(), ANSWER_BYTES_MAX);
        let refusal = Refusal::TooLarge { what: THE_ANSWER, n_bytes, n_bytes_max };
        return muster_model::encode(&Err::<Head, _>(RefusalForm::from(refusal)));
    }
    let is_elsewhere = !is_whole && body.len() > ANSWER_AT_ONCE_BYTES_MAX;
    let head = Head { as_of: answered.as_of, standing: answered.standing, is_elsewhere };
    let head = muster_model::encode(&Ok::<_, RefusalForm>(head));
    if is_elsewhere {
        return head;
    }
    let mut out = BytesMut::with_capacity(head.len() + body.len());
    out.extend_from_slice(&head);
    out.extend_from_slice(&body);
    out.freeze()
}

/// What [`pack_answer`] packed.
///
/// # Errors
/// Those of [`unpack_committed`].
pub fn unpack_answer(bytes: &[u8]) -> Result<Unpacked, Refusal> {
    let mut decoder = Decoder::new(bytes);
    let head: Result<Head, RefusalForm> = decoder.decode().map_err(unreadable)?;
    let head = head.map_err(RefusalForm::refusal)?;
    if head.is_elsewhere {
        return Ok(Unpacked::Elsewhere);
    }
    let body = &bytes[decoder.position()..];
    let answer = muster_model::decode::<Answer>(body).map_err(unreadable)?;
    let (as_of, standing) = (head.as_of.max(answer.index), head.standing);
    Ok(Unpacked::Answer(Answered { answer: answer.into(), as_of, standing }, body.len()))
}

/// Bytes that the other side sent and this version does not understand.
fn unreadable(error: impl std::fmt::Display) -> Refusal {
    Refusal::Internal(format!("what the other agent says is not understood: {error}"))
}

/// A duration that fits its field.
const DURATION_MAX: Duration = Duration::from_secs(u32::MAX as u64);

/// [`Freshness`] as a number.
pub(crate) mod freshness {
    use minicbor::decode::Error as DecodeError;
    use minicbor::encode::{Error as EncodeError, Write};
    use minicbor::{Decoder, Encoder};
    use muster_registry::Freshness;

    pub(crate) fn encode<C, W: Write>(
        freshness: &Freshness,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        let number = match freshness {
            Freshness::Default => 0,
            Freshness::Consistent => 1,
            Freshness::Stale => 2,
        };
        encoder.u8(number)?.ok()
    }

    pub(crate) fn decode<C>(
        decoder: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Freshness, DecodeError> {
        match decoder.u8()? {
            0 => Ok(Freshness::Default),
            1 => Ok(Freshness::Consistent),
            2 => Ok(Freshness::Stale),
            _ => Err(DecodeError::message("no freshness has this number")),
        }
    }
}

/// [`Standing`] as a list.
pub(crate) mod standing {
    use minicbor::decode::Error as DecodeError;
    use minicbor::encode::{Error as EncodeError, Write};
    use minicbor::{Decoder, Encoder};
    use muster_registry::Standing;

    use super::{DURATION_MAX, freshness};

    pub(crate) fn encode<C, W: Write>(
        standing: &Standing,
        encoder: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        encoder.array(3)?.bool(standing.knows_leader)?;
        encoder.encode(standing.last_contact.min(DURATION_MAX))?;
        freshness::encode(&standing.freshness, encoder, context)
    }

    pub(crate) fn decode<C>(
        decoder: &mut Decoder<'_>,
        context: &mut C,
    ) -> Result<Standing, DecodeError> {
        if decoder.array()? != Some(3) {
            return Err(DecodeError::message("a standing has three parts"));
        }
        let knows_leader = decoder.bool()?;
        let last_contact: std::time::Duration = decoder.decode()?;
        let freshness = freshness::decode(decoder, context)?;
        Ok(Standing { knows_leader, last_contact: last_contact.min(DURATION_MAX), freshness })
    }
}

// ------------------------------------------------------------------------------------------------
// Refusals
// ------------------------------------------------------------------------------------------------

const THE_ANSWER: &str = "the answer";

/// What may be too large, or too many, by the words that refusals have for it. Others arrive as
/// the first.
const SUBJECTS: [&str; 6] = [
    "the request",
    THE_ANSWER,
    "the command",
    "the snapshot",
    "writes are waiting",
    "requests are waiting",
];

/// A [`Refusal`] on its way to another agent.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum RefusalForm {
    #[n(0)]
    Invalid(#[n(0)] String),
    #[n(1)]
    Unknown(#[n(0)] String),
    #[n(2)]
    Forbidden(#[n(0)] String),
    #[n(3)]
    TooLarge(#[n(0)] String, #[n(1)] u64, #[n(2)] u64),
    #[n(4)]
    TooMany(#[n(0)] String),
    #[n(5)]
    NoDatacenter(#[n(0)] Text),
    #[n(6)]
    NoLeader,
    #[n(7)]
    Unwritable(#[n(0)] String),
    #[n(8)]
    Late,
    #[n(9)]
    Stopping,
    #[n(10)]
    Unsupported(#[n(0)] String),
    #[n(11)]
    Internal(#[n(0)] String),
    #[n(12)]
    Stalled(#[n(0)] String),
}

impl From<Refusal> for RefusalForm {
    fn from(refusal: Refusal) -> RefusalForm {
        match refusal {
            Refusal::Invalid(why) => RefusalForm::Invalid(why),
            Refusal::Unknown(why) => RefusalForm::Unknown(why),
            // The word before it is said again where it arrives.
            Refusal::Forbidden(why) => RefusalForm::Forbidden(why),
            Refusal::TooLarge { what, n_bytes, n_bytes_max } => {
                RefusalForm::TooLarge(what.to_owned(), n_bytes as u64, n_bytes_max as u64)
            }
            Refusal::TooMany(what) => RefusalForm::TooMany(what.to_owned()),
            Refusal::NoDatacenter(name) => RefusalForm::NoDatacenter(name),
            Refusal::NoLeader => RefusalForm::NoLeader,
            Refusal::Unwritable(why) => RefusalForm::Unwritable(why),
            Refusal::Stalled(why) => RefusalForm::Stalled(why),
            Refusal::Late => RefusalForm::Late,
            Refusal::Stopping => RefusalForm::Stopping,
            Refusal::Unsupported(why) => RefusalForm::Unsupported(why),
            Refusal::Internal(why) => RefusalForm::Internal(why),
        }
    }
}

impl RefusalForm {
    fn refusal(self) -> Refusal {
        let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        match self {
            RefusalForm::Invalid(why) => Refusal::Invalid(why),
            RefusalForm::Unknown(why) => Refusal::Unknown(why),
            RefusalForm::Forbidden(why) => Refusal::Forbidden(why),
            RefusalForm::TooLarge(what, n_bytes, n_bytes_max) => Refusal::TooLarge {
                what: subject(&what),
                n_bytes: number(n_bytes),
                n_bytes_max: number(n_bytes_max),
            },
            RefusalForm::TooMany(what) => Refusal::TooMany(subject(&what)),
            RefusalForm::NoDatacenter(name) => Refusal::NoDatacenter(name),
            RefusalForm::NoLeader => Refusal::NoLeader,
            RefusalForm::Unwritable(why) => Refusal::Unwritable(why),
            RefusalForm::Stalled(why) => Refusal::Stalled(why),
            RefusalForm::Late => Refusal::Late,
            RefusalForm::Stopping => Refusal::Stopping,
            RefusalForm::Unsupported(why) => Refusal::Unsupported(why),
            RefusalForm::Internal(why) => Refusal::Internal(why),
        }
    }
}

fn subject(what: &str) -> &'static str {
    SUBJECTS.into_iter().find(|own| *own == what).unwrap_or(SUBJECTS[0])
}

#[cfg(test)]
mod tests;
