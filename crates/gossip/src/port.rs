//! What goes into a pool and what comes out of it: the whole of its dealings with the world.

use std::net::SocketAddr;

use crate::event::Event;
use crate::keyring::Key;
use crate::member::{Member, Name};
use crate::moment::Moment;
use crate::question::KeyringAnswer;
use crate::refused::RefusedInput;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// Time passed: [`crate::Pool::next_deadline`] has come, or not yet.
    Time,
    /// A datagram arrived.
    Packet {
        /// Who sent it.
        from: SocketAddr,
        /// All of it.
        bytes: &'a [u8],
    },
    /// Another member opened a stream and sent its side of an exchange. The answer is an
    /// [`Output::Answer`] of the same call, to be sent before the stream is closed; there is none
    /// once this member has left.
    ExchangeAsked {
        /// Who opened it.
        from: SocketAddr,
        /// How the driver knows the stream.
        stream: u64,
        /// All that was sent.
        bytes: &'a [u8],
    },
    /// The answer to an [`Output::Exchange`] arrived.
    ExchangeAnswered {
        /// Which exchange.
        exchange: u64,
        /// All that was answered.
        bytes: &'a [u8],
    },
    /// An [`Output::Exchange`] did not come about.
    ExchangeFailed {
        /// Which exchange.
        exchange: u64,
        /// Why, for who asked for it.
        reason: &'a str,
    },
}

/// Something that is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send a datagram.
    Packet {
        /// To whom.
        to: SocketAddr,
        /// All of it, at most [`crate::limits::PACKET_BYTES_MAX`].
        bytes: Vec<u8>,
    },
    /// Open a stream, send these bytes, and give back what is answered, as
    /// [`Input::ExchangeAnswered`] or [`Input::ExchangeFailed`].
    Exchange {
        /// How the pool knows the exchange.
        exchange: u64,
        /// To whom.
        to: SocketAddr,
        /// All of this side, at most [`crate::limits::EXCHANGE_BYTES_MAX`]; so is the answer.
        bytes: Vec<u8>,
    },
    /// Answer on the stream of an [`Input::ExchangeAsked`] and close it.
    Answer {
        /// How the driver knows the stream.
        stream: u64,
        /// All of the answer.
        bytes: Vec<u8>,
    },
    /// Something that the agent should know.
    Notice(Notice),
}

/// Something that the agent should know.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A member is there that was not, or not any more.
    Joined(Member),
    /// A member changed its tags, its id or its address, or is leaving.
    Updated(Member),
    /// A member did not answer; it may still refute.
    Suspected(Member),
    /// A suspected member refuted.
    Refuted(Member),
    /// A member did not refute.
    Failed(Member),
    /// A member left, or an operator said so.
    Left(Member),
    /// A member that failed or left is forgotten.
    Reaped(Member),
    /// An event was fired, here or anywhere.
    Event(Event),
    /// A join is over.
    JoinFinished(JoinResult),
    /// All have heard that this member left: the process may end.
    LeaveFinished,
    /// A name is claimed from two addresses. Told once for each pair.
    Conflict(Conflict),
    /// The keyring changed: these are the keys now, the one in use first. They should be kept.
    KeyringChanged(Vec<Key>),
    /// A question about the keyring is over.
    KeyringAnswered(KeyringResult),
    /// The wall clock of a member went far off. Told at most once a minute.
    ClockOff(ClockOff),
    /// Wrong input arrived. Told at most once a minute for each kind.
    Refused(RefusedInput),
    /// This pool is at a limit; what it is, and what to do.
    AtLimit(&'static str),
}

/// What became of a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinResult {
    /// The token that the join was given.
    pub token: u64,
    /// How many of the addresses answered.
    pub n_joined: usize,
    /// The others, and why not.
    pub failures: Vec<(SocketAddr, String)>,
}

/// A member whose wall clock is far from this one's. It stays a member: only who joins is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockOff {
    /// Who.
    pub name: Name,
    /// By how many seconds it is ahead of this member's; behind, if negative.
    pub ahead_s: i64,
}

/// A name that is claimed from two addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The name.
    pub name: Name,
    /// Who has it.
    pub holder: SocketAddr,
    /// Who wants it, and is not let in under it.
    pub claimant: SocketAddr,
    /// Whether this member is the claimant: it should be given another name, or its forerunner be
    /// stopped.
    pub is_refused_here: bool,
}

/// What the members answered to a wish about the keyring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyringResult {
    /// The token that the wish was given.
    pub token: u64,
    /// How many members were asked, this one included.
    pub n_asked: usize,
    /// What they answered, by name. Who is missing did not answer in time.
    pub answers: Vec<KeyringAnswer>,
}

/// One call into a pool: when it is, and what comes of it.
pub(crate) struct Turn<'a> {
    pub(crate) now: Moment,
    pub(crate) out: &'a mut Vec<Output>,
}

impl Turn<'_> {
    pub(crate) fn tell(&mut self, notice: Notice) {
        self.out.push(Output::Notice(notice));
    }
}
