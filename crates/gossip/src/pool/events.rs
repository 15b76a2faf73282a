//! Events: fired by one, told to all once.

use std::collections::VecDeque;

use rand::RngCore;

use crate::broadcasts::Topic;
use crate::event::{Event, EventError, SeenClock};
use crate::limits::RECENT_EVENTS_MAX;
use crate::moment::Moment;
use crate::port::{Notice, Output, Turn};
use crate::wire::Message;

use super::Pool;

/// What was seen, and the last events whole.
#[derive(Debug, Default)]
pub(super) struct Events {
    clock: SeenClock,
    recent: VecDeque<(Moment, Event)>,
}

impl Pool {
    /// Fires an event: this member hears it at once, the others by and by. Gives its Lamport time.
    ///
    /// # Errors
    /// If it has no name or is larger than 512 bytes, or this member left.
    pub fn fire(
        &mut self,
        name: &str,
        payload: &[u8],
        now: Moment,
        out: &mut Vec<Output>,
    ) -> Result<u64, EventError> {
        if self.phase.has_left() {
            return Err(EventError::Gone);
        }
        let mut event = Event { id: 0, time: 0, name: name.to_owned(), payload: payload.into() };
        event.check()?;
        self.turn(now, out, |pool, turn| {
            event.id = pool.rng.next_u64();
            event.time = pool.events.clock.time();
            let time = event.time;
            pool.take_event(event, turn);
            Ok(time)
        })
    }

    /// The last events that this member heard, oldest first: at most [`RECENT_EVENTS_MAX`].
    pub fn recent_events(&self) -> impl Iterator<Item = &Event> {
        self.events.recent.iter().map(|(_, event)| event)
    }

    pub(super) fn take_event(&mut self, event: Event, turn: &mut Turn<'_>) {
        if event.check().is_err() || !self.events.clock.see(event.time, event.id) {
            return;
        }
        if self.events.recent.len() >= RECENT_EVENTS_MAX {
            self.events.recent.pop_front();
        }
        self.events.recent.push_back((turn.now, event.clone()));
        self.broadcast(Topic::Event(event.id), &Message::Event(event.clone()));
        turn.tell(Notice::Event(event));
    }

    /// The events that others may have missed: younger than two push-pulls are apart.
    pub(super) fn events_of_late(&self, now: Moment) -> Vec<Event> {
        let span = self.push_pull_interval() * 2;
        let recent = self.events.recent.iter();
        recent.filter(|(at, _)| now.since(*at) < span).map(|(_, event)| event.clone()).collect()
    }

    /// The clocks of events and of questions.
    pub(super) fn clock_times(&self) -> (u64, u64) {
        (self.events.clock.time(), self.questions.clock.time())
    }

    /// Takes over another's clocks. What a newcomer did not live through it does not hear.
    pub(super) fn take_clocks(&mut self, event_time: u64, question_time: u64, is_join: bool) {
        if is_join {
            self.events.clock.ignore_before(event_time);
            self.questions.clock.ignore_before(question_time);
        } else {
            self.events.clock.witness_next(event_time);
            self.questions.clock.witness_next(question_time);
        }
    }
}
