//! The registry over a bare state.
//!
//! What only a leader decides in the real house is decided by [`Bench::advance`]: it moves the clock
//! and tells the state which leases expired and which lock delays are over. Leases expire to the
//! second, not late as a leader's may.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_model::session::SessionEnd;
use muster_model::{Command, Index, LeaseId, Outcome, Query, Scope, Text};
use muster_registry::registry::Asking;
use muster_registry::{
    Answered, Call, Changes, Committed, Freshness, Hub, Pending, Refusal, Registry, Standing,
};
use muster_state::State;

/// A registry over a bare state, with a clock turned by hand.
pub struct Bench {
    inner: Mutex<Inner>,
    hub: Arc<Hub>,
}

#[derive(Default)]
struct Inner {
    state: State,
    /// Time since the bench was made.
    now: Duration,
    /// When each lease was renewed last.
    renewed_at: BTreeMap<LeaseId, Duration>,
    /// When each lock delay was first seen, by key and the index at which it began.
    delayed_since: BTreeMap<(Text, Index), Duration>,
    /// Why nothing is granted now.
    refusal: Option<Refusal>,
    /// How the server stands, but for the freshness; nothing: it leads.
    standing: Option<Standing>,
    n_asked: usize,
}

impl Default for Bench {
    fn default() -> Bench {
        let hub = Hub::new(0);
        hub.begin_timeline();
        Bench { inner: Mutex::default(), hub: Arc::new(hub) }
    }
}

impl Bench {
    /// An empty registry.
    pub fn new() -> Arc<Bench> {
        Arc::default()
    }

    /// Applies a command and expects it to be granted.
    ///
    /// # Panics
    /// Where the outcome is a denial, unmet, or rolled back: a test's preparation must succeed.
    pub fn apply(&self, command: Command) -> Index {
        let committed = self.commit(command);
        assert!(
            matches!(committed.outcome, Outcome::Done | Outcome::Transacted(_) | Outcome::Batch(_)),
            "preparing the test failed: {:?}",
            committed.outcome
        );
        committed.index
    }

    /// The answer to a query, now.
    pub fn answer(&self, query: &Query) -> Answered {
        let mut inner = self.lock();
        inner.n_asked += 1;
        let answer = Arc::new(inner.state.answer(query));
        let leads = Standing { knows_leader: true, ..Standing::default() };
        let standing = inner.standing.unwrap_or(leads);
        Answered { answer, as_of: inner.state.index(), standing }
    }

    /// The present version of the state.
    pub fn state(&self) -> State {
        self.lock().state.clone()
    }

    /// How many questions were answered, to prove that one was not asked again.
    pub fn n_asked(&self) -> usize {
        self.lock().n_asked
    }

    /// From now on every call gets this refusal; nothing ends it.
    pub fn refuse(&self, refusal: Option<Refusal>) {
        self.lock().refusal = refusal;
    }

    /// From now on answers tell that the server stood so. The freshness stays the one asked for.
    pub fn stand(&self, standing: Standing) {
        self.lock().standing = Some(standing);
    }

    /// Moves the clock, ends the leases that were not renewed in time, and opens the locks whose
    /// delay is over.
    pub fn advance(&self, by: Duration) {
        let ended = {
            let mut inner = self.lock();
            inner.now += by;
            inner.due()
        };
        for command in ended {
            self.commit(command);
        }
    }

    fn commit(&self, command: Command) -> Committed {
        let mut inner = self.lock();
        let index = inner.state.index() + 1;
        let (outcome, changes) = inner.state.apply(index, &command);
        inner.note_clocks();
        // Published under the lock: batches have to come in order.
        self.hub.publish(index, changes);
        Committed { index, outcome }
    }

    /// Why a call is not granted: there is no datacenter but the bench's own.
    fn refusal(&self, call: &Call) -> Option<Refusal> {
        let other = call.datacenter.clone().map(Refusal::NoDatacenter);
        other.or_else(|| self.lock().refusal.clone())
    }

    /// Nothing that runs under the lock leaves the data half changed.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Starts the clocks of what is new, and forgets those of what is gone.
    fn note_clocks(&mut self) {
        let Inner { state, now, renewed_at, delayed_since, .. } = self;
        let mut known = BTreeMap::new();
        for session in state.leased_sessions() {
            let id = LeaseId::Session(session.id.clone());
            let since = renewed_at.get(&id).copied().unwrap_or(*now);
            known.insert(id, since);
        }
        for (node, instance) in state.leased_instances() {
            let id = LeaseId::instance(node, &instance.id);
            let kept = renewed_at.get(&id).filter(|_| instance.modify_index < state.index());
            let since = kept.copied().unwrap_or(*now);
            known.insert(id, since);
        }
        *renewed_at = known;
        let delays: BTreeMap<(Text, Index), Duration> = state
            .lock_delays()
            .map(|(key, delay)| (key.clone(), delay.began_at))
            .map(|place| {
                let since = delayed_since.get(&place).copied().unwrap_or(*now);
                (place, since)
            })
            .collect();
        *delayed_since = delays;
    }

    /// What a leader would tell the state at this time.
    fn due(&self) -> Vec<Command> {
        let is_over = |id: &LeaseId, ttl| self.renewed_at[id] + ttl <= self.now;
        let mut commands = Vec::new();
        for own in self.state.leased_sessions() {
            if is_over(&LeaseId::Session(own.id.clone()), own.ttl) {
                commands.push(Command::EndSession { id: own.id.clone(), why: SessionEnd::Expired });
            }
        }
        for (node, own) in self.state.leased_instances() {
            if own.lease_ttl().is_some_and(|ttl| is_over(&LeaseId::instance(node, &own.id), ttl)) {
                let (node, id) = (node.clone(), own.id.clone());
                commands.push(Command::ExpireInstance { node, id, if_index: own.modify_index });
            }
        }
        let over = self.state.lock_delays().filter(|(key, delay)| {
            let since = self.delayed_since[&((*key).clone(), delay.began_at)];
            since + delay.duration <= self.now
        });
        let keys: Vec<(Text, Index)> =
            over.map(|(key, delay)| (key.clone(), delay.began_at)).collect();
        if !keys.is_empty() {
            commands.push(Command::EndLockDelays { keys });
        }
        commands
    }
}

impl Registry for Bench {
    fn submit<'a>(
        &'a self,
        call: &'a Call,
        command: Command,
    ) -> Pending<'a, Result<Committed, Refusal>> {
        let result = self.refusal(call).map_or_else(|| Ok(self.commit(command)), Err);
        Box::pin(std::future::ready(result))
    }

    fn ask<'a>(&'a self, call: &'a Call, query: &'a Query, freshness: Freshness) -> Asking<'a> {
        let result = self.refusal(call).map_or_else(|| Ok(self.answer(query)), Err);
        Asking::ready(result.map(|mut answered| {
            answered.standing.freshness = freshness;
            answered
        }))
    }

    fn peek(&self, _: &Call, query: &Query) -> Option<Answered> {
        let mut answered = self.answer(query);
        answered.standing.freshness = Freshness::Stale;
        Some(answered)
    }

    fn changes(&self, _: &Call, scopes: &[Scope], after: Index) -> Changes {
        self.hub.changes(scopes, after)
    }

    fn age_of(&self, index: Index) -> Option<Duration> {
        self.hub.age_of(index)
    }

    fn renew<'a>(&'a self, call: &'a Call, lease: &'a LeaseId) -> Pending<'a, Result<(), Refusal>> {
        let refusal = self.refusal(call);
        let mut inner = self.lock();
        let is_there = match lease {
            LeaseId::Session(id) => inner.state.session(id).is_some(),
            LeaseId::Instance { node, id } => inner.state.instance(node, id).is_some(),
        };
        let result = match refusal {
            Some(refusal) => Err(refusal),
            None if is_there => {
                let now = inner.now;
                inner.renewed_at.insert(lease.clone(), now);
                Ok(())
            }
            None => Err(Refusal::Unknown(format!("{lease} does not exist"))),
        };
        Box::pin(std::future::ready(result))
    }
}
