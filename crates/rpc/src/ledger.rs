//! One exchange as this side sees it: what has come and was not read, what each side may still
//! send, and how far each half is.
//!
//! Pure bookkeeping, with the wakers of those who wait. The reader of the connection writes into
//! it what came; the halves of the handle take out of it and spend what may be sent.
//!
//! A window is counted in items and in bytes. One more item may be sent while both are above
//! zero, so the last may go beyond in bytes: an item of any permitted size can be sent whatever
//! the window is. What was read is given back in portions of half a window.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::fault::Fault;
use crate::limits::Terms;

#[derive(Debug)]
pub(crate) struct Ledger {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What has come and was not read.
    arrived: VecDeque<Bytes>,
    /// The other side will send no more.
    theirs_ended: bool,
    /// This side will send no more.
    ours_ended: bool,
    /// The exchange failed; told after what has arrived.
    fault: Option<Fault>,
    /// What this side may send.
    may_send: Credit,
    /// What the other side may send.
    may_come: Credit,
    /// The whole of what may come and be unread.
    window: Credit,
    /// What was read and not yet given back.
    owed: Credit,
    reading: Option<Waker>,
    sending: Option<Waker>,
}

/// A number of items with their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Credit {
    pub(crate) items: i64,
    pub(crate) bytes: i64,
}

impl Credit {
    fn window(terms: &Terms) -> Self {
        Self { items: terms.window_items.into(), bytes: terms.window_bytes.into() }
    }

    fn of(item: &Bytes) -> Self {
        Self { items: 1, bytes: item.len() as i64 }
    }

    fn is_spent(self) -> bool {
        self.items <= 0 || self.bytes <= 0
    }

    fn add(&mut self, other: Self) {
        self.items += other.items;
        self.bytes += other.bytes;
    }

    fn subtract(&mut self, other: Self) {
        self.items -= other.items;
        self.bytes -= other.bytes;
    }
}

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) item: Bytes,
    /// To be given back to the other side now.
    pub(crate) give_back: Option<Credit>,
}

/// The other side sent what it may not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overdrawn;

/// Whether the exchange is over, both ways, so that the connection may forget it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Course {
    Goes,
    Over,
}

impl Ledger {
    /// A new exchange. `ours_ended` and `theirs_ended` tell whose half ended with its opening.
    pub(crate) fn new(ours: &Terms, theirs: &Terms, ours_ended: bool, theirs_ended: bool) -> Self {
        let window = Credit::window(ours);
        let state = State {
            arrived: VecDeque::new(),
            theirs_ended,
            ours_ended,
            fault: None,
            may_send: Credit::window(theirs),
            may_come: window,
            window,
            owed: Credit::default(),
            reading: None,
            sending: None,
        };
        Self { state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ------------------------------------------------------------------------------------------------
// What came
// ------------------------------------------------------------------------------------------------

impl Ledger {
    /// An item came.
    pub(crate) fn item(&self, item: Bytes, is_last: bool) -> Result<Course, Overdrawn> {
        let mut state = self.lock();
        if state.theirs_ended || state.may_come.is_spent() {
            return Err(Overdrawn);
        }
        state.may_come.subtract(Credit::of(&item));
        state.arrived.push_back(item);
        state.theirs_ended = is_last;
        Ok(state.wake_reader())
    }

    /// The other side's half ended.
    pub(crate) fn end(&self) -> Result<Course, Overdrawn> {
        let mut state = self.lock();
        if state.theirs_ended {
            return Err(Overdrawn);
        }
        state.theirs_ended = true;
        Ok(state.wake_reader())
    }

    /// The other side read and gave back. More than a window is what nobody owes.
    pub(crate) fn credit(&self, credit: Credit, theirs: &Terms) -> Result<(), Overdrawn> {
        let mut state = self.lock();
        state.may_send.add(credit);
        let window = Credit::window(theirs);
        if state.may_send.items > window.items || state.may_send.bytes > window.bytes {
            return Err(Overdrawn);
        }
        let waker = state.sending.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// The exchange failed. The first fault counts.
    pub(crate) fn fail(&self, fault: Fault) {
        let mut state = self.lock();
        state.fault.get_or_insert(fault);
        let wakers = [state.reading.take(), state.sending.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

// ------------------------------------------------------------------------------------------------
// What the handle does
// ------------------------------------------------------------------------------------------------

impl Ledger {
    /// Takes the next item out; `None` at the end of the other side's half.
    pub(crate) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Result<Option<Read>, Fault>> {
        let mut state = self.lock();
        if let Some(item) = state.arrived.pop_front() {
            let give_back = state.read(&item);
            return Poll::Ready(Ok(Some(Read { item, give_back })));
        }
        if state.theirs_ended {
            return Poll::Ready(Ok(None));
        }
        if let Some(fault) = &state.fault {
            return Poll::Ready(Err(fault.clone()));
        }
        remember(&mut state.reading, context);
        Poll::Pending
    }

    /// Waits until an item may be sent.
    pub(crate) fn poll_may_send(&self, context: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let mut state = self.lock();
        if let Some(fault) = state.why_not_to_send() {
            return Poll::Ready(Err(fault));
        }
        if !state.may_send.is_spent() {
            return Poll::Ready(Ok(()));
        }
        remember(&mut state.sending, context);
        Poll::Pending
    }

    /// Spends what an item costs; it is to be sent now.
    pub(crate) fn spend(&self, item: &Bytes, is_last: bool) -> Result<Course, Fault> {
        let mut state = self.lock();
        if let Some(fault) = state.why_not_to_send() {
            return Err(fault);
        }
        state.may_send.subtract(Credit::of(item));
        state.ours_ended = is_last;
        Ok(state.course())
    }

    /// Ends this side's half; that is to be told now. `None` if it had ended before.
    pub(crate) fn finish(&self) -> Result<Option<Course>, Fault> {
        let mut state = self.lock();
        if state.ours_ended {
            return Ok(None);
        }
        if let Some(fault) = &state.fault {
            return Err(fault.clone());
        }
        state.ours_ended = true;
        Ok(Some(state.course()))
    }

    /// Whether this side's half goes on: dropping it then breaks the exchange.
    pub(crate) fn is_sending(&self) -> bool {
        let state = self.lock();
        !state.ours_ended && state.fault.is_none()
    }

    /// Whether the other side's half goes on: dropping its reader then breaks the exchange.
    pub(crate) fn is_receiving(&self) -> bool {
        let state = self.lock();
        !state.theirs_ended && state.fault.is_none()
    }
}

impl State {
    fn course(&self) -> Course {
        match self.theirs_ended && self.ours_ended {
            true => Course::Over,
            false => Course::Goes,
        }
    }

    fn wake_reader(&mut self) -> Course {
        self.reading.take().into_iter().for_each(Waker::wake);
        self.course()
    }

    fn why_not_to_send(&self) -> Option<Fault> {
        let ended = || self.ours_ended.then_some(Fault::Stopped);
        self.fault.clone().or_else(ended)
    }

    /// Notes that an item was read; tells what is to be given back now, if the other side can
    /// still use it.
    fn read(&mut self, item: &Bytes) -> Option<Credit> {
        self.owed.add(Credit::of(item));
        let is_much =
            self.owed.items * 2 >= self.window.items || self.owed.bytes * 2 >= self.window.bytes;
        if !is_much || self.theirs_ended || self.fault.is_some() {
            return None;
        }
        let owed = std::mem::take(&mut self.owed);
        self.may_come.add(owed);
        Some(owed)
    }
}

fn remember(place: &mut Option<Waker>, context: &Context<'_>) {
    if !place.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
        *place = Some(context.waker().clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms =
        Terms { body_bytes_max: 1_000, exchanges_max: 1, window_items: 4, window_bytes: 100 };

    fn ledger() -> Ledger {
        Ledger::new(&TERMS, &TERMS, false, false)
    }

    fn item(bytes: usize) -> Bytes {
        vec![0; bytes].into()
    }

    fn next(ledger: &Ledger) -> Poll<Result<Option<Read>, Fault>> {
        ledger.poll_next(&mut Context::from_waker(Waker::noop()))
    }

    fn may_send(ledger: &Ledger) -> bool {
        ledger.poll_may_send(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn given_back(ledger: &Ledger) -> Option<Credit> {
        let Poll::Ready(Ok(Some(read))) = next(ledger) else { panic!("an item is there") };
        read.give_back
    }

    #[test]
    fn a_window_ends_with_its_items_or_with_its_bytes() {
        let by_items = ledger();
        (0..4).for_each(|_| assert_eq!(by_items.spend(&item(1), false), Ok(Course::Goes)));
        assert!(!may_send(&by_items));
        let by_bytes = ledger();
        assert_eq!(by_bytes.spend(&item(99), false), Ok(Course::Goes));
        assert!(may_send(&by_bytes));
        assert_eq!(by_bytes.spend(&item(1_000), false), Ok(Course::Goes));
        assert!(!may_send(&by_bytes));
        assert_eq!(by_bytes.credit(Credit { items: 2, bytes: 1_099 }, &TERMS), Ok(()));
        assert!(may_send(&by_bytes));
    }

    #[test]
    fn what_comes_beyond_the_window_is_a_violation() {
        let by_items = ledger();
        (0..4).for_each(|_| assert_eq!(by_items.item(item(1), false), Ok(Course::Goes)));
        assert_eq!(by_items.item(item(1), false), Err(Overdrawn));
        let by_bytes = ledger();
        assert_eq!(by_bytes.item(item(1_000), false), Ok(Course::Goes));
        assert_eq!(by_bytes.item(item(1), false), Err(Overdrawn));
    }

    #[test]
    fn credit_that_nobody_owes_is_a_violation() {
        assert_eq!(ledger().credit(Credit { items: 1, bytes: 0 }, &TERMS), Err(Overdrawn));
    }

    #[test]
    fn half_a_window_is_given_back_at_a_time_and_nothing_after_the_end() {
        let ledger = ledger();
        (0..4).for_each(|_| assert_eq!(ledger.item(item(1), false), Ok(Course::Goes)));
        assert_eq!(given_back(&ledger), None);
        assert_eq!(given_back(&ledger), Some(Credit { items: 2, bytes: 2 }));
        assert_eq!(ledger.item(item(1), true), Ok(Course::Goes));
        assert_eq!(given_back(&ledger), None);
        assert_eq!(given_back(&ledger), None);
    }

    #[test]
    fn what_has_arrived_is_read_before_the_fault_is_told() {
        let ledger = ledger();
        assert_eq!(ledger.item(item(1), false), Ok(Course::Goes));
        ledger.fail(Fault::Busy);
        ledger.fail(Fault::Late);
        assert!(matches!(next(&ledger), Poll::Ready(Ok(Some(_)))));
        assert_eq!(next(&ledger), Poll::Ready(Err(Fault::Busy)));
        assert_eq!(ledger.spend(&item(1), false), Err(Fault::Busy));
    }

    #[test]
    fn a_whole_answer_outlives_a_fault_that_comes_after_it() {
        let ledger = ledger();
        assert_eq!(ledger.item(item(1), true), Ok(Course::Goes));
        ledger.fail(Fault::Stopped);
        assert!(matches!(next(&ledger), Poll::Ready(Ok(Some(_)))));
        assert_eq!(next(&ledger), Poll::Ready(Ok(None)));
    }

    #[test]
    fn an_exchange_is_over_when_both_halves_have_ended() {
        let ledger = ledger();
        assert_eq!(ledger.finish(), Ok(Some(Course::Goes)));
        assert_eq!(ledger.finish(), Ok(None));
        assert_eq!(ledger.end(), Ok(Course::Over));
        assert_eq!(ledger.end(), Err(Overdrawn));
        assert_eq!(ledger.item(item(1), false), Err(Overdrawn));
    }
}
