//! The list that the search walks: calls and returns in the order of their instants, from which a
//! call can be lifted with its return, and put back where it stood.

use std::time::Duration;

use super::search::Call;

/// Calls that must be taken and their returns, doubly linked. Place 0 is both ends.
pub(super) struct List {
    next: Vec<usize>,
    previous: Vec<usize>,
    /// When that is which stands at a place.
    instants: Vec<Duration>,
    /// The call whose beginning stands at a place; nothing at a return and at the ends.
    calls: Vec<Option<usize>>,
    /// The places of each call's beginning and return; unused for optional calls.
    places: Vec<(usize, usize)>,
}

impl List {
    pub(super) fn of(calls: &[Call]) -> List {
        let known = calls.iter().enumerate().filter_map(|(call, known)| {
            let returns_by = known.returns_by?;
            Some([(known.invoked_at, false, call), (returns_by, true, call)])
        });
        let mut events: Vec<(Duration, bool, usize)> = known.flatten().collect();
        // At one instant calls stand before returns: nobody knows which was first.
        events.sort_unstable();
        let n_places = events.len() + 1;
        let mut list = List {
            next: (1..=n_places).map(|place| place % n_places).collect(),
            previous: (0..n_places).map(|place| (place + n_places - 1) % n_places).collect(),
            instants: vec![Duration::MAX; n_places],
            calls: vec![None; n_places],
            places: vec![(0, 0); calls.len()],
        };
        for (number, (instant, is_return, call)) in events.into_iter().enumerate() {
            let place = number + 1;
            list.instants[place] = instant;
            if is_return {
                list.places[call].1 = place;
            } else {
                list.places[call].0 = place;
                list.calls[place] = Some(call);
            }
        }
        list
    }

    pub(super) fn first(&self) -> usize {
        self.next[0]
    }

    /// The call that begins at this place; nothing at a return and at the end.
    pub(super) fn call_at(&self, place: usize) -> Option<usize> {
        self.calls[place]
    }

    /// The place after the beginning of a call.
    pub(super) fn after_call(&self, call: usize) -> usize {
        self.next[self.places[call].0]
    }

    /// When the first call returns.
    pub(super) fn first_return(&self) -> Option<Duration> {
        let mut place = self.first();
        while let Some(call) = self.call_at(place) {
            place = self.after_call(call);
        }
        (place != 0).then(|| self.instants[place])
    }

    pub(super) fn lift(&mut self, call: usize) {
        let (begin, end) = self.places[call];
        self.unlink(begin);
        self.unlink(end);
    }

    /// Undoes the last [`List::lift`] that is not undone.
    pub(super) fn put_back(&mut self, call: usize) {
        let (begin, end) = self.places[call];
        self.link(end);
        self.link(begin);
    }

    fn unlink(&mut self, place: usize) {
        let (before, after) = (self.previous[place], self.next[place]);
        self.next[before] = after;
        self.previous[after] = before;
    }

    fn link(&mut self, place: usize) {
        let (before, after) = (self.previous[place], self.next[place]);
        self.next[before] = place;
        self.previous[after] = place;
    }
}
