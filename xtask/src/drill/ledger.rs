//! What clients of a cluster were promised, and what a cluster may therefore hold.
//!
//! Every slot is a pair or an instance that one client writes, each time with a higher version. An
//! acknowledged version is a promise: whoever asks afterwards finds it or a later one. A refused
//! write must have changed nothing. A write with no known outcome may take effect at any later
//! time, so its slot is retired: it keeps what it was promised or that one version, and the client
//! goes on with a new slot in its place.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is told of one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// Its name: that of the instance's service, or the end of the pair's key.
    pub(super) name: String,
    pub(super) kind: Kind,
    /// The highest acknowledged version; 0: none.
    pub(super) promised: u64,
    /// The highest version that was asked for.
    pub(super) asked: u64,
    /// The highest version that a linearizable read has seen.
    seen: u64,
}

/// What a slot is in the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Pair,
    Instance,
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Acknowledged,
    Refused,
    Unknown,
}

/// What a slot may hold at the end: the promised version, or the one of unknown outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    pub(super) promised: u64,
    pub(super) unknown: Option<u64>,
}

/// All slots of all clients.
pub(super) struct Ledger {
    n_slots: usize,
    live: Vec<Mutex<Slot>>,
    retired: Mutex<BTreeMap<String, (Kind, Allowed)>>,
}

/// One slot in so many is an instance.
const INSTANCE_EVERY: usize = 8;

impl Ledger {
    /// A ledger for clients with `n_slots` each.
    pub(super) fn new(n_clients: usize, n_slots: usize) -> Self {
        let live = (0..n_clients * n_slots).map(|at| Mutex::new(Slot::new(at, 0))).collect();
        Self { n_slots, live, retired: Mutex::default() }
    }

    pub(super) fn n_live(&self) -> usize {
        self.live.len()
    }

    /// The place of one of a client's slots; `turn` may be any number.
    pub(super) fn place(&self, client: usize, turn: usize) -> usize {
        client * self.n_slots + turn % self.n_slots
    }

    /// A slot as it is now.
    pub(super) fn slot(&self, place: usize) -> Slot {
        self.lock(place).clone()
    }

    /// Notes that a new version is about to be written, and gives it.
    pub(super) fn ask(&self, place: usize) -> u64 {
        let mut slot = self.lock(place);
        slot.asked += 1;
        slot.asked
    }

    /// Notes how the write of the version that was asked for last ended.
    pub(super) fn end(&self, place: usize, ending: Ending) {
        let mut slot = self.lock(place);
        match ending {
            Ending::Acknowledged => slot.promised = slot.asked,
            Ending::Refused => {}
            Ending::Unknown => {
                let allowed = Allowed { promised: slot.promised, unknown: Some(slot.asked) };
                let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
                retired.insert(slot.name.clone(), (slot.kind, allowed));
                *slot = Slot::new(place, retired.len());
            }
        }
    }

    /// Judges what a linearizable read found that was begun when the slot was as in `before`.
    pub(super) fn judge(
        &self,
        place: usize,
        before: &Slot,
        found: Option<u64>,
    ) -> Result<(), String> {
        let found = found.unwrap_or_default();
        let floor = before.promised.max(before.seen);
        if found < floor {
            return Err(format!("{}: version {found} after {floor} was there", before.name));
        }
        let mut slot = self.lock(place);
        if slot.name == before.name {
            slot.seen = slot.seen.max(found);
            if found > slot.asked {
                return Err(format!("{}: version {found} was never written", before.name));
            }
        }
        Ok(())
    }

    /// What every slot that ever was may hold, once no client writes any more.
    pub(super) fn allowed(&self) -> BTreeMap<String, (Kind, Allowed)> {
        let mut all = self.retired.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for place in 0..self.live.len() {
            let slot = self.lock(place);
            let allowed = Allowed { promised: slot.promised, unknown: None };
            all.insert(slot.name.clone(), (slot.kind, allowed));
        }
        all
    }

    /// Held for a few comparisons.
    fn lock(&self, place: usize) -> MutexGuard<'_, Slot> {
        self.live[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn new(place: usize, generation: usize) -> Self {
        let kind = if place.is_multiple_of(INSTANCE_EVERY) { Kind::Instance } else { Kind::Pair };
        let name = format!("drill-{place}-{generation}");
        Self { name, kind, promised: 0, asked: 0, seen: 0 }
    }
}

impl Allowed {
    /// Whether a server may hold this version; `None`: nothing.
    pub(super) fn admits(&self, found: Option<u64>) -> bool {
        let found = found.unwrap_or_default();
        found == self.promised || Some(found) == self.unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_of_unknown_outcome_retires_its_slot() {
        let ledger = Ledger::new(1, 2);
        assert_eq!(ledger.ask(1), 1);
        ledger.end(1, Ending::Acknowledged);
        ledger.ask(1);
        let before = ledger.slot(1);
        ledger.end(1, Ending::Unknown);
        let (_, allowed) = ledger.allowed()[&before.name];
        assert_eq!(allowed, Allowed { promised: 1, unknown: Some(2) });
        assert!(allowed.admits(Some(1)) && allowed.admits(Some(2)));
        assert!(!allowed.admits(None) && !allowed.admits(Some(3)));
        assert_ne!(ledger.slot(1).name, before.name);
        assert_eq!(ledger.slot(1).promised, 0);
        // The next one in its place has another name again.
        ledger.ask(1);
        ledger.end(1, Ending::Unknown);
        assert_eq!(ledger.allowed().len(), 4);
    }

    #[test]
    fn a_read_that_goes_back_is_found() {
        let ledger = Ledger::new(1, 1);
        for _ in 0..3 {
            ledger.ask(0);
            ledger.end(0, Ending::Acknowledged);
        }
        let before = ledger.slot(0);
        ledger.ask(0);
        assert!(ledger.judge(0, &before, Some(2)).is_err(), "3 was acknowledged");
        assert!(ledger.judge(0, &before, None).is_err());
        assert!(ledger.judge(0, &before, Some(5)).is_err(), "5 was never written");
        assert_eq!(ledger.judge(0, &before, Some(4)), Ok(()), "4 is under way");
        let before = ledger.slot(0);
        assert!(ledger.judge(0, &before, Some(3)).is_err(), "4 has been seen");
    }

    #[test]
    fn a_refused_write_must_not_be_there() {
        let ledger = Ledger::new(1, 1);
        ledger.ask(0);
        ledger.end(0, Ending::Refused);
        let (_, allowed) = ledger.allowed()[&ledger.slot(0).name];
        assert!(allowed.admits(None) && !allowed.admits(Some(1)));
    }
}
