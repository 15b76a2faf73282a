//! What is to be done when: one ordered set of alarms.
//!
//! An alarm is never taken back. Whoever hears it looks whether it still means anything; so a
//! refuted suspicion or an answered probe costs nothing but the alarm that goes off for nobody.

use std::collections::BTreeSet;

use crate::member::Name;
use crate::moment::Moment;

/// What an alarm is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// End the round of probing of this number and begin the next.
    Probe(u32),
    /// The direct probe of this number has had its time: ask others.
    IndirectProbe(u32),
    /// Say that there was no answer to this probe made for another.
    Nack(u32),
    /// Forget a probe made for another.
    RelayEnds(u32),
    /// The suspicion of this member may have ended.
    Suspicion(Name),
    /// Tell rumors.
    Gossip,
    /// Begin a push-pull.
    PushPull,
    /// Begin another push-pull, because the last one taught much.
    CatchUp,
    /// Try to reach a failed member.
    Reconnect,
    /// Forget who failed or left long ago.
    Reap,
    /// This exchange has had its time.
    ExchangeEnds(u64),
    /// Try the addresses of this join again.
    JoinAgain(u64),
    /// The next step of leaving.
    Leave,
    /// Send answers again that their askers have not confirmed.
    AnswerAgain(u64),
    /// Bring this question to those who have not answered.
    AskAgain(u64),
    /// This question has had its time.
    QuestionEnds(u64),
}

/// The alarms of a pool.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// By time, then in the order in which they were set.
    alarms: BTreeSet<(Moment, u64, Timer)>,
    n_set: u64,
}

impl Timers {
    /// Sets an alarm.
    pub(crate) fn set(&mut self, at: Moment, timer: Timer) {
        self.n_set += 1;
        self.alarms.insert((at, self.n_set, timer));
    }

    /// When the next one goes off.
    pub(crate) fn next_at(&self) -> Option<Moment> {
        self.alarms.first().map(|(at, ..)| *at)
    }

    /// The next one that is due.
    pub(crate) fn pop_due(&mut self, now: Moment) -> Option<Timer> {
        if self.next_at()? > now {
            return None;
        }
        self.alarms.pop_first().map(|(_, _, timer)| timer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn alarms_go_off_in_order_and_not_early() {
        let at = |seconds| Moment::after_start(Duration::from_secs(seconds));
        let mut timers = Timers::default();
        timers.set(at(2), Timer::Gossip);
        timers.set(at(1), Timer::Probe(1));
        timers.set(at(1), Timer::Reap);
        assert_eq!(timers.next_at(), Some(at(1)));
        assert_eq!(timers.pop_due(at(0)), None);
        assert_eq!(timers.pop_due(at(1)), Some(Timer::Probe(1)));
        assert_eq!(timers.pop_due(at(1)), Some(Timer::Reap));
        assert_eq!(timers.pop_due(at(1)), None);
        assert_eq!(timers.pop_due(at(3)), Some(Timer::Gossip));
    }
}
