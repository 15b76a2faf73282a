//! A user event: a name and a payload that reach every member once.
//!
//! Events are ordered by Lamport time (Lamport, "Time, Clocks, and the Ordering of Events in a
//! Distributed System", 1978): who has seen one gives its own a later time. What was seen is
//! remembered by time for as long as repetitions can come.

use std::collections::BTreeMap;
use std::sync::Arc;

use minicbor::{Decode, Encode};
use thiserror::Error;

use crate::limits::{EVENT_BYTES_MAX, LAMPORT_TIME_MAX, SEEN_AT_A_TIME_MAX, SEEN_TIMES};

/// A user event.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Event {
    /// Tells it from every other.
    #[n(0)]
    pub id: u64,
    /// Its Lamport time: later than all that its sender had seen.
    #[n(1)]
    pub time: u64,
    /// What happened. At most 512 bytes with the payload.
    #[n(2)]
    pub name: String,
    /// Whatever the sender wants to say of it.
    #[n(3)]
    #[cbor(with = "shared_bytes")]
    pub payload: Arc<[u8]>,
}

/// Why an event is not spread.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EventError {
    /// Larger than a packet should have to carry.
    #[error(
        "name and payload are {0} bytes; an event has at most {EVENT_BYTES_MAX}: send less, \
             or put the rest into the key-value store"
    )]
    TooLong(usize),
    /// Without a name nobody can listen for it.
    #[error("an event needs a name")]
    NoName,
    /// This member is leaving.
    #[error("this agent has left the pool: start it again")]
    Gone,
}

impl Event {
    /// Whether it is within its bounds.
    pub(crate) fn check(&self) -> Result<(), EventError> {
        let n_bytes = self.name.len() + self.payload.len();
        if self.name.is_empty() {
            return Err(EventError::NoName);
        }
        if n_bytes > EVENT_BYTES_MAX { Err(EventError::TooLong(n_bytes)) } else { Ok(()) }
    }
}

/// A Lamport clock that knows what it has seen.
#[derive(Debug, Default)]
pub(crate) struct SeenClock {
    /// The next time that is given.
    time: u64,
    /// What is earlier came before this member did.
    ignored_before: u64,
    /// Ids by time; no time is further behind the clock than [`SEEN_TIMES`].
    seen: BTreeMap<u64, Vec<u64>>,
}

impl SeenClock {
    /// The time that the next event would get.
    pub(crate) fn time(&self) -> u64 {
        self.time
    }

    /// Another's clock stands at this time.
    pub(crate) fn witness_next(&mut self, time: u64) {
        if let Some(seen) = time.checked_sub(1) {
            self.witness(seen);
        }
    }

    /// Something of this time exists.
    fn witness(&mut self, time: u64) {
        if time >= self.time && time < LAMPORT_TIME_MAX {
            self.time = time + 1;
            let oldest = self.time.saturating_sub(SEEN_TIMES);
            self.seen = self.seen.split_off(&oldest);
        }
    }

    /// What happened before this time does not concern a newcomer.
    pub(crate) fn ignore_before(&mut self, time: u64) {
        if time < LAMPORT_TIME_MAX {
            self.ignored_before = self.ignored_before.max(time);
            self.witness_next(time);
        }
    }

    /// Whether this is news. It is seen from now on.
    pub(crate) fn see(&mut self, time: u64, id: u64) -> bool {
        self.witness(time);
        let oldest = self.time.saturating_sub(SEEN_TIMES).max(self.ignored_before);
        if time < oldest || time >= LAMPORT_TIME_MAX {
            return false;
        }
        let ids = self.seen.entry(time).or_default();
        if ids.contains(&id) || ids.len() >= SEEN_AT_A_TIME_MAX {
            return false;
        }
        ids.push(id);
        true
    }
}

/// Shared bytes are a string of bytes on the wire.
mod shared_bytes {
    use std::sync::Arc;

    pub(super) fn encode<C, W: minicbor::encode::Write>(
        bytes: &Arc<[u8]>,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.bytes(bytes)?.ok()
    }

    pub(super) fn decode<'b, C>(
        decoder: &mut minicbor::Decoder<'b>,
        _: &mut C,
    ) -> Result<Arc<[u8]>, minicbor::decode::Error> {
        Ok(decoder.bytes()?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_seen_once() {
        let mut clock = SeenClock::default();
        assert!(clock.see(7, 1));
        assert!(!clock.see(7, 1));
        assert!(clock.see(7, 2), "another of the same time");
        assert!(clock.see(3, 1), "a late one");
        assert_eq!(clock.time(), 8, "later than all that was seen");
    }

    #[test]
    fn what_is_too_old_to_be_told_from_a_repetition_is_dropped() {
        let mut clock = SeenClock::default();
        assert!(clock.see(1_000, 1));
        assert!(!clock.see(1_000 - SEEN_TIMES, 2));
        assert!(clock.see(1_001 - SEEN_TIMES, 3));
        assert!(clock.seen.len() <= SEEN_TIMES as usize);
    }

    #[test]
    fn a_newcomer_ignores_what_came_before() {
        let mut clock = SeenClock::default();
        clock.ignore_before(50);
        assert!(!clock.see(49, 1));
        assert!(clock.see(50, 2));
        assert_eq!(clock.time(), 51);
    }

    #[test]
    fn a_lie_does_not_move_the_clock_to_its_end() {
        let mut clock = SeenClock::default();
        assert!(!clock.see(u64::MAX, 1));
        clock.ignore_before(u64::MAX);
        assert_eq!(clock.time(), 0);
    }
}
