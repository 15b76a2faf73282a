//! How a server reaches the others of its group: all that consensus knows of a network.
//!
//! Messages are bytes. A *call* is one message and its answer; a *line* carries messages both ways,
//! in order, until one side ends it. What carries them, how it is sealed and who may speak, is the
//! business of whoever gives a body to [`Peers`].

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use tokio::time::Instant;

use crate::voters::Voter;

/// Something to be waited for.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a message must not wait behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Urgency {
    /// Votes, heartbeats, confirmations: late ones cost the leadership.
    Urgent,
    /// Entries of the log and what is proposed for it.
    Log,
    /// Snapshots.
    Bulk,
}

/// The way to the other servers.
pub trait Peers: Send + Sync + 'static {
    /// Sends a message and waits for the answer.
    fn call<'a>(
        &'a self,
        to: &'a Voter,
        urgency: Urgency,
        message: Bytes,
        deadline: Instant,
    ) -> Pending<'a, Result<Bytes, Unreachable>>;

    /// Opens a line with a first message. The deadline is for the opening.
    fn open<'a>(
        &'a self,
        to: &'a Voter,
        urgency: Urgency,
        first: Bytes,
        deadline: Instant,
    ) -> Pending<'a, Result<Line, Unreachable>>;
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Unreachable {
    /// What happened.
    pub why: String,
    /// Whether the message may have arrived all the same.
    pub may_have_arrived: bool,
}

/// Both ends of a line, as one side holds them. Dropping them breaks it off.
pub struct Line {
    /// What goes out.
    pub sender: Box<dyn LineSender>,
    /// What comes in.
    pub receiver: Box<dyn LineReceiver>,
}

/// Sends over a line.
pub trait LineSender: Send {
    /// Sends a message; waits while the other side is behind.
    fn send(&mut self, message: Bytes) -> Pending<'_, Result<(), Unreachable>>;

    /// Says that nothing more comes.
    fn end(&mut self) -> Pending<'_, Result<(), Unreachable>>;
}

/// Receives over a line.
pub trait LineReceiver: Send {
    /// The next message; nothing once the other side has ended.
    fn next(&mut self) -> Pending<'_, Result<Option<Bytes>, Unreachable>>;
}

/// The way to nobody, for a group that stays one server.
#[derive(Debug, Clone, Copy)]
pub struct NoPeers;

fn nobody<'a, T: Send + 'a>() -> Pending<'a, Result<T, Unreachable>> {
    let why = "this server has no way to others".to_owned();
    Box::pin(async { Err(Unreachable { why, may_have_arrived: false }) })
}

impl Peers for NoPeers {
    fn call<'a>(
        &'a self,
        _: &'a Voter,
        _: Urgency,
        _: Bytes,
        _: Instant,
    ) -> Pending<'a, Result<Bytes, Unreachable>> {
        nobody()
    }

    fn open<'a>(
        &'a self,
        _: &'a Voter,
        _: Urgency,
        _: Bytes,
        _: Instant,
    ) -> Pending<'a, Result<Line, Unreachable>> {
        nobody()
    }
}
