//! Leases: promises to renew within a ttl, else to expire.
//!
//! A lease never expires early: not before its ttl has passed since the last renewal, and a new
//! leader, who saw none of the renewals, grants each lease a full term. Expiry is decided here by
//! the leader but done by the log. While it is on its way there ([`Renewal::Expiring`]) a renewal
//! can be neither granted nor refused and has to wait for the outcome.
//!
//! Renewals are many and cost one look-up: a lease's alarm is left where it is and set anew only
//! when it goes off.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_model::Index;

use crate::Moment;

/// All leases of one leader's term, by what they keep alive.
#[derive(Debug)]
pub struct Leases<Id> {
    by_id: BTreeMap<Id, Lease>,
    /// One for each lease that is neither expiring nor held; never later than the lease expires.
    alarms: BTreeSet<(Moment, Id)>,
    /// Leases that ran out and are kept all the same.
    held: BTreeSet<Id>,
}

impl<Id> Default for Leases<Id> {
    fn default() -> Leases<Id> {
        Leases { by_id: BTreeMap::new(), alarms: BTreeSet::new(), held: BTreeSet::new() }
    }
}

#[derive(Debug)]
struct Lease {
    ttl: Duration,
    /// The index at which what it keeps alive was written.
    since: Index,
    expires_at: Moment,
    /// Where the lease stands among the alarms; nothing while it is expiring or held.
    alarm_at: Option<Moment>,
}

/// What became of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It holds for another ttl.
    Renewed,
    /// Its expiry is in the log: the outcome has to be waited for.
    Expiring,
    /// There is no such lease.
    Unknown,
}

impl<Id: Clone + Ord> Leases<Id> {
    /// Begins a term of leadership: exactly these leases are there, each with its full ttl and the
    /// index at which what it keeps alive was written.
    pub fn take_over(
        &mut self,
        leases: impl IntoIterator<Item = (Id, Duration, Index)>,
        now: Moment,
    ) {
        *self = Leases::default();
        for (id, ttl, since) in leases {
            self.grant(id, ttl, since, now);
        }
    }

    /// Grants a lease, or grants it anew, for what was written at `since`.
    pub fn grant(&mut self, id: Id, ttl: Duration, since: Index, now: Moment) {
        self.end(&id);
        let expires_at = now + ttl;
        self.alarms.insert((expires_at, id.clone()));
        self.by_id.insert(id, Lease { ttl, since, expires_at, alarm_at: Some(expires_at) });
    }

    /// Keeps a lease alive.
    pub fn renew(&mut self, id: &Id, now: Moment) -> Renewal {
        let Some(lease) = self.by_id.get_mut(id) else { return Renewal::Unknown };
        let expires_at = now + lease.ttl;
        if lease.alarm_at.is_none() {
            if !self.held.remove(id) {
                return Renewal::Expiring;
            }
            lease.alarm_at = Some(expires_at);
            self.alarms.insert((expires_at, id.clone()));
        }
        lease.expires_at = expires_at;
        Renewal::Renewed
    }

    /// Forgets a lease: what it kept alive is gone.
    pub fn end(&mut self, id: &Id) {
        let Some(lease) = self.by_id.remove(id) else { return };
        self.held.remove(id);
        if let Some(alarm_at) = lease.alarm_at {
            self.alarms.remove(&(alarm_at, id.clone()));
        }
    }

    /// A lease that has run out, with the index it was granted for: what was written again after
    /// that index has a new lease, whether it is known here already or not. It is expiring from now
    /// on: whoever asked must tell the log, then call [`Leases::end`], or [`Leases::grant`] where the
    /// log did not take it, or [`Leases::hold`] instead of either.
    pub fn expire_next(&mut self, now: Moment) -> Option<(Id, Index)> {
        loop {
            let (alarm_at, _) = self.alarms.first()?;
            if *alarm_at > now {
                return None;
            }
            let (_, id) = self.alarms.pop_first()?;
            let lease = self.by_id.get_mut(&id).expect("each alarm has its lease");
            if lease.expires_at <= now {
                lease.alarm_at = None;
                return Some((id, lease.since));
            }
            lease.alarm_at = Some(lease.expires_at);
            self.alarms.insert((lease.expires_at, id));
        }
    }

    /// Keeps a lease that [`Leases::expire_next`] gave, though it ran out: it can be renewed, and
    /// expires when [`Leases::let_go`] says so.
    pub fn hold(&mut self, id: &Id) {
        if self.by_id.get(id).is_some_and(|lease| lease.alarm_at.is_none()) {
            self.held.insert(id.clone());
        }
    }

    /// Of the leases that are held, up to `n_max` for which `ends` holds: they are expiring from now
    /// on, as if [`Leases::expire_next`] had given them.
    pub fn let_go(&mut self, n_max: usize, mut ends: impl FnMut(&Id) -> bool) -> Vec<(Id, Index)> {
        let gone: Vec<Id> = self.held.iter().filter(|id| ends(id)).take(n_max).cloned().collect();
        gone.into_iter()
            .map(|id| {
                self.held.remove(&id);
                let since = self.by_id.get(&id).expect("who is held has a lease").since;
                (id, since)
            })
            .collect()
    }

    /// Whether leases are held.
    pub fn holds_any(&self) -> bool {
        !self.held.is_empty()
    }

    /// When [`Leases::expire_next`] has something to look at. May be early, never late.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// The ttl of a lease.
    pub fn ttl(&self, id: &Id) -> Option<Duration> {
        self.by_id.get(id).map(|lease| lease.ttl)
    }

    /// Leases there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use muster_model::Text;
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::after_start(Duration::from_secs(seconds))
    }

    const TTL: Duration = Duration::from_secs(10);

    #[test]
    fn a_renewed_lease_does_not_expire() {
        let mut leases = Leases::default();
        leases.grant("s", TTL, 7, at(0));
        assert_eq!(leases.renew(&"s", at(9)), Renewal::Renewed);
        assert_eq!(leases.expire_next(at(18)), None);
        assert_eq!(leases.next_deadline(), Some(at(19)));
        assert_eq!(leases.expire_next(at(19)), Some(("s", 7)));
    }

    #[test]
    fn a_renewal_waits_for_an_expiry_that_is_in_the_log() {
        let mut leases = Leases::default();
        let id = Text::from("s");
        leases.grant(id.clone(), TTL, 7, at(0));
        assert_eq!(leases.expire_next(at(10)), Some((id.clone(), 7)));
        assert_eq!(leases.renew(&id, at(10)), Renewal::Expiring);
        assert_eq!(leases.expire_next(at(100)), None, "a lease expires once");
        leases.grant(id.clone(), TTL, 7, at(100));
        assert_eq!(leases.renew(&id, at(105)), Renewal::Renewed);
        leases.end(&id);
        assert_eq!(leases.renew(&id, at(106)), Renewal::Unknown);
        assert_eq!(leases.next_deadline(), None);
    }

    #[test]
    fn a_lease_that_is_held_can_be_renewed_until_it_is_let_go() {
        let mut leases = Leases::default();
        for id in ["a", "b"] {
            leases.grant(id, TTL, 7, at(0));
            assert_eq!(leases.expire_next(at(10)), Some((id, 7)));
            leases.hold(&id);
        }
        assert_eq!((leases.expire_next(at(100)), leases.next_deadline()), (None, None));
        assert_eq!(leases.renew(&"a", at(100)), Renewal::Renewed);
        assert_eq!(leases.next_deadline(), Some(at(110)));
        assert_eq!(leases.let_go(9, |_| true), [("b", 7)]);
        assert_eq!(leases.renew(&"b", at(101)), Renewal::Expiring);
        assert!(!leases.holds_any());
        assert_eq!(leases.expire_next(at(110)), Some(("a", 7)), "it runs out anew");
    }

    #[test]
    fn a_new_leader_grants_a_full_term() {
        let mut leases = Leases::default();
        leases.grant("old", TTL, 7, at(0));
        leases.take_over([("s", TTL, 3)], at(9));
        assert_eq!((leases.len(), leases.expire_next(at(18))), (1, None));
        assert_eq!(leases.expire_next(at(19)), Some(("s", 3)));
    }

    proptest! {
        /// Against a list that remembers nothing but the last renewal of each lease.
        #[test]
        fn leases_expire_exactly_when_their_ttl_has_passed(
            steps in prop::collection::vec((0_u8..6, 1_u64..8, prop::bool::ANY), 1..200),
        ) {
            let mut leases = Leases::default();
            let mut naive: BTreeMap<Text, u64> = BTreeMap::new();
            let mut now = 0;
            for (name, pause, grants) in steps {
                now += pause;
                let id = Text::from(name.to_string());
                let mut expired = Vec::new();
                while let Some((id, _)) = leases.expire_next(at(now)) {
                    leases.end(&id);
                    expired.push(id);
                }
                expired.sort();
                let due: Vec<Text> = naive
                    .extract_if(.., |_, since| *since + TTL.as_secs() <= now)
                    .map(|(id, _)| id)
                    .collect();
                prop_assert_eq!(expired, due);
                if grants {
                    leases.grant(id.clone(), TTL, 7, at(now));
                    naive.insert(id, now);
                } else {
                    let renewal = leases.renew(&id, at(now));
                    prop_assert_eq!(renewal == Renewal::Renewed, naive.contains_key(&id));
                    naive.entry(id).and_modify(|since| *since = now);
                }
            }
        }
    }
}
