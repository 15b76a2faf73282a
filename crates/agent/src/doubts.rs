//! Leases that ran out and that the guard keeps: as the leader remembers them, and as the state
//! shows them.
//!
//! When too many leases of one service run out together, those beyond the bound are held
//! (`health::lease`), and their instances carry a check that says so: passing, so that nothing is
//! switched off, and seen through every front-end. The check goes when the lease is renewed or the
//! instance registered again; it goes with the instance where the guard lets it expire. A new
//! leader finds by these checks who was doubted. Sessions are never doubted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use muster_health::Moment;
use muster_health::guard::{Crowd, Guard, Share, Subject, Verdict};
use muster_model::check::GUARD_PREFIX;
use muster_model::command::{Registration, Target};
use muster_model::node::Origin;
use muster_model::{Check, Command, Index, LeaseId, Node, Status, Text};
use muster_state::State;
use tokio::sync::Notify;

use crate::leases::{EXPIRED_PER_COMMAND, MeasuredLeases};

/// What readers see beside an instance that is kept.
const CHECK_NAME: &str = "Kept by the guard";
/// What its output says before the doubt's numbers.
const OVERDUE: &str = "not renewed in time; kept by the guard: ";

/// Whose checks stand, and which are to be written or removed.
#[derive(Default)]
pub(crate) struct Doubts {
    inner: Mutex<Inner>,
    news: Notify,
}

#[derive(Default)]
struct Inner {
    /// Instances with a check that says that they are kept.
    marked: BTreeSet<LeaseId>,
    /// Checks that the state shall get, with their outputs, or lose.
    waiting: BTreeMap<LeaseId, Option<Text>>,
}

/// What shall be told to the state.
pub(crate) struct Due {
    /// Leases that end, each with the index it was granted for.
    pub(crate) ended: Vec<(LeaseId, Index)>,
    /// Checks that are written or removed: what [`Doubts::again`] takes back.
    pub(crate) marks: Vec<(LeaseId, Option<Text>)>,
}

impl Doubts {
    /// Begins a term of leadership: who was doubted before stays so.
    pub(crate) fn take_over(&self, state: &State, guard: &mut Guard<Subject>, now: Moment) {
        let mut inner = self.lock();
        *inner = Inner::default();
        for (node, own) in state.leased_instances() {
            let check_id = format!("{GUARD_PREFIX}{}", own.id);
            if state.check(node, &check_id).is_none() {
                continue;
            }
            let id = LeaseId::Instance { node: node.clone(), id: own.id.clone() };
            if let (Some(subject), Some(share)) = (subject_of(&id), share_of(state, &id)) {
                guard.inherit(&subject, &share, now);
                inner.marked.insert(id);
            }
        }
    }

    /// A lease was renewed, granted anew or ended: whether it is doubted is asked anew from now on.
    pub(crate) fn recover(&self, id: &LeaseId, guard: &Mutex<Guard<Subject>>) {
        let mut inner = self.lock();
        if !inner.marked.remove(id) {
            return;
        }
        inner.waiting.insert(id.clone(), None);
        drop(inner);
        if let Some(subject) = subject_of(id) {
            guard.lock().unwrap_or_else(PoisonError::into_inner).recover(&subject);
        }
        self.news.notify_one();
    }

    /// Waits until checks are to be written or removed.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    /// The state did not take these: they are tried again, unless something newer is to be told.
    pub(crate) fn again(&self, marks: Vec<(LeaseId, Option<Text>)>) {
        let mut inner = self.lock();
        for (id, output) in marks {
            inner.waiting.entry(id).or_insert(output);
        }
        drop(inner);
        self.news.notify_one();
    }

    /// Some leases that end and some checks that change. Who runs out passes the guard first.
    pub(crate) fn due(
        &self,
        leases: &MeasuredLeases,
        guard: &Mutex<Guard<Subject>>,
        state: &State,
    ) -> Due {
        let now = leases.now();
        let mut guard = guard.lock().unwrap_or_else(PoisonError::into_inner);
        guard.release(now);
        let mut ended = leases.let_go(|id| self.is_let_go(id, &mut guard, now));
        let mut inner = self.lock();
        for (id, since) in leases.expired() {
            match judge(&id, &mut guard, state, now) {
                None => ended.push((id, since)),
                Some(output) => {
                    leases.hold(&id);
                    if inner.marked.insert(id.clone()) {
                        inner.waiting.insert(id, Some(output));
                    }
                }
            }
        }
        ended.iter().for_each(|(id, _)| {
            inner.marked.remove(id);
        });
        let mut marks = Vec::new();
        while marks.len() < EXPIRED_PER_COMMAND
            && let Some(mark) = inner.waiting.pop_first()
        {
            marks.push(mark);
        }
        Due { ended, marks }
    }

    fn is_let_go(&self, id: &LeaseId, guard: &mut Guard<Subject>, now: Moment) -> bool {
        // It is known to the guard, which asks for no shares then.
        subject_of(id).is_none_or(|own| guard.judge(&own, &[], now) == Verdict::Proceed)
    }

    /// Held for a few map operations; nothing is awaited meanwhile.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why an instance whose lease ran out is kept; nothing where it ends.
fn judge(id: &LeaseId, guard: &mut Guard<Subject>, state: &State, now: Moment) -> Option<Text> {
    let (subject, share) = (subject_of(id)?, share_of(state, id)?);
    match guard.judge(&subject, &[share], now) {
        Verdict::Proceed => None,
        Verdict::Doubted => {
            let doubt = guard.doubt_of(&subject).expect("who is doubted has a doubt");
            Some(format!("{OVERDUE}{doubt}").into())
        }
    }
}

fn subject_of(id: &LeaseId) -> Option<Subject> {
    match id {
        LeaseId::Session(_) => None,
        LeaseId::Instance { node, id } => {
            Some(Subject::Instance { node: node.clone(), id: id.clone() })
        }
    }
}

fn share_of(state: &State, id: &LeaseId) -> Option<Share> {
    let LeaseId::Instance { node, id } = id else { return None };
    let service = state.instance(node, id)?.service.folded();
    let population = state.n_instances(&service);
    Some(Share { crowd: Crowd::Service(service), population })
}

/// The command that writes a check of ours, or removes it; nothing where its instance is gone.
pub(crate) fn mark(state: &State, id: &LeaseId, output: Option<&Text>) -> Option<Command> {
    let LeaseId::Instance { node, id: instance } = id else { return None };
    state.instance(node, instance)?;
    let id: Text = format!("{GUARD_PREFIX}{instance}").into();
    let Some(output) = output else {
        return Some(Command::Deregister { node: node.clone(), target: Target::Check(id) });
    };
    let check = Check {
        id,
        name: CHECK_NAME.into(),
        status: Status::Passing,
        output: output.clone(),
        instance_id: instance.clone(),
        origin: Origin::Lease,
        ..Check::default()
    };
    let node = Node { name: node.clone(), ..Node::default() };
    let checks = vec![check];
    Some(Command::Register(Registration { node, keep_node: true, checks, ..Default::default() }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use muster_health::guard::Settings;
    use tokio::time::advance;

    use super::*;
    use crate::leases::expiry;
    use crate::leases::tests::{House, TTL};

    /// A leader of ten instances of one service.
    struct Leader {
        house: House,
        guard: Mutex<Guard<Subject>>,
        doubts: Doubts,
    }

    fn lease(number: usize) -> LeaseId {
        LeaseId::instance(&"host".into(), &format!("web-{number}").into())
    }

    impl Leader {
        fn of_ten(settings: Settings) -> Leader {
            let mut house = House::new();
            (0..10).for_each(|number| house.register_as(&format!("web-{number}"), 80));
            let leader = Leader {
                house,
                guard: Mutex::new(Guard::new(settings)),
                doubts: Doubts::default(),
            };
            leader.take_over();
            leader
        }

        fn state(&self) -> Arc<State> {
            self.house.shared.state.load_full()
        }

        fn take_over(&self) {
            let leases = &self.house.leases;
            leases.take_over(&self.house.shared);
            let mut guard = self.guard.lock().unwrap();
            self.doubts.take_over(&self.state(), &mut guard, leases.now());
        }

        /// Tells the state what is due; how many leases ended.
        fn turn(&mut self) -> usize {
            let state = self.state();
            let Due { ended, marks } = self.doubts.due(&self.house.leases, &self.guard, &state);
            for (id, since) in &ended {
                self.house.apply(&expiry(id, *since));
                self.doubts.recover(id, &self.guard);
            }
            for (id, output) in marks {
                mark(&state, &id, output.as_ref()).map(|command| self.house.apply(&command));
            }
            ended.len()
        }

        fn output(&self, number: usize) -> Option<String> {
            let state = self.state();
            let check = state.check(&"host".into(), &format!("_guard:web-{number}"))?;
            assert_eq!(check.status, Status::Passing);
            Some(check.output.to_string())
        }

        fn n_marked(&self) -> usize {
            (0..10).filter(|number| self.output(*number).is_some()).count()
        }

        fn n_left(&self) -> usize {
            self.state().n_instances(&"web".into())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_a_service_may_expire_at_once_and_the_rest_is_kept_and_let_go_slowly() {
        let mut leader = Leader::of_ten(Settings::default());
        advance(TTL).await;
        assert_eq!((leader.turn(), leader.n_left(), leader.n_marked()), (5, 5, 5));
        let kept = leader.output(9).unwrap();
        assert!(kept.starts_with("not renewed in time; kept by the guard: "), "{kept}");
        assert!(kept.ends_with("10 of 10 with web failed within 30 s"), "{kept}");
        advance(Duration::from_secs(59)).await;
        assert_eq!(leader.turn(), 0);
        for n_left in [4, 3, 2, 1, 0] {
            advance(Duration::from_secs(60)).await;
            assert_eq!((leader.turn(), leader.n_left()), (1, n_left));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_renewed_is_no_longer_doubted_and_runs_out_by_itself() {
        let mut leader = Leader::of_ten(Settings::default());
        advance(TTL).await;
        leader.turn();
        let renewed = leader.house.leases.renew_once(&leader.house.shared, &lease(7));
        assert_eq!(renewed, Ok(muster_health::lease::Renewal::Renewed));
        leader.doubts.recover(&lease(7), &leader.guard);
        assert_eq!((leader.turn(), leader.output(7), leader.n_marked()), (0, None, 4));
        // All others are gone when it falls silent again: one of one is believed.
        for _ in 0..15 {
            advance(Duration::from_secs(60)).await;
            leader.turn();
            let _ = leader.house.leases.renew_once(&leader.house.shared, &lease(7));
        }
        assert_eq!(leader.n_left(), 1);
        advance(TTL).await;
        assert_eq!((leader.turn(), leader.n_left()), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_leader_keeps_doubting_whom_the_state_shows_as_doubted() {
        let mut leader = Leader::of_ten(Settings::default());
        advance(TTL).await;
        leader.turn();
        *leader.guard.lock().unwrap() = Guard::new(Settings::default());
        leader.take_over();
        assert_eq!(leader.turn(), 0, "a full term");
        leader.doubts.recover(&lease(8), &leader.guard);
        advance(TTL).await;
        assert!(leader.output(8).is_some(), "not told yet");
        let n_gone = leader.turn();
        assert!(n_gone <= 1, "{n_gone} ended at once after the leader changed");
        assert!(leader.n_left() >= 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_guard_that_is_off_keeps_nobody() {
        let mut leader = Leader::of_ten(Settings { is_on: false, ..Settings::default() });
        advance(TTL).await;
        assert_eq!((leader.turn(), leader.n_left()), (10, 0));
    }
}
