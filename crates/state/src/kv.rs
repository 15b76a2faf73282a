//! Pairs, their locks, and the tombstones of those that were deleted.
//!
//! A pair carries its own index, so no index is kept beside it. A deletion leaves a tombstone with
//! the index at which it happened, and lists count tombstones, so that an index never falls and a
//! watch on a list hears of deletions. Tombstones stay until the leader reaps them; from then on
//! every missing key and every list answers with at least the highest index that was reaped.
//!
//! A lock delay has no clock here: it begins when a lock is released by force and ends when the
//! leader says so.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use imbl::{OrdMap, OrdSet};
use muster_model::answer::Row;
use muster_model::command::PutTerms;
use muster_model::outcome::{Denial, Outcome};
use muster_model::pair::Blob;
use muster_model::scope::{ChangeKind, Object};
use muster_model::{Index, Indexed, Pair, Scope, Text};

use crate::state::{State, Writing};

/// All pairs, tombstones and lock delays.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pairs {
    pub(crate) rows: OrdMap<Text, Row<Pair>>,
    /// When a key that is not there was deleted.
    pub(crate) tombstones: OrdMap<Text, Index>,
    /// The same, by age.
    tombstones_by_age: OrdSet<(Index, Text)>,
    /// The highest index of a tombstone that was reaped.
    pub(crate) reaped: Index,
    pub(crate) delays: OrdMap<Text, LockDelay>,
}

/// A lock that stays closed after a forced release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockDelay {
    /// The index at which the lock was released.
    pub began_at: Index,
    /// How long the lock stays closed.
    pub duration: Duration,
}

// ---------------------------------------------------------------------------------------------
// Reading
// ---------------------------------------------------------------------------------------------

impl Pairs {
    /// The pair with this key.
    pub(crate) fn find(&self, key: &str) -> Option<&Row<Pair>> {
        self.rows.get(key)
    }

    /// All pairs whose key starts so, in the order of their keys.
    pub(crate) fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Row<Pair>> {
        self.rows
            .range::<_, str>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(_, row)| row)
    }

    /// The last index that touched a key.
    pub(crate) fn index_of(&self, key: &str) -> Index {
        match self.find(key) {
            Some(row) => row.modify_index,
            None => self.tombstones.get(key).copied().unwrap_or(0).max(self.reaped),
        }
    }

    /// The last index that touched any key that starts so.
    pub(crate) fn index_under(&self, prefix: &str) -> Index {
        let pairs = self.under(prefix).map(|row| row.modify_index).max().unwrap_or(0);
        let tombstones = self
            .tombstones
            .range::<_, str>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(_, index)| *index)
            .max();
        pairs.max(tombstones.unwrap_or(0)).max(self.reaped)
    }
}

impl State {
    /// The index of the oldest deletion that is still remembered.
    pub fn oldest_tombstone(&self) -> Option<Index> {
        self.pairs.tombstones_by_age.get_min().map(|(index, _)| *index)
    }

    /// How many deletions are remembered.
    pub fn n_tombstones(&self) -> usize {
        self.pairs.tombstones.len()
    }

    /// All locks that stay closed until the leader opens them, by key.
    pub fn lock_delays(&self) -> impl Iterator<Item = (&Text, LockDelay)> {
        self.pairs.delays.iter().map(|(key, delay)| (key, *delay))
    }
}

// ---------------------------------------------------------------------------------------------
// Writing
// ---------------------------------------------------------------------------------------------

impl Pairs {
    /// Puts a row in its place; its tombstone goes.
    pub(crate) fn put(&mut self, row: Row<Pair>) {
        if let Some(index) = self.tombstones.remove(&row.key) {
            self.tombstones_by_age.remove(&(index, row.key.clone()));
        }
        self.rows.insert(row.key.clone(), row);
    }

    /// Remembers a deletion.
    pub(crate) fn bury(&mut self, key: Text, index: Index) {
        if let Some(older) = self.tombstones.insert(key.clone(), index) {
            self.tombstones_by_age.remove(&(older, key.clone()));
        }
        self.tombstones_by_age.insert((index, key));
    }

    /// Forgets deletions up to an index.
    pub(crate) fn reap_tombstones(&mut self, up_to: Index) {
        while let Some((index, key)) = self.tombstones_by_age.get_min().cloned()
            && index <= up_to
        {
            self.tombstones_by_age.remove_min();
            self.tombstones.remove(&key);
            self.reaped = self.reaped.max(index);
        }
    }

    /// Opens the locks whose delay began at the index given; one that began anew stays.
    pub(crate) fn end_lock_delays(&mut self, keys: &[(Text, Index)]) {
        for (key, began_at) in keys {
            if self.delays.get(key).is_some_and(|delay| delay.began_at == *began_at) {
                self.delays.remove(key);
            }
        }
    }
}

impl Writing<'_> {
    /// Writes a pair on terms. The inner error says which term was not met.
    ///
    /// # Errors
    /// Where the wish itself is at fault: its session does not exist, its key is empty.
    pub(crate) fn put_pair_on_terms(
        &mut self,
        key: &Text,
        value: &Blob,
        flags: u64,
        terms: &PutTerms,
    ) -> Result<Result<(), Denial>, Denial> {
        if key.is_empty() {
            return Err(Denial::Invalid("a pair needs a key".into()));
        }
        match terms {
            PutTerms::Acquire(session) if self.state.sessions.find(session).is_none() => {
                return Err(Denial::UnknownSession(session.clone()));
            }
            // Who lets go of a lock need not live any more, but has to be somebody.
            PutTerms::Release(session) if session.is_empty() => {
                return Err(Denial::UnknownSession(session.clone()));
            }
            _ => {}
        }
        let old = self.state.pairs.find(key).cloned();
        if let Some(unmet) = self.unmet_term(key, old.as_deref(), terms) {
            return Ok(Err(unmet));
        }
        let (session, lock_index) = held_after(old.as_deref(), terms);
        let pair = Pair { key: key.clone(), value: value.clone(), flags, session, lock_index };
        self.write_pair(old.as_ref(), pair);
        Ok(Ok(()))
    }

    fn unmet_term(
        &self,
        key: &Text,
        old: Option<&Indexed<Pair>>,
        terms: &PutTerms,
    ) -> Option<Denial> {
        match terms {
            PutTerms::Always => None,
            PutTerms::IfIndex(index) => {
                let own = old.map_or(0, |old| old.modify_index);
                (own != *index).then(|| Denial::IndexIsAnother(key.clone(), own))
            }
            PutTerms::Acquire(session) => {
                let holder = old.map(|old| old.session.clone()).unwrap_or_default();
                if holder == *session {
                    None
                } else if !holder.is_empty() {
                    Some(Denial::LockHeld(key.clone(), holder))
                } else {
                    let is_delayed = self.state.pairs.delays.contains_key(key);
                    is_delayed.then(|| Denial::LockDelayed(key.clone()))
                }
            }
            PutTerms::Release(session) => {
                let holder = old.map(|old| old.session.clone()).unwrap_or_default();
                (holder != *session).then(|| Denial::LockHeld(key.clone(), holder))
            }
        }
    }

    /// Writes a pair if it says something new, and keeps what its session holds in step.
    fn write_pair(&mut self, old: Option<&Row<Pair>>, pair: Pair) {
        if old.is_some_and(|old| old.value == pair) {
            return;
        }
        let before = old.map(|old| old.session.clone()).unwrap_or_default();
        if before != pair.session {
            self.state.sessions.let_go(&before, &pair.key);
            self.state.sessions.hold(&pair.session, &pair.key);
        }
        let kind = if old.is_some() { ChangeKind::Changed } else { ChangeKind::Created };
        let key = old.map_or_else(|| pair.key.clone(), |old| old.key.clone());
        let create_index = old.map_or(self.index, |old| old.create_index);
        let value = Pair { key: key.clone(), ..pair };
        let row = Indexed { value, create_index, modify_index: self.index };
        self.state.pairs.put(Arc::new(row));
        let mut scopes = vec![Scope::Pair(key.clone())];
        if kind == ChangeKind::Created {
            scopes.push(Scope::Usage);
        }
        self.record(Object::Pair(key), kind, scopes);
    }

    /// Deletes a pair if its modify index is the one given. A pair that is not there is deleted
    /// already.
    pub(crate) fn delete_pair_if(&mut self, key: &Text, if_index: Option<Index>) -> Outcome {
        let Some(row) = self.state.pairs.find(key) else { return Outcome::Done };
        if if_index.is_some_and(|index| index != row.modify_index) {
            return Outcome::Unmet;
        }
        self.delete_pair(key);
        Outcome::Done
    }

    /// Deletes every pair whose key starts so.
    pub(crate) fn delete_pairs_under(&mut self, prefix: &str) {
        let keys: Vec<Text> = self.state.pairs.under(prefix).map(|row| row.key.clone()).collect();
        for key in keys {
            self.delete_pair(&key);
        }
    }

    /// Deletes a pair, locked or not, and leaves a tombstone.
    pub(crate) fn delete_pair(&mut self, key: &Text) {
        let Some(row) = self.state.pairs.rows.remove(key) else { return };
        self.state.sessions.let_go(&row.session, key);
        self.state.pairs.bury(row.key.clone(), self.index);
        let scopes = vec![Scope::Pair(row.key.clone()), Scope::Usage];
        self.record(Object::Pair(row.key.clone()), ChangeKind::Removed, scopes);
    }

    /// Takes the lock from a pair whose session ended; its value stays.
    pub(crate) fn release_pair(&mut self, key: &Text) {
        let Some(old) = self.state.pairs.find(key).cloned() else { return };
        let pair = Pair { session: Text::default(), ..old.value.clone() };
        self.write_pair(Some(&old), pair);
    }
}

/// Who holds the lock, and how often it was taken, once the terms are met.
fn held_after(old: Option<&Indexed<Pair>>, terms: &PutTerms) -> (Text, Index) {
    let (holder, lock_index) = match old {
        Some(old) => (old.session.clone(), old.lock_index),
        None => (Text::default(), 0),
    };
    match terms {
        PutTerms::Always | PutTerms::IfIndex(_) => (holder, lock_index),
        PutTerms::Acquire(session) if holder == *session => (holder, lock_index),
        PutTerms::Acquire(session) => (session.clone(), lock_index + 1),
        PutTerms::Release(_) => (Text::default(), lock_index),
    }
}
