//! Graces: when this member is in no position to judge.
//!
//! A suspicion is a fair trial only if the one who judges can hear the refutation. A member that
//! did not run (a stopped process, a machine without processor time) or heard nobody at all (its
//! own network is gone) did not listen, so whoever is being judged gets that time on top. Lifeguard
//! comes to the same by awareness, but only after it has accused some members wrongly.

use std::time::Duration;

use crate::moment::Moment;
use crate::port::Turn;

use super::Pool;

/// Fewer others than this may well all be gone.
const OTHERS_MIN: usize = 3;
/// A pool is silent if nothing was heard for this many probe intervals: in each of them, an answer
/// to this member's own probe and another's probe should have come.
const SILENT_INTERVALS: u32 = 2;

impl Pool {
    /// A turn begins: if it should have begun long ago, this member did not run.
    pub(super) fn notice_stall(&mut self, now: Moment) {
        let Some(due_at) = self.timers.next_at() else { return };
        let is_late = now.since(due_at) > self.settings.probe_timeout / 2;
        if is_late && self.settings.lifeguard.stall_grace {
            let missed = now.since(self.called_at);
            self.counters.stalls += 1;
            self.awareness.doubt(1);
            self.extend_suspicions(missed);
            self.extend_probe(missed);
            // It was not silent, it was not listened to.
            self.heard_at = (self.heard_at + missed).min(now);
        }
    }

    /// Somebody is heard: if for the first time in long, this member was cut off.
    pub(super) fn notice_voice(&mut self, turn: &Turn<'_>) {
        if self.is_silent(turn.now) {
            self.counters.silences += 1;
            self.extend_suspicions(turn.now.since(self.heard_at));
        }
        self.heard_at = turn.now;
    }

    /// Whether nobody has been heard for so long that it must be this member that is cut off.
    pub(super) fn is_silent(&self, now: Moment) -> bool {
        self.settings.lifeguard.stall_grace
            && self.members.n_active() >= OTHERS_MIN
            && now.since(self.heard_at) > self.settings.probe_interval * SILENT_INTERVALS
    }

    fn extend_suspicions(&mut self, grace: Duration) {
        for suspicion in self.members.suspicions_mut() {
            suspicion.extend(grace);
        }
    }
}
