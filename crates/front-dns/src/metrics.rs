//! What the front has done, as counters that the agent reads.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::compose::Transport;

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Answered with records.
    Answered,
    /// Answered: the name exists, nothing of that kind does.
    NoData,
    /// Answered: there is no such name.
    NoName,
    /// Not for us, and no recursor is configured; or something that we do not do.
    Refused,
    /// Could not be found out.
    Failed,
    /// Made no sense.
    Malformed,
    /// Got no word: it was no question, or too much waited already.
    Dropped,
    /// Given to a recursor.
    Forwarded,
}

impl Fate {
    /// All of them, in the order of their numbers.
    pub const ALL: [Fate; 8] = [
        Fate::Answered,
        Fate::NoData,
        Fate::NoName,
        Fate::Refused,
        Fate::Failed,
        Fate::Malformed,
        Fate::Dropped,
        Fate::Forwarded,
    ];

    /// The word for it in the names of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Fate::Answered => "answered",
            Fate::NoData => "no_data",
            Fate::NoName => "no_name",
            Fate::Refused => "refused",
            Fate::Failed => "failed",
            Fate::Malformed => "malformed",
            Fate::Dropped => "dropped",
            Fate::Forwarded => "forwarded",
        }
    }
}

/// Counters since the start.
#[derive(Debug, Default)]
pub struct Metrics {
    fates: [AtomicU64; Fate::ALL.len()],
    udp: AtomicU64,
    tcp: AtomicU64,
    left_out: AtomicU64,
}

impl Metrics {
    /// Questions that met this fate.
    pub fn count(&self, fate: Fate) -> u64 {
        self.fates[fate as usize].load(Ordering::Relaxed)
    }

    /// Questions that came by this transport.
    pub fn count_by(&self, transport: Transport) -> u64 {
        match transport {
            Transport::Udp => self.udp.load(Ordering::Relaxed),
            Transport::Tcp => self.tcp.load(Ordering::Relaxed),
        }
    }

    /// Answers that left something out for lack of room.
    pub fn count_left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, fate: Fate, transport: Transport) {
        self.fates[fate as usize].fetch_add(1, Ordering::Relaxed);
        let by = if transport == Transport::Udp { &self.udp } else { &self.tcp };
        by.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_left_out(&self) {
        self.left_out.fetch_add(1, Ordering::Relaxed);
    }
}
