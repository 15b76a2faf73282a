//! What can go wrong with an exchange, named by what it means for the one who asked.
//!
//! The line that matters runs between what was surely not served ([`Fault::Unreachable`],
//! [`Fault::Busy`], [`Fault::TooLarge`]) and what may have been ([`Fault::Lost`],
//! [`Fault::Late`]): only the caller knows whether to ask again for the latter.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// Why an exchange failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is no connection and nothing was sent. Asking again, or another agent, is safe.
    #[error("{0}; nothing was sent")]
    Unreachable(String),
    /// The connection broke, or the other side gave up, after the request was sent: it may have
    /// been served.
    #[error("{0}; the request may have been served")]
    Lost(String),
    /// The deadline came first. The request may have been served.
    #[error("the deadline came before the answer")]
    Late,
    /// The handler's own words for no.
    #[error("the handler refused, in {} bytes", .0.len())]
    Refused(Bytes),
    /// The other side has as much in hand as its limits allow, and did not begin.
    #[error("the other agent has as much in hand as it may: ask later, or ask another")]
    Busy,
    /// A body or item is over the limit of the side that would take it. It was not sent.
    #[error("{bytes} bytes are over the limit of {bytes_max}: send less, or in several items")]
    TooLarge {
        /// What it has.
        bytes: u64,
        /// What it may have.
        bytes_max: u64,
    },
    /// The two sides do not understand, or do not want, each other: an operator must act.
    #[error("{0}")]
    Protocol(String),
    /// This pool, the exchange, or the other agent was stopped before anything was served.
    #[error("stopped")]
    Stopped,
}

const REFUSED: u8 = 1;
const BUSY: u8 = 2;
const STOPPED: u8 = 3;
const TOO_LARGE: u8 = 4;

impl Fault {
    /// Whether the request may have been served all the same.
    pub fn may_have_been_served(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Late)
    }

    /// As it travels: a code and what it needs. What only one side can know does not travel.
    pub(crate) fn to_wire(&self) -> (u8, Bytes) {
        match self {
            Self::Refused(why) => (REFUSED, why.clone()),
            Self::TooLarge { bytes, bytes_max } => {
                let mut body = BytesMut::with_capacity(16);
                body.put_u64(*bytes);
                body.put_u64(*bytes_max);
                (TOO_LARGE, body.freeze())
            }
            Self::Busy => (BUSY, Bytes::new()),
            _ => (STOPPED, Bytes::new()),
        }
    }

    /// What came. A code of a later version is something that we do not understand.
    pub(crate) fn from_wire(code: u8, mut body: Bytes) -> Self {
        match code {
            REFUSED => Self::Refused(body),
            BUSY => Self::Busy,
            STOPPED => Self::Stopped,
            TOO_LARGE if body.len() >= 16 => {
                Self::TooLarge { bytes: body.get_u64(), bytes_max: body.get_u64() }
            }
            _ => Self::Protocol(format!("the other agent failed it with the unknown code {code}")),
        }
    }
}
