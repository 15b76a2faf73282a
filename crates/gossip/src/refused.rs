//! What is not let in, and what to do about it.
//!
//! Wrong input is counted by its kind and told at most once a minute each, with the address it
//! came from: an operator learns what to repair, and a flood fills no log.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use thiserror::Error;

use crate::limits::REFUSED_TOLD_EVERY;
use crate::moment::Moment;

/// Why input was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// Something else spoke.
    #[error("it is no gossip of this program: find out what speaks to the gossip port")]
    NotGossip,
    /// Another release.
    #[error("it speaks version {0} of the gossip protocol: upgrade the older agent")]
    OtherProtocol(u8),
    /// An agent of another pool.
    #[error("it is of the pool {0}: one of the two has a wrong address or datacenter to join")]
    OtherPool(String),
    /// Not sealed, though this pool is.
    #[error("it is not encrypted and this pool is: give the other agent the gossip key")]
    Unsealed,
    /// Sealed, though this pool is not.
    #[error("it is encrypted and this agent has no gossip key: give it the key of the pool")]
    Sealed,
    /// Sealed with a key that this member does not have, or altered on its way.
    #[error("it is sealed with a key that is not in the keyring: install the key on both agents")]
    UnknownKey,
    /// Cut off, altered, or made by a faulty program.
    #[error("it is damaged: if it goes on, look for a faulty link or agent")]
    Damaged,
    /// Longer than any member sends.
    #[error("it is too long: if it goes on, look for a faulty agent")]
    TooLong,
    /// It would join, and its wall clock is that many seconds ahead of this one's.
    #[error("its clock is {} this agent's: set the one that is wrong (NTP does), then join", apart(*.0))]
    ClockOff(i64),
    /// It would join with the id of a member that is there under another name.
    #[error(
        "one node id is claimed by two agents of different names: give one a node_id of its own, \
         and none the copy of another's data folder"
    )]
    IdTaken,
}

/// How one clock stands to another.
pub(crate) fn apart(ahead_s: i64) -> String {
    let side = if ahead_s > 0 { "ahead of" } else { "behind" };
    format!("{} s {side}", ahead_s.unsigned_abs())
}

/// How much wrong input there was, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusedCounts {
    /// [`Refused::NotGossip`].
    pub not_gossip: u64,
    /// [`Refused::OtherProtocol`].
    pub other_protocol: u64,
    /// [`Refused::OtherPool`].
    pub other_pool: u64,
    /// [`Refused::Unsealed`].
    pub unsealed: u64,
    /// [`Refused::Sealed`].
    pub sealed: u64,
    /// [`Refused::UnknownKey`].
    pub unknown_key: u64,
    /// [`Refused::Damaged`].
    pub damaged: u64,
    /// [`Refused::TooLong`].
    pub too_long: u64,
    /// [`Refused::ClockOff`].
    pub clock_off: u64,
    /// [`Refused::IdTaken`].
    pub id_taken: u64,
}

/// One kind of wrong input, told for all of it since it was told last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedInput {
    /// Who sent the last one, as far as an address says that.
    pub from: SocketAddr,
    /// Why.
    pub why: Refused,
    /// How many of the kind came since this was told last, this one included.
    pub n_since_told: u64,
}

/// Counts wrong input and decides when it is told.
#[derive(Debug, Default)]
pub(crate) struct RefusedLog {
    counts: RefusedCounts,
    /// By code: when it was told, and how many came since.
    told: BTreeMap<u8, (Moment, u64)>,
}

impl Refused {
    /// The pool that a foreign label names, made printable.
    pub(crate) fn other_pool(label: &[u8]) -> Refused {
        let printable = String::from_utf8_lossy(label).replace(char::is_control, "?");
        Refused::OtherPool(printable)
    }

    /// The kind as one byte.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Refused::NotGossip => 0,
            Refused::OtherProtocol(_) => 1,
            Refused::OtherPool(_) => 2,
            Refused::Unsealed => 3,
            Refused::Sealed => 4,
            Refused::UnknownKey => 5,
            Refused::Damaged => 6,
            Refused::TooLong => 7,
            Refused::ClockOff(_) => 8,
            Refused::IdTaken => 9,
        }
    }

    /// The kind as one byte, and what of it the other side cannot know.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.code()];
        if let Refused::ClockOff(ahead_s) = self {
            bytes.extend_from_slice(&ahead_s.to_be_bytes());
        }
        bytes
    }

    /// What the other side, of a pool with this label, means by its bytes, as seen from here.
    pub(crate) fn of_answer(bytes: &[u8], label: &[u8]) -> Refused {
        let (code, rest) = bytes.split_first().unwrap_or((&u8::MAX, &[]));
        match code {
            0 => Refused::NotGossip,
            2 => Refused::other_pool(label),
            // It refused what we sent unsealed: it is sealed and we are not.
            3 => Refused::Sealed,
            4 => Refused::Unsealed,
            5 => Refused::UnknownKey,
            7 => Refused::TooLong,
            8 => match rest.first_chunk() {
                Some(ahead_s) => Refused::ClockOff(i64::from_be_bytes(*ahead_s).saturating_neg()),
                None => Refused::Damaged,
            },
            9 => Refused::IdTaken,
            _ => Refused::Damaged,
        }
    }
}

impl RefusedCounts {
    /// All kinds together.
    pub fn total(&self) -> u64 {
        self.by_kind().iter().map(|(_, count)| count).sum()
    }

    /// Each kind, in a word, with its count.
    pub fn by_kind(&self) -> [(&'static str, u64); 10] {
        [
            ("not_gossip", self.not_gossip),
            ("other_protocol", self.other_protocol),
            ("other_pool", self.other_pool),
            ("unsealed", self.unsealed),
            ("sealed", self.sealed),
            ("unknown_key", self.unknown_key),
            ("damaged", self.damaged),
            ("too_long", self.too_long),
            ("clock_off", self.clock_off),
            ("id_taken", self.id_taken),
        ]
    }

    fn of_kind(&mut self, why: &Refused) -> &mut u64 {
        match why {
            Refused::NotGossip => &mut self.not_gossip,
            Refused::OtherProtocol(_) => &mut self.other_protocol,
            Refused::OtherPool(_) => &mut self.other_pool,
            Refused::Unsealed => &mut self.unsealed,
            Refused::Sealed => &mut self.sealed,
            Refused::UnknownKey => &mut self.unknown_key,
            Refused::Damaged => &mut self.damaged,
            Refused::TooLong => &mut self.too_long,
            Refused::ClockOff(_) => &mut self.clock_off,
            Refused::IdTaken => &mut self.id_taken,
        }
    }
}

impl RefusedLog {
    /// So far.
    pub(crate) fn counts(&self) -> RefusedCounts {
        self.counts
    }

    /// Counts one; gives what is to be told of it, if it is time again.
    pub(crate) fn add(
        &mut self,
        from: SocketAddr,
        why: Refused,
        now: Moment,
    ) -> Option<RefusedInput> {
        *self.counts.of_kind(&why) += 1;
        match self.told.get_mut(&why.code()) {
            Some((told_at, n_since)) if now.since(*told_at) < REFUSED_TOLD_EVERY => {
                *n_since += 1;
                None
            }
            known => {
                let n_since_told = known.map_or(0, |(_, n_since)| *n_since) + 1;
                self.told.insert(why.code(), (now, 0));
                Some(RefusedInput { from, why, n_since_told })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_is_counted_and_told_once_a_minute() {
        let from: SocketAddr = ([127, 0, 0, 1], 1).into();
        let at = |seconds| Moment::after_start(Duration::from_secs(seconds));
        let mut log = RefusedLog::default();
        assert_eq!(log.add(from, Refused::Damaged, at(0)).unwrap().n_since_told, 1);
        for _ in 0..1_000 {
            assert_eq!(log.add(from, Refused::Damaged, at(59)), None);
        }
        assert!(log.add(from, Refused::Unsealed, at(59)).is_some(), "another kind is news");
        assert_eq!(log.add(from, Refused::Damaged, at(60)).unwrap().n_since_told, 1_001);
        assert_eq!((log.counts().damaged, log.counts().total()), (1_002, 1_003));
    }
}
