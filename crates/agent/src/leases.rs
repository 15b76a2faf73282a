//! The leases of sessions and instances, as the leader keeps them in memory.
//!
//! A renewal moves a deadline here and writes nothing to the log. The rules are `health`'s; this file
//! adds the clock, the lock and the state that the leases follow. An instance that is registered
//! again is granted a full ttl, whatever became of its lease before.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_health::Moment;
use muster_health::lease::{Leases, Renewal};
use muster_model::scope::{ChangeKind, Object};
use muster_model::session::SessionEnd;
use muster_model::{Command, Index, LeaseId, Scope};
use muster_registry::Refusal;
use muster_state::State;
use tokio::time::{Instant, timeout_at};

use crate::agent::Agent;
use crate::machine::Shared;
use crate::registry::refuse;

/// Leases that are told to have expired in one command.
pub(crate) const EXPIRED_PER_COMMAND: usize = 128;

/// What the leader follows to know which leases there are.
pub(crate) const FOLLOWED: [Scope; 2] = [Scope::Sessions, Scope::Leases];

/// The leases of a cluster, measured on this agent's clock.
pub(crate) struct MeasuredLeases {
    leases: Mutex<Leases<LeaseId>>,
    started_at: Instant,
}

impl MeasuredLeases {
    /// No leases; moments count from now.
    pub(crate) fn new() -> MeasuredLeases {
        MeasuredLeases { leases: Mutex::default(), started_at: Instant::now() }
    }

    /// Begins a term of leadership: every lease in the state gets its full ttl.
    pub(crate) fn take_over(&self, shared: &Shared) {
        let state = shared.state.load();
        let sessions = state.leased_sessions();
        let sessions =
            sessions.map(|own| (LeaseId::Session(own.id.clone()), own.ttl, own.modify_index));
        let instances = state.leased_instances().filter_map(|(node, own)| {
            let id = LeaseId::Instance { node: node.clone(), id: own.id.clone() };
            Some((id, own.lease_ttl()?, own.modify_index))
        });
        self.lock().take_over(sessions.chain(instances), self.now());
    }

    /// Ends a term of leadership.
    pub(crate) fn clear(&self) {
        self.lock().take_over([], self.now());
    }

    /// Follows changes of the state: what is new gets its ttl, what is gone is forgotten.
    pub(crate) fn follow(&self, shared: &Shared, changed: &[(Object, ChangeKind)]) {
        let state = shared.state.load();
        let mut leases = self.lock();
        for (object, _) in changed {
            let id = match object {
                Object::Session(id) => LeaseId::Session(id.clone()),
                Object::Instance { node, id, .. } => LeaseId::instance(node, id),
                _ => continue,
            };
            match term_of(&state, &id) {
                Some((ttl, since)) if !ttl.is_zero() => {
                    if is_granted_anew(&id) || leases.ttl(&id).is_none() {
                        leases.grant(id, ttl, since, self.now());
                    }
                }
                _ => leases.end(&id),
            }
        }
    }

    /// Some leases that have run out, each with the index it was granted for; each is given once,
    /// until [`MeasuredLeases::follow`] sees it end or [`MeasuredLeases::not_ended`] says that the
    /// log did not take it.
    pub(crate) fn expired(&self) -> Vec<(LeaseId, Index)> {
        let mut leases = self.lock();
        let now = self.now();
        std::iter::from_fn(|| leases.expire_next(now)).take(EXPIRED_PER_COMMAND).collect()
    }

    /// Keeps a lease that ran out.
    pub(crate) fn hold(&self, id: &LeaseId) {
        self.lock().hold(id);
    }

    /// Some leases that were kept and for which `ends` holds now, as [`MeasuredLeases::expired`].
    pub(crate) fn let_go(&self, ends: impl FnMut(&LeaseId) -> bool) -> Vec<(LeaseId, Index)> {
        self.lock().let_go(EXPIRED_PER_COMMAND, ends)
    }

    /// Whether leases are kept that ran out.
    pub(crate) fn holds_any(&self) -> bool {
        self.lock().holds_any()
    }

    /// The log did not take an expiry: the lease gets another term.
    pub(crate) fn not_ended(&self, shared: &Shared, id: &LeaseId) {
        match term_of(&shared.state.load(), id) {
            Some((ttl, since)) => self.lock().grant(id.clone(), ttl, since, self.now()),
            None => self.lock().end(id),
        }
    }

    /// When the next lease may run out.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let at = self.lock().next_deadline()?;
        Some(self.instant(at))
    }

    /// Leases there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(crate) fn renew_once(&self, shared: &Shared, id: &LeaseId) -> Result<Renewal, Refusal> {
        let (ttl, since) = term_of(&shared.state.load(), id)
            .ok_or_else(|| Refusal::Unknown(format!("{id} does not exist")))?;
        if ttl.is_zero() {
            return Ok(Renewal::Renewed);
        }
        let mut leases = self.lock();
        let renewal = leases.renew(id, self.now());
        if renewal == Renewal::Unknown {
            // Created a moment ago, and not yet followed.
            leases.grant(id.clone(), ttl, since, self.now());
            return Ok(Renewal::Renewed);
        }
        Ok(renewal)
    }

    /// The moment that it is, for all that a leader measures.
    pub(crate) fn now(&self) -> Moment {
        Moment::after_start(self.started_at.elapsed())
    }

    /// When a moment is on this agent's clock.
    pub(crate) fn instant(&self, moment: Moment) -> Instant {
        self.started_at + moment.since_start()
    }

    /// Held for a few map operations; nothing is awaited meanwhile.
    fn lock(&self) -> MutexGuard<'_, Leases<LeaseId>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ttl of what a lease keeps alive, zero for a session without one, and the index at which it
/// was written; nothing where it is gone.
fn term_of(state: &State, id: &LeaseId) -> Option<(Duration, Index)> {
    match id {
        LeaseId::Session(id) => state.session(id).map(|own| (own.ttl, own.modify_index)),
        LeaseId::Instance { node, id } => {
            let own = state.instance(node, id)?;
            Some((own.lease_ttl()?, own.modify_index))
        }
    }
}

/// Whether a change of what a lease keeps alive is a renewal: instances are registered again by who
/// renews them, a session is never written twice.
fn is_granted_anew(id: &LeaseId) -> bool {
    matches!(id, LeaseId::Instance { .. })
}

/// The command that tells the state of an expiry.
pub(crate) fn expiry(id: &LeaseId, since: Index) -> Command {
    match id {
        LeaseId::Session(id) => Command::EndSession { id: id.clone(), why: SessionEnd::Expired },
        LeaseId::Instance { node, id } => {
            Command::ExpireInstance { node: node.clone(), id: id.clone(), if_index: since }
        }
    }
}

impl Agent {
    /// Renews a lease as the leader. While its expiry is in the log, waits for what comes
    /// of that.
    ///
    /// The renewal is noted first and leadership confirmed after it: a leader that has been deposed
    /// acknowledges nothing, and one that is deposed later had the lease when its successor granted
    /// it a full term. A leader that was just elected may not have applied yet that an earlier one
    /// let the lease expire: the lease has to be there once all that is confirmed has been applied.
    pub(crate) async fn renew_as_leader(
        &self,
        id: &LeaseId,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        if !self.consensus.leadership().borrow().is_leader {
            return Err(Refusal::NoLeader);
        }
        let scope = match id {
            LeaseId::Session(id) => Scope::Session(id.clone()),
            LeaseId::Instance { node, .. } => Scope::Node(node.clone()),
        };
        loop {
            let (seen, applied) = (self.shared.hub.published(), self.consensus.applied_index());
            match self.leases.renew_once(&self.shared, id) {
                Ok(Renewal::Renewed) => {
                    self.catch_up_as_leader(deadline).await?;
                    if term_of(&self.shared.state.load(), id).is_some() {
                        self.doubts.recover(id, self.guard.inner());
                        return Ok(());
                    }
                    continue;
                }
                Ok(_expiring) => {}
                // A leader that was just elected may not have seen it yet. Asked by what was applied:
                // not every entry of the log changes what is published.
                Err(unknown) if self.catch_up_as_leader(deadline).await? <= applied => {
                    return Err(unknown);
                }
                Err(_) => continue,
            }
            let mut changes = self.shared.hub.changes(std::slice::from_ref(&scope), seen);
            timeout_at(deadline, changes.touched()).await.map_err(|_| Refusal::Late)?;
        }
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

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use muster_consensus::{Committed, Machine};
    use muster_model::command::Registration;
    use muster_model::instance::Extras;
    use muster_model::node::Origin;
    use muster_model::{Instance, Node, Outcome};

    use super::*;
    use crate::machine::StateMachine;

    pub(crate) const TTL: Duration = Duration::from_secs(90);

    /// A state machine with the leases that follow it.
    pub(crate) struct House {
        pub(crate) shared: Arc<Shared>,
        machine: StateMachine,
        pub(crate) leases: MeasuredLeases,
    }

    impl House {
        pub(crate) fn new() -> House {
            let shared = Shared::new();
            let machine = StateMachine::new(shared.clone());
            House { shared, machine, leases: MeasuredLeases::new() }
        }

        pub(crate) fn apply(&mut self, command: &Command) -> Outcome {
            let index = self.shared.state.load().index() + 1;
            let entry = Committed { index, command: muster_model::encode(command) };
            let mut outcomes = Vec::new();
            self.machine.apply(&[entry], &mut outcomes);
            muster_model::decode(&outcomes[0]).unwrap()
        }

        fn register(&mut self, port: u16) {
            self.register_as("web-1", port);
        }

        pub(crate) fn register_as(&mut self, id: &str, port: u16) {
            let extras = Extras { lease_ttl: TTL, ..Extras::default() };
            let (id, service, origin) = (id.into(), "web".into(), Origin::Lease);
            let instance = Instance { id, service, port, origin, ..Instance::default() };
            let instance = Some(instance.with_extras(extras));
            let address = "10.0.0.1".into();
            let node = Node { name: "Host".into(), address, origin, ..Node::default() };
            let wish = Registration { node, instance, ..Registration::default() };
            assert_eq!(self.apply(&Command::Register(wish)), Outcome::Done);
        }

        fn follow(&self) {
            let (node, service, id) = ("Host".into(), "web".into(), "web-1".into());
            let object = Object::Instance { node, service, id };
            self.leases.follow(&self.shared, &[(object, ChangeKind::Changed)]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewed_instance_stays_and_a_silent_one_expires_with_its_node() {
        let mut house = House::new();
        house.register(80);
        house.follow();
        let id = LeaseId::instance(&"HOST".into(), &"web-1".into());
        tokio::time::advance(TTL - Duration::from_secs(1)).await;
        assert_eq!(house.leases.renew_once(&house.shared, &id), Ok(Renewal::Renewed));
        tokio::time::advance(TTL - Duration::from_secs(1)).await;
        assert_eq!(house.leases.expired(), []);
        tokio::time::advance(Duration::from_secs(1)).await;
        let expired = house.leases.expired();
        assert_eq!(expired, [(id.clone(), 1)]);
        assert_eq!(house.apply(&expiry(&id, 1)), Outcome::Done);
        assert!(house.shared.state.load().node_detail(&"host".into()).is_none());
        assert!(house.leases.renew_once(&house.shared, &id).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_registered_again_survives_an_expiry_that_was_decided_before() {
        let mut house = House::new();
        house.register(80);
        house.leases.take_over(&house.shared);
        tokio::time::advance(TTL).await;
        house.register(81);
        let (id, since) = house.leases.expired().remove(0);
        assert_eq!(house.leases.renew_once(&house.shared, &id), Ok(Renewal::Expiring));
        assert_eq!(house.apply(&expiry(&id, since)), Outcome::Unmet);
        house.follow();
        assert_eq!(house.leases.renew_once(&house.shared, &id), Ok(Renewal::Renewed));
        assert_eq!(house.leases.expired(), []);
    }
}
