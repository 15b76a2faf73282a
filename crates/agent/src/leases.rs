//! The leases of sessions, as the leader keeps them in memory.
//!
//! A renewal moves a deadline here and writes nothing to the log. The rules are `health`'s; this file
//! adds the clock, the lock and the state that the leases follow.

use std::sync::{Mutex, MutexGuard, PoisonError};

use muster_health::Moment;
use muster_health::lease::{Leases, Renewal};
use muster_model::scope::{ChangeKind, Object};
use muster_model::{Index, Scope, Text};
use muster_registry::Refusal;
use tokio::time::{Instant, timeout_at};

use crate::agent::Agent;
use crate::machine::Shared;
use crate::registry::refuse;

/// The leases of sessions, measured on this agent's clock.
pub(crate) struct SessionLeases {
    leases: Mutex<Leases>,
    started_at: Instant,
}

impl SessionLeases {
    /// No leases; moments count from now.
    pub(crate) fn new() -> SessionLeases {
        SessionLeases { leases: Mutex::default(), started_at: Instant::now() }
    }

    /// Begins a term of leadership: every leased session in the state gets its full ttl.
    pub(crate) fn take_over(&self, shared: &Shared) {
        let state = shared.state.load();
        let leased = state.leased_sessions().map(|session| (session.id.clone(), session.ttl));
        self.lock().take_over(leased, self.now());
    }

    /// Ends a term of leadership.
    pub(crate) fn clear(&self) {
        self.lock().take_over([], self.now());
    }

    /// Follows changes of the state: new sessions get their ttl, ended ones are forgotten.
    pub(crate) fn follow(&self, shared: &Shared, changed: &[(Object, ChangeKind)]) {
        let state = shared.state.load();
        let mut leases = self.lock();
        for (object, _) in changed {
            let Object::Session(id) = object else { continue };
            match state.session(id).map(|session| session.ttl) {
                Some(ttl) if !ttl.is_zero() => {
                    if leases.ttl(id).is_none() {
                        leases.grant(id.clone(), ttl, self.now());
                    }
                }
                _ => leases.end(id),
            }
        }
    }

    /// Sessions whose lease has run out; each is given once, until [`SessionLeases::follow`] sees
    /// it end or [`SessionLeases::not_ended`] says that the log did not take it.
    pub(crate) fn expired(&self) -> Vec<Text> {
        let mut leases = self.lock();
        let now = self.now();
        std::iter::from_fn(|| leases.expire_next(now)).collect()
    }

    /// The log did not take an expiry: the session gets another term.
    pub(crate) fn not_ended(&self, shared: &Shared, id: &Text) {
        if let Some(session) = shared.state.load().session(id) {
            self.lock().grant(id.clone(), session.ttl, self.now());
        }
    }

    /// When the next lease may run out.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let at = self.lock().next_deadline()?;
        Some(self.started_at + at.since_start())
    }

    /// Leases there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn renew_once(&self, shared: &Shared, id: &Text) -> Result<Renewal, Refusal> {
        let ttl = shared
            .state
            .load()
            .session(id)
            .map(|session| session.ttl)
            .ok_or_else(|| Refusal::Unknown(format!("session {id:?} does not exist")))?;
        if ttl.is_zero() {
            return Ok(Renewal::Renewed);
        }
        let mut leases = self.lock();
        let renewal = leases.renew(id, self.now());
        if renewal == Renewal::Unknown {
            // Created a moment ago, and not yet followed.
            leases.grant(id.clone(), ttl, self.now());
            return Ok(Renewal::Renewed);
        }
        Ok(renewal)
    }

    fn now(&self) -> Moment {
        Moment::after_start(self.started_at.elapsed())
    }

    /// Held for a few map operations; nothing is awaited meanwhile.
    fn lock(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Agent {
    /// Renews a session's lease as the leader. While its expiry is in the log, waits for what comes
    /// of that.
    ///
    /// The renewal is noted first and leadership confirmed after it: a leader that has been deposed
    /// acknowledges nothing, and one that is deposed later had the lease when its successor granted
    /// it a full term.
    pub(crate) async fn renew_as_leader(
        &self,
        id: &Text,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        if !self.consensus.leadership().borrow().is_leader {
            return Err(Refusal::NoLeader);
        }
        loop {
            let seen = self.shared.hub.published();
            match self.leases.renew_once(&self.shared, id) {
                Ok(Renewal::Renewed) => break,
                Ok(_expiring) => {}
                // A leader that was just elected may not have seen the session yet.
                Err(unknown) if self.catch_up_as_leader(deadline).await? <= seen => {
                    return Err(unknown);
                }
                Err(_) => continue,
            }
            let mut changes = self.shared.hub.changes(&[Scope::Session(id.clone())], seen);
            timeout_at(deadline, changes.touched()).await.map_err(|_| Refusal::Late)?;
        }
        self.consensus.confirm_here(deadline).await.map(drop).map_err(refuse)
    }

    /// Waits until the state has all that was decided under earlier leaders; gives its index.
    async fn catch_up_as_leader(&self, deadline: Instant) -> Result<Index, Refusal> {
        let index = self.consensus.confirm_here(deadline).await.map_err(refuse)?;
        match self.consensus.wait_applied(index, deadline).await {
            true => Ok(index),
            false => Err(Refusal::Late),
        }
    }
}
