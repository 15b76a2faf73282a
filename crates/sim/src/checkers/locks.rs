//! Locks: one holder at a time, told apart by the lock index.
//!
//! Sources: M. Burrows, "The Chubby lock service", 2006 (lock delay, sequencers); and what clients of
//! Consul rely on:
//! 1. **Mutual exclusion.** Between two acquisitions by different sessions, in the order of their
//!    indexes, the first let the lock go: it was released, the pair was deleted, its session was
//!    ended, or its lease ran out, for which a whole ttl must have passed since it was last
//!    granted, and after that the lock delay.
//! 2. **The fence.** While a pair exists its lock index never falls, and it grows whenever the
//!    holder becomes another one. So whoever keeps the greatest lock index it has seen can turn
//!    away a holder of the past.
//! 3. **Holders are who acquired.** Who is shown as the holder, or may release, has acquired the lock
//!    last, as far as is known.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_model::{Index, Text};

use super::leases::{Life, lives};
use super::{Clocks, Violation};
use crate::history::{Action, Found, History, Operation, OperationResult, PairSeen};

const INVARIANT: &str = "locks";

/// Judges the locks of a history.
#[must_use]
pub fn check(history: &History, clocks: &Clocks) -> Vec<Violation> {
    let lives = lives(&history.operations);
    let mut locks: BTreeMap<&Text, Lock<'_>> = BTreeMap::new();
    for operation in &history.operations {
        if let Action::Acquire { key, .. } = &operation.action {
            locks.entry(key).or_default();
        }
    }
    for operation in &history.operations {
        if let Some(lock) = locks.get_mut(operation.action.subject()) {
            lock.hear(operation);
        }
    }
    let judged = locks.iter_mut().flat_map(|(key, lock)| {
        lock.acquired.sort_by_key(|held| held.index);
        let excluded = lock.held_by_two(key, &lives, clocks);
        let fenced = lock.fence_falls(key);
        let strangers = lock.held_by_a_stranger(key);
        excluded.into_iter().chain(fenced).chain(strangers)
    });
    judged.collect()
}

/// What operations say of the lock of one key.
#[derive(Debug, Default)]
struct Lock<'a> {
    /// In the order of their indexes.
    acquired: Vec<Claim<'a>>,
    perhaps_acquired: Vec<Claim<'a>>,
    /// Releases, with whose they were, and deletions.
    let_go: Vec<LetGo<'a>>,
    /// Whom readers saw holding it, and who released it.
    shown: Vec<Claim<'a>>,
    pairs: Vec<(&'a PairSeen, &'a Operation)>,
}

/// A session that holds the lock, at an index; 0 where nobody knows at which.
#[derive(Clone, Copy, Debug)]
struct Claim<'a> {
    session: &'a Text,
    index: Index,
    operation: &'a Operation,
}

#[derive(Clone, Copy, Debug)]
struct LetGo<'a> {
    /// Nothing for a deletion, which lets go whoever holds it.
    session: Option<&'a Text>,
    /// Nothing where nobody knows whether and at which index.
    index: Option<Index>,
    operation: &'a Operation,
}

impl<'a> Lock<'a> {
    fn hear(&mut self, operation: &'a Operation) {
        let index = match &operation.result {
            OperationResult::Failed(_) | OperationResult::Unmet { .. } => return,
            OperationResult::Unknown(_) => None,
            OperationResult::Done { index, .. } => Some(*index),
        };
        match &operation.action {
            Action::Acquire { session, .. } => {
                let claim = Claim { session, index: index.unwrap_or(0), operation };
                let claims =
                    if index.is_some() { &mut self.acquired } else { &mut self.perhaps_acquired };
                claims.push(claim);
            }
            Action::Release { session, .. } => {
                self.let_go.push(LetGo { session: Some(session), index, operation });
                self.shown.extend(index.map(|index| Claim { session, index, operation }));
            }
            Action::Delete { .. } => {
                self.let_go.push(LetGo { session: None, index, operation });
            }
            Action::Read { .. } => {
                let OperationResult::Done { found: Found::Pair(Some(pair)), .. } =
                    &operation.result
                else {
                    return;
                };
                self.pairs.push((pair, operation));
                if !pair.session.is_empty() {
                    let (session, index) = (&pair.session, pair.modify_index);
                    self.shown.push(Claim { session, index, operation });
                }
            }
            _ => {}
        }
    }

    fn held_by_two(
        &self,
        key: &Text,
        lives: &BTreeMap<&Text, Life<'_>>,
        clocks: &Clocks,
    ) -> Option<Violation> {
        let pairs = self.acquired.iter().zip(self.acquired.iter().skip(1));
        let mut taken_over = pairs.filter(|(first, second)| first.session != second.session);
        let (first, second) = taken_over.find(|(first, second)| {
            let by = second.operation.returned_at;
            let life = lives.get(first.session);
            let may_have_ended = life.is_none_or(|life| life.may_have_lost_locks(by, clocks));
            !self.was_let_go(first, second) && !may_have_ended
        })?;
        let (one, other) = (first.session, second.session);
        let headline = format!("{key}: {other} acquired it while {one} held it");
        let mut evidence = vec![first.operation];
        let grants = lives.get(one).into_iter().flat_map(|life| life.grants.last());
        evidence.extend(grants.filter(|grant| grant.invoked_at > first.operation.invoked_at));
        evidence.push(second.operation);
        Some(Violation::new(INVARIANT, headline, &evidence))
    }

    /// Whether the first holder released the lock, or somebody deleted the pair, in time.
    fn was_let_go(&self, first: &Claim<'_>, second: &Claim<'_>) -> bool {
        self.let_go.iter().any(|let_go| {
            let is_about_it = let_go.session.is_none_or(|session| session == first.session);
            let is_in_time = match let_go.index {
                Some(index) => first.index < index && index < second.index,
                None => let_go.operation.invoked_at <= second.operation.returned_at,
            };
            is_about_it && is_in_time
        })
    }

    fn fence_falls(&mut self, key: &Text) -> Option<Violation> {
        self.pairs.sort_by_key(|(pair, _)| (pair.create_index, pair.modify_index));
        let pairs = self.pairs.iter().zip(self.pairs.iter().skip(1));
        let mut last_held: Option<(&PairSeen, &Operation)> = None;
        for ((earlier, one), (later, other)) in pairs {
            if !earlier.session.is_empty() {
                last_held = Some((earlier, one));
            }
            if earlier.create_index != later.create_index {
                last_held = None;
                continue;
            }
            if later.lock_index < earlier.lock_index {
                let headline = format!("{key}: the lock index falls");
                return Some(Violation::new(INVARIANT, headline, &[one, other]));
            }
            let Some((held, by)) = last_held else { continue };
            let is_another = !later.session.is_empty() && later.session != held.session;
            if is_another && later.lock_index <= held.lock_index {
                let headline = format!("{key}: two holders share a lock index");
                return Some(Violation::new(INVARIANT, headline, &[by, other]));
            }
        }
        None
    }

    fn held_by_a_stranger(&self, key: &Text) -> Option<Violation> {
        let shown = self.shown.iter().find(|shown| {
            let last = self.acquired.iter().rev().find(|held| held.index <= shown.index);
            let is_holder = last.is_some_and(|held| held.session == shown.session);
            let may_be = self.perhaps_acquired.iter().any(|perhaps| {
                perhaps.session == shown.session
                    && perhaps.operation.invoked_at <= shown.operation.returned_at
            });
            !is_holder && !may_be
        })?;
        let last = self.acquired.iter().rev().find(|held| held.index <= shown.index);
        let headline = format!("{key}: {} holds it and has not acquired it last", shown.session);
        let evidence: Vec<&Operation> =
            last.map(|held| held.operation).into_iter().chain([shown.operation]).collect();
        Some(Violation::new(INVARIANT, headline, &evidence))
    }
}

impl Life<'_> {
    /// Whether another session may have acquired by this instant what this one held: it was ended,
    /// or a whole ttl and the lock delay had passed since its last grant.
    fn may_have_lost_locks(&self, by: Duration, clocks: &Clocks) -> bool {
        if self.wished_ends.iter().any(|end| end.invoked_at <= by) {
            return true;
        }
        let Some(ttl) = self.ttl else { return true };
        let pause = clocks.at_least(ttl) + clocks.at_least(self.lock_delay);
        !ttl.is_zero() && self.grants.iter().all(|grant| grant.invoked_at + pause <= by)
    }
}

#[cfg(test)]
mod tests;
