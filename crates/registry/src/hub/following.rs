//! A stream of changes over scopes that come and go: how one reader far away stands for many.
//!
//! [`Changes`](super::Changes) is made for one answer and its few scopes. An agent without a state
//! waits for all that its own readers wait for, which is thousands of scopes that change from one
//! moment to the next. A [`Following`] has one position in the log for all of them: whatever comes
//! anew is first brought up to it ([`Following::add`]).

use std::collections::{BTreeSet, HashMap};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use foldhash::fast::RandomState;
use muster_model::scope::Change;
use muster_model::{Index, Scope, Text};

use super::{History, Hub, Lost, Mark, Place, lock};

/// Changes at one index, each with those of its scopes that are followed.
pub type Followed = (Index, Vec<Change>);

/// A stream of what changes under scopes that come and go. Dropping it forgets the waiter.
pub struct Following {
    hub: Arc<Hub>,
    places: HashMap<Scope, (Arc<Mark>, Place), RandomState>,
    /// The prefixes among the scopes.
    prefixes: BTreeSet<Text>,
    /// Whoever is to be woken by the marks.
    waker: Option<Waker>,
    /// Everything up to here was given, of every scope.
    after: Index,
}

impl Following {
    pub(super) fn new(hub: Arc<Hub>, after: Index) -> Following {
        let (places, prefixes) = (HashMap::default(), BTreeSet::new());
        Following { hub, places, prefixes, waker: None, after }
    }

    /// The position: everything up to it was given.
    pub fn after(&self) -> Index {
        self.after
    }

    /// Scopes that are followed.
    pub fn n_scopes(&self) -> usize {
        self.places.len()
    }

    /// Follows more scopes, which the reader knows up to `since`. Gives what it has missed of them
    /// since then, up to the position of the stream.
    ///
    /// # Errors
    /// [`Lost`] where the history does not reach back to `since`. The scopes are followed all the
    /// same.
    pub fn add(&mut self, scopes: Vec<Scope>, since: Index) -> Result<Vec<Followed>, Lost> {
        let marks = self.hub.marks(&scopes);
        let is_touched = marks.latest() > since;
        let mut fresh = Following::new(self.hub.clone(), since);
        for (scope, mark) in scopes.into_iter().zip(marks.0) {
            if let Scope::PairsUnder(prefix) = &scope {
                fresh.prefixes.insert(prefix.clone());
                self.prefixes.insert(prefix.clone());
            }
            fresh.places.insert(scope.clone(), (mark.clone(), None));
            self.places.entry(scope).or_insert((mark, None));
        }
        let mut missed = Vec::new();
        while is_touched && fresh.after < self.after {
            let Some(followed) = fresh.in_history(self.after)? else { break };
            missed.push(followed);
        }
        Ok(missed)
    }

    /// Follows some scopes no longer.
    pub fn remove(&mut self, scopes: &[Scope]) {
        for scope in scopes {
            if let Some((mark, place)) = self.places.remove(scope) {
                mark.forget(place);
            }
            if let Scope::PairsUnder(prefix) = scope {
                self.prefixes.remove(prefix);
            }
        }
    }

    /// Waits for the next batch with a change under the scopes, and moves past it. Dropping the
    /// future loses nothing.
    ///
    /// # Errors
    /// [`Lost`] where the history no longer reaches back to the position.
    pub async fn next(&mut self) -> Result<Followed, Lost> {
        loop {
            poll_fn(|context| self.poll_touched(context)).await;
            if let Some(followed) = self.next_up_to(self.hub.published())? {
                return Ok(followed);
            }
        }
    }

    /// The next batch up to `index` that can be given now; without one, moves to `index`, which
    /// must be published.
    ///
    /// # Errors
    /// Those of [`Following::next`].
    pub fn next_up_to(&mut self, index: Index) -> Result<Option<Followed>, Lost> {
        let followed = match self.is_touched() {
            true => self.in_history(index)?,
            false => None,
        };
        if followed.is_none() {
            self.after = self.after.max(index);
        }
        Ok(followed)
    }

    /// After [`Lost`]: begins again at the last published index, which it gives.
    pub fn start_over(&mut self) -> Index {
        self.after = self.after.max(self.hub.published());
        self.after
    }

    /// The first batch after the position and up to `index` that concerns a scope; moves past it.
    fn in_history(&mut self, index: Index) -> Result<Option<Followed>, Lost> {
        let hub = self.hub.clone();
        let history = lock(&hub.history);
        if self.after < history.complete_after {
            return Err(Lost);
        }
        let found = self.first_of(&history, index);
        if let Some((index, _)) = found {
            self.after = index;
        }
        Ok(found)
    }

    fn first_of(&self, history: &History, up_to: Index) -> Option<Followed> {
        let first = history.batches.partition_point(|(index, _)| *index <= self.after);
        let batches = history.batches.iter().skip(first).take_while(|(index, _)| *index <= up_to);
        for (index, changes) in batches {
            let followed: Vec<Change> =
                changes.iter().filter_map(|change| self.what_is_followed_of(change)).collect();
            if !followed.is_empty() {
                return Some((*index, followed));
            }
        }
        None
    }

    fn what_is_followed_of(&self, change: &Change) -> Option<Change> {
        let is_followed = |scope: &&Scope| {
            let is_under = |key: &Text| self.prefixes.iter().any(|own| key.starts_with(&**own));
            self.places.contains_key(*scope) || matches!(scope, Scope::Pair(key) if is_under(key))
        };
        let scopes: Vec<Scope> = change.scopes.iter().filter(is_followed).cloned().collect();
        let is_any = !scopes.is_empty();
        is_any.then(|| Change { scopes, object: change.object.clone(), kind: change.kind })
    }

    fn is_touched(&self) -> bool {
        self.places.values().any(|(mark, _)| mark.latest() > self.after)
    }

    fn poll_touched(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // Read before the marks: what was published up to here has moved them.
        let published = self.hub.published();
        if self.is_touched() {
            return Poll::Ready(());
        }
        self.after = self.after.max(published);
        let is_known = self.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker()));
        if !is_known {
            self.waker = Some(context.waker().clone());
        }
        for (mark, place) in self.places.values_mut() {
            if !is_known || !mark.is_waiting(*place) {
                mark.wait(place, context.waker());
            }
        }
        // A batch may have been published between the look and the registration.
        if self.is_touched() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        for (mark, place) in self.places.values() {
            mark.forget(*place);
        }
    }
}
