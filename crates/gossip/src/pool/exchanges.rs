//! Exchanges: push-pull over a stream, where two members tell each other all that they know.
//!
//! Gossip reaches almost everybody fast; push-pull reaches the rest for sure. A push-pull that
//! taught much is followed by another one soon, so that a pool that begins all at once, or whose
//! halves find each other, has one view after some rounds.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::event::Event;
use crate::limits::{EXCHANGE_BYTES_MAX, EXCHANGES_MAX};
use crate::member::Status;
use crate::members::Record;
use crate::moment::Moment;
use crate::port::{Output, Turn};
use crate::refused::Refused;
use crate::timers::Timer;
use crate::wire::envelope::Kind;
use crate::wire::{Exchange, Known};

use super::Pool;
use super::leaves::Phase;

/// A push-pull that taught less than this taught nothing worth others.
const LEARNED_MIN: u64 = 3;
/// One that taught a smaller share of the pool than this neither.
const LEARNED_ONE_IN: u64 = 50;
/// Once others follow, they do until so many in a row taught nothing.
const FRUITLESS_MAX: u32 = 2;

/// The exchanges that this member began and that have no answer yet.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    pending: BTreeMap<u64, Pending>,
    n_begun: u64,
    catching_up: Option<CatchingUp>,
}

/// Push-pulls that follow each other, because one taught much.
#[derive(Debug)]
struct CatchingUp {
    /// How many may still follow: twice the logarithm of the pool is enough for an epidemic.
    n_left: u32,
    /// How many in a row taught nothing.
    n_fruitless: u32,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    to: SocketAddr,
    purpose: Purpose,
}

/// Why an exchange is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// From time to time, with a member that lives.
    PushPull,
    /// To find out whether a failed member is back.
    Reconnect,
    /// For the join of this token.
    Join(u64),
}

impl Pool {
    /// Begins an exchange. Whether there was room for one more.
    pub(super) fn begin_exchange(
        &mut self,
        to: SocketAddr,
        purpose: Purpose,
        turn: &mut Turn<'_>,
    ) -> bool {
        if self.exchanges.pending.len() >= EXCHANGES_MAX {
            return false;
        }
        self.exchanges.n_begun += 1;
        self.counters.exchanges_begun += 1;
        let exchange = self.exchanges.n_begun;
        self.exchanges.pending.insert(exchange, Pending { to, purpose });
        let ends_at = turn.now + self.settings.exchange_timeout;
        self.timers.set(ends_at, Timer::ExchangeEnds(exchange));
        let side = self.my_side(matches!(purpose, Purpose::Join(_)), turn.now);
        let bytes = self.envelope.close(Kind::Asking, &side.to_bytes(), &mut self.rng);
        turn.out.push(Output::Exchange { exchange, to, bytes });
        true
    }

    /// Another member told all that it knows: answer with all that this one knows.
    pub(super) fn answer_exchange(
        &mut self,
        from: SocketAddr,
        stream: u64,
        bytes: &[u8],
        turn: &mut Turn<'_>,
    ) {
        if self.phase == Phase::Gone {
            return;
        }
        let opened = self.open_exchange(Kind::Asking, bytes);
        let bytes = match opened.and_then(|theirs| self.admit(theirs)) {
            Ok(theirs) => {
                self.counters.exchanges_answered += 1;
                self.watch_clock(&theirs, turn);
                self.take_side(theirs, false, turn);
                let side = self.my_side(false, turn.now).to_bytes();
                self.envelope.close(Kind::Answering, &side, &mut self.rng)
            }
            Err(why) => {
                let refusal = self.envelope.refuse(&why);
                self.refuse(from, why, turn);
                refusal
            }
        };
        turn.out.push(Output::Answer { stream, bytes });
    }

    /// The other side of an exchange that this member began.
    pub(super) fn take_exchange_answer(
        &mut self,
        exchange: u64,
        bytes: &[u8],
        turn: &mut Turn<'_>,
    ) {
        let Some(Pending { to, purpose }) = self.exchanges.pending.remove(&exchange) else {
            return;
        };
        let theirs = match self.open_exchange(Kind::Answering, bytes) {
            Ok(theirs) => theirs,
            Err(why) => {
                self.counters.exchanges_failed += 1;
                let reason = why.to_string();
                self.refuse(to, why, turn);
                return self.exchange_over(to, purpose, Err((reason, true)), turn);
            }
        };
        self.watch_clock(&theirs, turn);
        let holder = self.holder_of_my_name(&theirs);
        let n_before = self.n_changes;
        self.take_side(theirs, matches!(purpose, Purpose::Join(_)), turn);
        self.catch_up_after(self.n_changes - n_before, turn.now);
        let outcome = match holder {
            Some(holder) => {
                let name = self.me.name().clone();
                self.tell_conflict(name.clone(), holder, self.me.address(), turn);
                Err((format!("the name {name} is held by {holder}: give this agent another"), true))
            }
            None => Ok(()),
        };
        self.exchange_over(to, purpose, outcome, turn);
    }

    pub(super) fn exchange_failed(&mut self, exchange: u64, reason: String, turn: &mut Turn<'_>) {
        if let Some(Pending { to, purpose }) = self.exchanges.pending.remove(&exchange) {
            self.counters.exchanges_failed += 1;
            self.exchange_over(to, purpose, Err((reason, false)), turn);
        }
    }

    pub(super) fn end_exchange(&mut self, exchange: u64, turn: &mut Turn<'_>) {
        let waited = self.settings.exchange_timeout.as_secs_f32();
        self.exchange_failed(exchange, format!("no answer within {waited} s"), turn);
    }

    /// What became of an exchange, for who began it: why it failed, and whether that is final.
    fn exchange_over(
        &mut self,
        to: SocketAddr,
        purpose: Purpose,
        outcome: Result<(), (String, bool)>,
        turn: &mut Turn<'_>,
    ) {
        match purpose {
            Purpose::Join(token) => self.join_answered(token, to, outcome, turn),
            Purpose::PushPull | Purpose::Reconnect => {}
        }
    }

    fn open_exchange(&self, kind: Kind, bytes: &[u8]) -> Result<Exchange, Refused> {
        if bytes.len() > EXCHANGE_BYTES_MAX {
            return Err(Refused::TooLong);
        }
        let content = self.envelope.open(kind, bytes)?;
        Exchange::parse(&content).map_err(|_| Refused::Damaged)
    }

    fn take_side(&mut self, theirs: Exchange, is_join: bool, turn: &mut Turn<'_>) {
        self.take_clocks(theirs.event_time, theirs.question_time, is_join);
        for known in theirs.members {
            self.merge(known, &theirs.from, turn);
        }
        if !is_join {
            for event in theirs.events {
                self.take_event(event, turn);
            }
        }
    }

    /// All that this member knows.
    fn my_side(&self, is_join: bool, now: Moment) -> Exchange {
        let mut members = Vec::with_capacity(self.members.len() + 1);
        members.push(Known {
            profile: self.me.profile.clone(),
            incarnation: self.me.incarnation,
            status: self.phase.status(),
            status_age_s: 0,
            is_pruned: false,
        });
        members.extend(self.members.iter().map(|record| known(record, now)));
        let events: Vec<Event> = if is_join { Vec::new() } else { self.events_of_late(now) };
        let (event_time, question_time) = self.clock_times();
        Exchange {
            from: self.me.name().clone(),
            members,
            event_time,
            question_time,
            events,
            wall_s: self.wall_clock.map(|wall| wall.as_secs()),
            is_join,
        }
    }

    /// Who has this member's name, as the other side sees it.
    fn holder_of_my_name(&self, theirs: &Exchange) -> Option<SocketAddr> {
        let me = theirs.members.iter().find(|known| known.profile.name == *self.me.name())?;
        let is_another = me.profile.address != self.me.address() && me.status.is_active();
        is_another.then_some(me.profile.address)
    }

    /// After a push-pull: whether another should follow soon.
    fn catch_up_after(&mut self, n_learned: u64, now: Moment) {
        let n = self.members.len() as u64;
        let is_much = n_learned >= LEARNED_MIN && n_learned * LEARNED_ONE_IN >= n;
        if is_much && self.exchanges.catching_up.is_none() {
            let n_left = 2 * (n + 1).ilog2() + FRUITLESS_MAX;
            self.exchanges.catching_up = Some(CatchingUp { n_left, n_fruitless: 0 });
        }
        let Some(state) = &mut self.exchanges.catching_up else { return };
        state.n_fruitless = if n_learned == 0 { state.n_fruitless + 1 } else { 0 };
        state.n_left = state.n_left.saturating_sub(1);
        let interval = self.settings.catch_up_interval;
        if state.n_fruitless >= FRUITLESS_MAX || state.n_left == 0 || interval.is_zero() {
            self.exchanges.catching_up = None;
        } else if !self.armed.catch_up {
            self.armed.catch_up = true;
            let at = now + interval / 2 + self.up_to(interval);
            self.timers.set(at, Timer::CatchUp);
        }
    }

    pub(super) fn catch_up(&mut self, turn: &mut Turn<'_>) {
        self.armed.catch_up = false;
        self.exchange_with_anyone(turn);
    }

    /// A push-pull with a member that lives, if there is one.
    pub(super) fn exchange_with_anyone(&mut self, turn: &mut Turn<'_>) {
        let chosen = self.members.sample(1, &mut self.rng, |record| {
            matches!(record.member.status, Status::Alive | Status::Leaving)
        });
        if let Some(to) = chosen.first().map(|record| record.member.address()) {
            self.begin_exchange(to, Purpose::PushPull, turn);
        }
    }
}

fn known(record: &Record, now: Moment) -> Known {
    let member = &record.member;
    Known {
        profile: member.profile.clone(),
        incarnation: member.incarnation,
        status: member.status,
        status_age_s: member.status_age(now).as_secs(),
        is_pruned: record.is_pruned,
    }
}
