//! Why a connection is over: what the other side is told, what open exchanges are told, and
//! whether somebody should hear of it.

use tokio::time::Duration;

use crate::fault::Fault;
use crate::frame::{Frame, Malformed};

/// What last words are about, as a code that outlives versions of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The first bytes were those of another protocol.
    NotOurs,
    /// No version of the protocol that both speak.
    Version,
    /// The acceptor does not want this peer.
    Unwelcome,
    /// Too many connections.
    Crowded,
    /// A frame over the limit.
    Oversize,
    /// Bytes that are no frame, or a frame out of place.
    Garbage,
    /// The hello did not come in time.
    SlowHello,
    /// The agent stops.
    Stopped,
    /// A reason of a later version.
    Other,
}

const CODES: [(Reason, u8); 8] = [
    (Reason::NotOurs, 1),
    (Reason::Version, 2),
    (Reason::Unwelcome, 3),
    (Reason::Crowded, 4),
    (Reason::Oversize, 5),
    (Reason::Garbage, 6),
    (Reason::SlowHello, 7),
    (Reason::Stopped, 8),
];

impl Reason {
    pub(crate) fn to_wire(self) -> u8 {
        CODES.iter().find(|(reason, _)| *reason == self).map_or(0, |(_, code)| *code)
    }

    pub(crate) fn from_wire(code: u8) -> Self {
        CODES.iter().find(|(_, known)| *known == code).map_or(Self::Other, |(reason, _)| *reason)
    }
}

/// Last words: why this side closes the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) reason: Reason,
    pub(crate) text: String,
}

impl Words {
    pub(crate) fn new(reason: Reason, text: impl Into<String>) -> Self {
        Self { reason, text: text.into() }
    }

    pub(crate) fn garbage(what: &str) -> Self {
        let advice = "this is a fault of one of the two agents: report it with both versions";
        Self::new(Reason::Garbage, format!("{what}; {advice}"))
    }

    pub(crate) fn frame(&self) -> Frame {
        Frame::Close { reason: self.reason, words: self.text.clone() }
    }
}

impl From<Malformed> for Words {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::TooLarge { .. } => {
                let advice = "give both agents the same limits";
                Self::new(Reason::Oversize, format!("{malformed}: {advice}"))
            }
            _ => Self::garbage(&malformed.to_string()),
        }
    }
}

/// Why a connection is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The other side closed it without a word.
    Gone,
    /// The stream failed.
    Broken(String),
    /// The other side said why.
    Told(Words),
    /// What came is not the protocol; the other side is to be told.
    Violated(Words),
    /// Nothing came for too long, although asked.
    Silent(Duration),
    /// Nothing could be written for too long.
    Stalled(Duration),
    /// Nothing was open for long.
    Idle,
    /// It was to take no more exchanges, and the last has ended.
    Left,
    /// This side stops at once.
    Stopped,
}

impl Ending {
    /// What this side says last, if anything: an ending without trouble closes without a word,
    /// and whoever does not hear or has gone is told nothing.
    pub(crate) fn words(&self) -> Option<Words> {
        match self {
            Self::Violated(words) => Some(words.clone()),
            Self::Stopped => Some(Words::new(Reason::Stopped, "the agent stops")),
            _ => None,
        }
    }

    /// Whether what waits to be written is still worth writing.
    pub(crate) fn is_orderly(&self) -> bool {
        matches!(self, Self::Idle | Self::Left)
    }

    /// Whether an operator should hear of it.
    pub(crate) fn is_trouble(&self) -> bool {
        match self {
            Self::Violated(_) | Self::Silent(_) | Self::Stalled(_) => true,
            Self::Told(words) => words.reason != Reason::Stopped,
            _ => false,
        }
    }

    /// What an exchange with this peer that was open is told.
    pub(crate) fn fault(&self, peer: &str) -> Fault {
        match self {
            Self::Violated(words) => Fault::Protocol(format!("{peer} broke it: {}", words.text)),
            Self::Told(words) if words.reason == Reason::Stopped => {
                Fault::Lost(format!("{peer} stopped"))
            }
            Self::Told(words) => Fault::Protocol(format!("{peer} says: {}", words.text)),
            Self::Stopped => Fault::Stopped,
            _ => Fault::Lost(self.describe(peer)),
        }
    }

    /// As a sentence for a log.
    pub(crate) fn describe(&self, peer: &str) -> String {
        match self {
            Self::Gone => format!("{peer} closed the connection"),
            Self::Broken(error) => format!("the connection to {peer} broke: {error}"),
            Self::Told(words) => format!("{peer} closed the connection: {}", words.text),
            Self::Violated(words) => {
                format!("closed the connection to {peer}: {}", words.text)
            }
            Self::Silent(time) => format!("{peer} was silent for {time:?}"),
            Self::Stalled(time) => format!("{peer} took no bytes for {time:?}"),
            Self::Idle => format!("the connection to {peer} was idle"),
            Self::Left => format!("the connection to {peer} is no longer needed"),
            Self::Stopped => "this agent stops".to_owned(),
        }
    }
}
