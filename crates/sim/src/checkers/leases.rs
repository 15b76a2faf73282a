//! Leases: a session lives as long as it was renewed, and not much longer.
//!
//! Sources: C. Gray, D. Cheriton, "Leases: an efficient fault-tolerant mechanism for distributed file
//! cache consistency", 1989, and what this house promises of them:
//! 1. **Never early.** Whoever was told that a lease is granted or renewed has it for a whole ttl
//!    from the moment at which they asked.
//! 2. **Ended is ended.** After a client heard that a session is gone nobody hears that it lives. This
//!    and the first rule also find a deposed leader that acknowledges a renewal: the leader after it
//!    knows nothing of it, and expires the session too early for who was told.
//! 3. **Hardly late.** It is gone one ttl after its last renewal, or after the last change of
//!    leader, whichever is later: each new leader grants a full term. Who could not decide anything
//!    for lack of a quorum could not expire anything either, so a session is late only if a write
//!    that was asked for after its end was due has been granted before it was seen alive.
//!
//! A session that its holder ended is not judged by the first rule. Stale answers say nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_model::Text;

use super::{Clocks, Violation};
use crate::history::{Action, Found, Freshness, History, Leadership, Operation, OperationResult};

const INVARIANT: &str = "leases";
/// A leader that was stopped has this long, once it goes on, to decide what came due meanwhile.
const SETTLE: Duration = Duration::from_secs(1);

/// What operations say of one session.
#[derive(Debug, Default)]
pub(super) struct Life<'a> {
    /// The duration of its lease; zero: it has none. Nothing if nobody asked for the session.
    pub(super) ttl: Option<Duration>,
    pub(super) lock_delay: Duration,
    /// Created or renewed, and told so.
    pub(super) grants: Vec<&'a Operation>,
    /// Created or renewed, perhaps.
    pub(super) perhaps: Vec<&'a Operation>,
    /// Its holder ended it, or perhaps did.
    pub(super) wished_ends: Vec<&'a Operation>,
    /// Who heard that it lives.
    alive: Vec<&'a Operation>,
    /// Who heard that it does not.
    gone: Vec<&'a Operation>,
}

/// Judges the sessions of a history.
#[must_use]
pub fn check(history: &History, clocks: &Clocks) -> Vec<Violation> {
    let writes: Vec<&Operation> =
        history.operations.iter().filter(|operation| is_granted_write(operation)).collect();
    let lives = lives(&history.operations);
    let judged = lives.iter().flat_map(|(session, life)| {
        let early = life.too_early(session, clocks);
        let risen = life.risen(session);
        let late = life.too_late(session, clocks, &history.leaderships, &writes);
        early.into_iter().chain(risen).chain(late)
    });
    judged.collect()
}

/// What operations say of each session.
pub(super) fn lives(operations: &[Operation]) -> BTreeMap<&Text, Life<'_>> {
    let mut lives: BTreeMap<&Text, Life<'_>> = BTreeMap::new();
    for operation in operations {
        if let Some(session) = session_of(&operation.action) {
            lives.entry(session).or_default().hear(operation);
        }
    }
    lives.values_mut().for_each(Life::forget_before_birth);
    lives
}

fn session_of(action: &Action) -> Option<&Text> {
    match action {
        Action::CreateSession { session, .. }
        | Action::Renew { session }
        | Action::LookUpSession { session, .. }
        | Action::EndSession { session }
        | Action::Acquire { session, .. } => Some(session),
        _ => None,
    }
}

fn is_granted_write(operation: &Operation) -> bool {
    !operation.action.is_read() && matches!(operation.result, OperationResult::Done { .. })
        // A renewal is granted from the leader's memory and proves no decision.
        && !matches!(operation.action, Action::Renew { .. })
}

impl<'a> Life<'a> {
    fn hear(&mut self, operation: &'a Operation) {
        use OperationResult::{Done, Failed, Unknown, Unmet};
        if let Action::CreateSession { ttl, lock_delay, .. } = &operation.action {
            (self.ttl, self.lock_delay) = (Some(*ttl), *lock_delay);
        }
        match (&operation.action, &operation.result) {
            (_, Failed(_)) => {}
            (Action::CreateSession { .. } | Action::Renew { .. }, Done { .. }) => {
                self.grants.push(operation);
                self.alive.push(operation);
            }
            (Action::CreateSession { .. } | Action::Renew { .. }, Unknown(_)) => {
                self.perhaps.push(operation);
            }
            (Action::Renew { .. }, Unmet { .. }) => self.gone.push(operation),
            (Action::LookUpSession { freshness, .. }, Done { found, .. })
                if *freshness != Freshness::Stale =>
            {
                match found {
                    Found::Session(true) => self.alive.push(operation),
                    Found::Session(false) => self.gone.push(operation),
                    _ => {}
                }
            }
            (Action::Acquire { .. }, Done { .. }) => self.alive.push(operation),
            (Action::EndSession { .. }, result) => {
                self.wished_ends.push(operation);
                if !matches!(result, Unknown(_)) {
                    self.gone.push(operation);
                }
            }
            _ => {}
        }
    }

    /// That it was gone says something only once it was there.
    fn forget_before_birth(&mut self) {
        let birth = self.alive.iter().map(|alive| alive.returned_at).min();
        let birth = birth.unwrap_or(Duration::MAX);
        self.gone.retain(|gone| gone.invoked_at >= birth);
    }

    fn too_early(&self, session: &Text, clocks: &Clocks) -> Option<Violation> {
        let ttl = self.ttl?;
        let wished = self.wished_ends.iter().map(|end| end.invoked_at).min();
        let wished = wished.unwrap_or(Duration::MAX);
        let unwished = self.gone.iter().filter(|gone| gone.returned_at < wished);
        let mut pairs =
            unwished.flat_map(|gone| self.grants.iter().map(move |grant| (grant, gone)));
        let (grant, gone) = pairs.find(|(grant, gone)| {
            let is_due =
                !ttl.is_zero() && gone.returned_at >= grant.invoked_at + clocks.at_least(ttl);
            grant.invoked_at <= gone.returned_at && !is_due
        })?;
        let headline = format!("session {session} ended before its ttl of {ttl:?} had passed");
        Some(Violation::new(INVARIANT, headline, &[grant, gone]))
    }

    fn risen(&self, session: &Text) -> Option<Violation> {
        let first_gone = self.gone.iter().min_by_key(|gone| gone.returned_at)?;
        let alive = self.alive.iter().find(|alive| alive.invoked_at > first_gone.returned_at)?;
        let headline = format!("session {session} had ended and lives again");
        Some(Violation::new(INVARIANT, headline, &[first_gone, alive]))
    }

    fn too_late(
        &self,
        session: &Text,
        clocks: &Clocks,
        leaderships: &[Leadership],
        writes: &[&Operation],
    ) -> Option<Violation> {
        let ttl = self.ttl.filter(|ttl| !ttl.is_zero())?;
        self.alive.iter().find_map(|alive| {
            let earlier = self.grants.iter().chain(&self.perhaps);
            let granted = earlier.filter(|grant| grant.invoked_at < alive.invoked_at);
            let granted = granted.map(|grant| grant.returned_at).max()?;
            let led = leaderships.iter().map(|led| led.since);
            let led = led.filter(|since| *since <= alive.returned_at).max().unwrap_or_default();
            let due = granted.max(led).saturating_add(clocks.at_most(ttl));
            let decided = writes.iter().find(|write| {
                write.invoked_at > due && write.returned_at + SETTLE <= alive.invoked_at
            })?;
            let headline = format!("session {session} lives although its end was due at {due:?}");
            Some(Violation::new(INVARIANT, headline, &[decided, alive]))
        })
    }
}

#[cfg(test)]
mod tests;
