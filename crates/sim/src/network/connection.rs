//! The two ends of a stream, and what travels between them.
//!
//! Each end has what it received and not yet read, and knows how much of what it sent the other
//! has not read: that is the window. A piece that cannot pass (the link is cut, the far machine
//! is without power) is held, in order, and everything behind it with it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;

use crate::limits::{CREDIT_AT, WINDOW};
use crate::trace::HostNumber;

/// Which end: the one that opened the stream, or the one that accepted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Opener,
    Accepter,
}

impl Side {
    pub(super) fn other(self) -> Side {
        match self {
            Side::Opener => Side::Accepter,
            Side::Accepter => Side::Opener,
        }
    }
}

/// What travels on a stream.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    /// May I?
    Open,
    /// You may.
    Opened,
    Data(Bytes),
    /// So many bytes were read: so many more may be sent.
    Credit(usize),
    /// Nothing more will be sent.
    Finish,
    /// There is no such stream (any more).
    Reset,
}

impl Piece {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Piece::Open => "open",
            Piece::Opened => "opened",
            Piece::Data(_) => "data",
            Piece::Credit(_) => "credit",
            Piece::Finish => "finish",
            Piece::Reset => "reset",
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        if let Piece::Data(bytes) = self { bytes } else { &[] }
    }
}

pub(super) struct Connection {
    ends: [End; 2],
}

pub(super) struct End {
    pub(super) host: HostNumber,
    pub(super) address: SocketAddr,
    pub(super) received: VecDeque<Bytes>,
    /// Bytes sent that the other end has not read, as far as this one was told.
    pub(super) n_unread: usize,
    /// Bytes read that the other end was not told of.
    n_owed: usize,
    pub(super) is_open: bool,
    /// The other end sends nothing more.
    pub(super) has_peer_finished: bool,
    pub(super) has_finished: bool,
    pub(super) is_reset: bool,
    /// Nobody holds it: it was dropped, its process died, or it was never accepted.
    pub(super) is_gone: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    /// What it sends arrives in order: not before this.
    pub(super) not_before: Duration,
    /// What it sent and could not pass.
    pub(super) held: VecDeque<Piece>,
}

impl Connection {
    /// A stream that is being opened.
    pub(super) fn new(from: (HostNumber, SocketAddr), to: (HostNumber, SocketAddr)) -> Connection {
        let mut accepter = End::new(to);
        accepter.is_gone = true;
        Connection { ends: [End::new(from), accepter] }
    }

    pub(super) fn end(&self, side: Side) -> &End {
        &self.ends[side as usize]
    }

    pub(super) fn end_mut(&mut self, side: Side) -> &mut End {
        &mut self.ends[side as usize]
    }

    /// Whether nobody has any use for it.
    pub(super) fn is_abandoned(&self) -> bool {
        self.ends.iter().all(|end| end.is_gone)
    }

    /// The ends that a host has.
    pub(super) fn sides_at(&self, host: HostNumber) -> impl Iterator<Item = Side> + use<> {
        let has = [Side::Opener, Side::Accepter].map(|side| (side, self.end(side).host == host));
        has.into_iter().filter_map(|(side, is_here)| is_here.then_some(side))
    }
}

impl End {
    fn new((host, address): (HostNumber, SocketAddr)) -> End {
        End {
            host,
            address,
            received: VecDeque::new(),
            n_unread: 0,
            n_owed: 0,
            is_open: false,
            has_peer_finished: false,
            has_finished: false,
            is_reset: false,
            is_gone: false,
            reader: None,
            writer: None,
            not_before: Duration::ZERO,
            held: VecDeque::new(),
        }
    }

    /// Bytes that may be sent now.
    pub(super) fn room(&self) -> usize {
        WINDOW.saturating_sub(self.n_unread)
    }

    /// Takes note that bytes were read; gives how many the other end is to be told of, if it is
    /// time. That is so before it can run out of room.
    pub(super) fn has_read(&mut self, n_bytes: usize) -> Option<usize> {
        self.n_owed += n_bytes;
        (self.n_owed >= CREDIT_AT).then(|| std::mem::take(&mut self.n_owed))
    }

    pub(super) fn hold(&mut self, piece: Piece) {
        if let (Some(Piece::Credit(held)), Piece::Credit(more)) = (self.held.back_mut(), &piece) {
            *held += more;
            return;
        }
        self.held.push_back(piece);
    }

    /// Wakes whoever waits at this end.
    pub(super) fn wakers(&mut self) -> impl Iterator<Item = Waker> + use<> {
        [self.reader.take(), self.writer.take()].into_iter().flatten()
    }
}
