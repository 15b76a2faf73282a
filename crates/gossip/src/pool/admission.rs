//! Who is let in: a member that joins is compared with those that are there before anything of it
//! is taken in.
//!
//! A wall clock that is far off is a reason to be refused at the door and none to be thrown out:
//! nothing that keeps a pool together goes by it, so a member whose clock goes wrong later is told
//! of and stays.

use crate::limits::{CLOCK_OFF_MAX, CLOCK_OFF_TOLD_EVERY};
use crate::port::{ClockOff, Notice, Turn};
use crate::refused::Refused;
use crate::wire::Exchange;

use super::Pool;

impl Pool {
    /// What another member asks, unless it would join and may not.
    pub(super) fn admit(&self, theirs: Exchange) -> Result<Exchange, Refused> {
        if theirs.is_join {
            if let Some(ahead_s) = self.clock_off(&theirs) {
                return Err(Refused::ClockOff(ahead_s));
            }
            if self.is_id_taken(&theirs) {
                return Err(Refused::IdTaken);
            }
        }
        Ok(theirs)
    }

    /// Tells of a member whose clock is far off.
    pub(super) fn watch_clock(&mut self, theirs: &Exchange, turn: &mut Turn<'_>) {
        let Some(ahead_s) = self.clock_off(theirs) else { return };
        self.counters.clocks_off += 1;
        let told_at = self.clock_off_told_at;
        if told_at.is_none_or(|told_at| turn.now.since(told_at) >= CLOCK_OFF_TOLD_EVERY) {
            self.clock_off_told_at = Some(turn.now);
            turn.tell(Notice::ClockOff(ClockOff { name: theirs.from.clone(), ahead_s }));
        }
    }

    /// By how many seconds their clock is ahead of this one's, if that is far.
    fn clock_off(&self, theirs: &Exchange) -> Option<i64> {
        let (mine, theirs) = (self.wall_clock?.as_secs(), theirs.wall_s?);
        if theirs.abs_diff(mine) <= CLOCK_OFF_MAX.as_secs() {
            return None;
        }
        let apart = i64::try_from(theirs.abs_diff(mine)).unwrap_or(i64::MAX);
        Some(if theirs > mine { apart } else { -apart })
    }

    /// Whether who asks has the id of a member that is there under another name.
    fn is_id_taken(&self, theirs: &Exchange) -> bool {
        let asker = theirs.members.iter().find(|known| known.profile.name == theirs.from);
        let Some(asker) = asker.map(|known| &known.profile) else { return false };
        let others = self.members.iter().filter(|record| record.is_active());
        let mut profiles = others.map(|record| &record.member.profile).chain([&self.me.profile]);
        profiles.any(|profile| profile.id == asker.id && profile.name != asker.name)
    }
}
