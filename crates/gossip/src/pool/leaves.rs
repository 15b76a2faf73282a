//! Leaves: going in order, and being sent away.
//!
//! Who goes first says so and still answers, then says that it has left, and ends when it has
//! told that as often as a rumor is told. An operator can say of any member that it left; one that
//! lives after all refutes.

use thiserror::Error;

use crate::broadcasts::Topic;
use crate::member::Status;
use crate::moment::Moment;
use crate::port::{Notice, Output, Turn};
use crate::timers::Timer;

use super::Pool;

/// How far this member is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It takes part.
    Present,
    /// It says that it is about to leave.
    Leaving,
    /// It says that it has left.
    Parting,
    /// It says nothing any more.
    Gone,
}

/// Why a member is not declared to have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ForceLeaveError {
    /// Not known.
    #[error("no member of this name is known here: look at the list of members")]
    Unknown,
    /// It is this one.
    #[error("this is the agent itself: let it leave")]
    Myself,
}

impl Phase {
    pub(super) fn has_left(self) -> bool {
        matches!(self, Phase::Parting | Phase::Gone)
    }

    /// What this member says of itself.
    pub(super) fn status(self) -> Status {
        match self {
            Phase::Present => Status::Alive,
            Phase::Leaving => Status::Leaving,
            Phase::Parting | Phase::Gone => Status::Left,
        }
    }
}

impl Pool {
    /// Leaves in order. [`Notice::LeaveFinished`] says when the process may end; until then the
    /// pool has to be driven on.
    pub fn leave(&mut self, now: Moment, out: &mut Vec<Output>) {
        self.turn(now, out, |pool, turn| {
            if pool.phase != Phase::Present {
                return;
            }
            if pool.members.n_active() == 0 {
                return pool.be_gone(turn);
            }
            pool.phase = Phase::Leaving;
            pool.me.incarnation += 1;
            pool.announce_me();
            pool.timers.set(turn.now + pool.settings.leave_announce, Timer::Leave);
        });
    }

    /// The next step of leaving.
    pub(super) fn go_on_leaving(&mut self, turn: &mut Turn<'_>) {
        match self.phase {
            Phase::Leaving => {
                self.phase = Phase::Parting;
                self.announce_me();
                self.timers.set(turn.now + self.settings.leave_spread, Timer::Leave);
            }
            Phase::Parting => self.be_gone(turn),
            Phase::Present | Phase::Gone => {}
        }
    }

    /// After a round of gossip: whether having left has been told often enough.
    pub(super) fn leave_sooner_if_told(&mut self, turn: &mut Turn<'_>) {
        let topic = Topic::Member(self.me.name().clone());
        if self.phase == Phase::Parting && !self.broadcasts.is_waiting(&topic) {
            self.be_gone(turn);
        }
    }

    fn be_gone(&mut self, turn: &mut Turn<'_>) {
        self.phase = Phase::Gone;
        self.me.status = self.phase.status();
        turn.tell(Notice::LeaveFinished);
    }

    /// Declares that a member has left, and if it is to be pruned has all forget it.
    ///
    /// # Errors
    /// If there is no such member, or it is this one.
    pub fn force_leave(
        &mut self,
        name: &str,
        is_pruned: bool,
        now: Moment,
        out: &mut Vec<Output>,
    ) -> Result<(), ForceLeaveError> {
        if name == self.me.name().as_str() {
            return Err(ForceLeaveError::Myself);
        }
        let record = self.members.find(name).ok_or(ForceLeaveError::Unknown)?;
        let (name, incarnation) = (record.member.name().clone(), record.member.incarnation);
        self.turn(now, out, |pool, turn| pool.hear_left(&name, incarnation, is_pruned, turn));
        Ok(())
    }
}
