//! Upkeep: what is done from time to time, and only while there is something to do.

use rand::Rng;
use std::time::Duration;

use crate::member::Status;
use crate::moment::Moment;
use crate::port::{Notice, Turn};
use crate::settings::Settings;
use crate::timers::Timer;

use super::Pool;
use super::exchanges::Purpose;
use super::leaves::Phase;

/// Up to this many members, push-pull is as frequent as its setting says.
const PUSH_PULL_MEMBERS: usize = 32;
/// Long enough that whoever missed the order to prune hears it by push-pull.
const PRUNED_KEPT_FOR: Duration = Duration::from_secs(3_600);
/// How often is looked for members to forget, as a share of how long they are remembered.
const REAPS_PER_LIFE: u32 = 20;
const REAP_INTERVAL_MAX: Duration = Duration::from_secs(60);
/// How often a limit that is reached is told.
const LIMIT_TOLD_EVERY: Duration = Duration::from_secs(60);
/// Failed members are tried so many times as often as their share of the pool.
const RECONNECT_EAGERNESS: f64 = 2.0;

/// Which alarms of upkeep are set, and what was done last when.
#[derive(Debug, Default)]
pub(super) struct Armed {
    pub(super) probe: bool,
    pub(super) gossip: bool,
    pub(super) gossiped_at: Option<Moment>,
    pub(super) push_pull: bool,
    pub(super) catch_up: bool,
    pub(super) reconnect: bool,
    pub(super) reap: bool,
    pub(super) limit_told_at: Option<Moment>,
}

impl Settings {
    /// How long a member in this status is remembered.
    pub(crate) fn kept_for(&self, status: Status, is_pruned: bool) -> Duration {
        match status {
            _ if is_pruned => PRUNED_KEPT_FOR.min(self.reap_left_after),
            Status::Failed => self.reap_failed_after,
            Status::Left => self.reap_left_after,
            Status::Alive | Status::Leaving | Status::Suspect => Duration::MAX,
        }
    }
}

impl Pool {
    /// Sets the alarms for which there is a reason now.
    pub(super) fn arm(&mut self, now: Moment) {
        if self.phase == Phase::Gone {
            self.timers = Default::default();
            return;
        }
        let has_others = self.members.n_active() > 0;
        if has_others && !self.armed.probe {
            self.armed.probe = true;
            let at = now + self.up_to(self.settings.probe_interval);
            self.begin_probing(at);
        }
        if self.broadcasts.len() > 0 && !self.armed.gossip && self.members.len() > 0 {
            self.armed.gossip = true;
            let at = self.next_gossip_at(now);
            self.timers.set(at, Timer::Gossip);
        }
        if has_others && !self.armed.push_pull && !self.settings.push_pull_interval.is_zero() {
            self.armed.push_pull = true;
            let at = now + self.push_pull_interval().mul_f64(self.rng.random_range(0.5..1.0));
            self.timers.set(at, Timer::PushPull);
        }
        if self.members.n_failed() > 0 && !self.armed.reconnect {
            self.armed.reconnect = true;
            let interval = self.settings.reconnect_interval;
            let at = now + interval.mul_f64(self.rng.random_range(0.5..1.0));
            self.timers.set(at, Timer::Reconnect);
        }
        if self.members.len() > self.members.n_active() && !self.armed.reap {
            self.armed.reap = true;
            self.timers.set(now + self.reap_interval(), Timer::Reap);
        }
    }

    fn next_gossip_at(&mut self, now: Moment) -> Moment {
        let interval = self.settings.gossip_interval;
        let earliest = self.armed.gossiped_at.map_or(now, |at| (at + interval).max(now));
        if earliest > now || self.settings.lifeguard.prompt {
            return earliest;
        }
        now + self.up_to(interval)
    }

    pub(super) fn push_pull(&mut self, turn: &mut Turn<'_>) {
        self.armed.push_pull = false;
        self.exchange_with_anyone(turn);
    }

    /// Grows with the logarithm of the pool, so that the streams of a large one stay few.
    pub(super) fn push_pull_interval(&self) -> Duration {
        let n = self.n_active();
        if n <= PUSH_PULL_MEMBERS {
            return self.settings.push_pull_interval;
        }
        let doublings = (n as f64 / PUSH_PULL_MEMBERS as f64).log2().ceil();
        self.settings.push_pull_interval.saturating_mul(doublings as u32 + 1)
    }

    /// Tries to reach a failed member: more surely, the larger their share.
    pub(super) fn reconnect(&mut self, turn: &mut Turn<'_>) {
        self.armed.reconnect = false;
        let share = self.members.n_failed() as f64 / self.n_active() as f64;
        if !self.rng.random_bool((RECONNECT_EAGERNESS * share).min(1.0)) {
            return;
        }
        let failed = self.members.sample_failed(&mut self.rng);
        if let Some(to) = failed.map(|record| record.member.address()) {
            self.begin_exchange(to, Purpose::Reconnect, turn);
        }
    }

    /// Forgets who failed or left long ago.
    pub(super) fn reap(&mut self, turn: &mut Turn<'_>) {
        self.armed.reap = false;
        let (settings, now) = (&self.settings, turn.now);
        let gone = self.members.remove_if(|record| {
            let kept_for = settings.kept_for(record.member.status, record.is_pruned);
            record.member.status_age(now) >= kept_for
        });
        // Who was pruned was told to be forgotten before.
        for record in gone.into_iter().filter(|record| !record.is_pruned) {
            turn.tell(Notice::Reaped(record.member));
        }
    }

    /// Tells that a limit is reached, but not again and again.
    pub(super) fn tell_limit(&mut self, limit: &'static str, turn: &mut Turn<'_>) {
        let is_news = self
            .armed
            .limit_told_at
            .is_none_or(|told_at| turn.now.since(told_at) >= LIMIT_TOLD_EVERY);
        if is_news {
            self.armed.limit_told_at = Some(turn.now);
            turn.tell(Notice::AtLimit(limit));
        }
    }

    fn reap_interval(&self) -> Duration {
        let shortest = self.settings.reap_failed_after.min(self.settings.reap_left_after);
        (shortest / REAPS_PER_LIFE).clamp(Duration::from_millis(10), REAP_INTERVAL_MAX)
    }
}
