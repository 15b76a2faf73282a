//! How a change finds those who wait for it.
//!
//! Each scope that somebody waits for, or that a kept answer depends on, has one `Mark`: the last
//! index that touched it and the wakers of those who wait. A scope nobody asks about has none, and
//! touching it costs a failed look-up. Publishing a batch moves each touched mark once and wakes
//! each waiter once, however many of its scopes the batch touched.
//!
//! Beside the marks stands a bounded history of changes, for readers that want to know *what*
//! changed. Who comes too late for it is told so ([`Lost`]) and starts afresh.
//!
//! Order matters: the new version of the state is published first, then the marks move, then writes
//! are acknowledged. So a question asked after an acknowledgment finds every mark moved.

mod following;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use foldhash::fast::RandomState;
use muster_model::scope::{Change, ChangeKind, Object};
use muster_model::{Index, Scope, Text};
use smallvec::SmallVec;
use tokio::time::Instant;

use crate::timeline::Timeline;

pub use following::{Followed, Following};

/// Changes that the history holds. Who is further behind is told [`Lost`].
pub const HISTORY_CHANGES_MAX: usize = 16_384;
/// Marks kept before those that nobody holds are swept out; the bound doubles with those in use.
const MARKS_BEFORE_SWEEP: usize = 1_024;

/// All marks and the history of changes.
#[derive(Default)]
pub struct Hub {
    /// The index of the last published batch.
    published: AtomicU64,
    marks: Mutex<MarkTable>,
    history: Mutex<History>,
    timeline: Mutex<Timeline>,
}

/// The last index that touched a scope, and who waits for the next.
struct Mark {
    /// Which mark of its table this is, counted as they are made: the order of waking.
    number: u64,
    touched: AtomicU64,
    /// How often those who wait were to look again without a touch.
    nudged: AtomicU64,
    /// Waking empties all places and begins a new round, so that a place taken in an earlier round
    /// is known to be void. Moves only while `waiters` is locked.
    round: AtomicU64,
    waiters: Mutex<Waiters>,
}

/// Wakers in numbered places.
#[derive(Default)]
struct Waiters {
    places: Vec<Option<Waker>>,
    free: Vec<u32>,
}

/// A waker's place: round and number.
type Place = Option<(u64, u32)>;

#[derive(Default)]
struct MarkTable {
    by_scope: HashMap<Scope, Arc<Mark>, RandomState>,
    /// The marks of [`Scope::PairsUnder`], found by any start of a changed key.
    by_prefix: HashMap<Text, Arc<Mark>, RandomState>,
    /// How many watched prefixes have which length, so that a change of a key looks up only those
    /// of its starts that somebody may watch.
    prefix_lengths: BTreeMap<usize, usize>,
    sweep_at: usize,
    n_made: u64,
}

#[derive(Default)]
struct History {
    /// Everything after this index is in `batches`.
    complete_after: Index,
    batches: VecDeque<(Index, Arc<[Change]>)>,
    n_changes: usize,
}

impl Hub {
    /// A hub whose history begins after `index`: what a state restored at that index needs.
    pub fn new(index: Index) -> Hub {
        let hub = Hub::default();
        hub.published.store(index, Ordering::Release);
        lock(&hub.history).complete_after = index;
        hub
    }

    /// Notes from now on when indexes are published: what came until now came at a time that
    /// nobody here knows.
    pub fn begin_timeline(&self) {
        lock(&self.timeline).begin(self.published());
    }

    /// How long ago an index was published here, to about a second; nothing where that is not known.
    pub fn age_of(&self, index: Index) -> Option<Duration> {
        lock(&self.timeline).age_of(index, Instant::now())
    }

    /// The index of the last published batch.
    pub fn published(&self) -> Index {
        self.published.load(Ordering::Acquire)
    }

    /// Makes a batch known: moves the marks of all it touched and wakes who waits for them. Must be
    /// called after the version of the state with that index can be read, and in order.
    pub fn publish(&self, index: Index, changes: Vec<Change>) {
        let changes: Arc<[Change]> = changes.into();
        if !changes.is_empty() {
            lock(&self.history).push(index, changes.clone());
        }
        lock(&self.timeline).note(index, Instant::now());
        let table = lock(&self.marks);
        let touched = table.touched_by(&changes);
        self.move_marks(table, touched, index);
    }

    /// Moves marks, then the published index, then wakes. A mark made by others meanwhile is either
    /// among `touched` or begins at the new index, because the table stays locked until both moved;
    /// and who reads the new index finds the marks moved, because they moved first.
    fn move_marks(&self, table: MutexGuard<'_, MarkTable>, touched: Vec<Arc<Mark>>, index: Index) {
        for mark in &touched {
            mark.touched.fetch_max(index, Ordering::AcqRel);
        }
        self.published.fetch_max(index, Ordering::AcqRel);
        drop(table);
        for mark in touched {
            mark.wake();
        }
    }

    /// Makes a replaced state known: everything may be another, every waiter wakes, the history
    /// begins anew.
    pub fn reset(&self, index: Index) {
        {
            let mut history = lock(&self.history);
            *history = History { complete_after: index, ..History::default() };
        }
        let table = lock(&self.marks);
        let all = table.all();
        self.move_marks(table, all, index);
    }

    /// Sends everybody away who waits here, and whoever comes later: this hub no longer hears of
    /// changes, and another takes its place.
    pub fn close(&self) {
        self.reset(Index::MAX);
    }

    /// The marks of some scopes: as long as [`Marks::latest`] does not pass an index, an answer
    /// computed at that index holds.
    pub fn marks(&self, scopes: &[Scope]) -> Marks {
        let mut table = lock(&self.marks);
        Marks(scopes.iter().map(|scope| table.find_or_make(scope, self.published())).collect())
    }

    /// Whether somebody waits for this scope now, or keeps an answer that depends on it.
    pub fn is_watched(&self, scope: &Scope) -> bool {
        lock(&self.marks).find(scope).is_some_and(|mark| Arc::strong_count(mark) > 1)
    }

    /// Has those who wait for these scopes look again although nothing touched them: they were given
    /// an answer that was known to be behind, and there may be a better one now.
    pub fn nudge<'a>(&self, scopes: impl IntoIterator<Item = &'a Scope>) {
        let table = lock(&self.marks);
        let marks: Vec<Arc<Mark>> =
            scopes.into_iter().filter_map(|scope| table.find(scope).cloned()).collect();
        drop(table);
        for mark in marks {
            mark.nudged.fetch_add(1, Ordering::AcqRel);
            mark.wake();
        }
    }

    /// Forgets the mark of a scope, unless somebody holds it: the next one made for it is touched
    /// by whatever was published until then. Gives whether there is none now.
    pub fn forget(&self, scope: &Scope) -> bool {
        lock(&self.marks).remove_unheld(scope)
    }

    /// What changes under `scopes` after `after`.
    pub fn changes(self: &Arc<Hub>, scopes: &[Scope], after: Index) -> Changes {
        let marks = self.marks(scopes);
        Changes {
            places: std::iter::repeat_n(None, marks.0.len()).collect(),
            hub: self.clone(),
            scopes: scopes.into(),
            n_nudges: marks.n_nudges(),
            marks,
            after,
            known_from: 0,
        }
    }

    /// Marks that exist now, for metrics.
    pub fn n_marks(&self) -> usize {
        let table = lock(&self.marks);
        table.by_scope.len() + table.by_prefix.len()
    }
}

/// The marks of the scopes of one answer.
#[derive(Clone)]
pub struct Marks(SmallVec<[Arc<Mark>; 2]>);

impl Marks {
    /// The last index that touched any of the scopes, or that may have done so before the mark was
    /// made.
    pub fn latest(&self) -> Index {
        self.0.iter().map(|mark| mark.latest()).max().unwrap_or(0)
    }

    /// How often they were nudged, all together.
    fn n_nudges(&self) -> u64 {
        self.0.iter().map(|mark| mark.nudged.load(Ordering::Acquire)).sum()
    }
}

/// A stream of what changes under some scopes. Dropping it forgets the waiter.
pub struct Changes {
    hub: Arc<Hub>,
    scopes: Box<[Scope]>,
    marks: Marks,
    places: SmallVec<[Place; 2]>,
    after: Index,
    /// The history says nothing of these scopes before this index.
    known_from: Index,
    /// The nudges that were answered by looking again.
    n_nudges: u64,
}

/// Objects that changed at one index.
pub type Batch = (Index, Vec<(Object, ChangeKind)>);

/// The reader came too late: changes it has not seen are no longer in the history. It must ask
/// afresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the changes after this index are no longer kept; ask afresh")]
pub struct Lost;

impl Changes {
    /// The same stream from a hub that hears of these scopes since `index` only: who reads what
    /// changed from further back is told [`Lost`].
    #[must_use]
    pub fn known_from(mut self, index: Index) -> Changes {
        self.known_from = index;
        self
    }

    /// A stream over scopes that come and go, at the position of this one; it follows none yet.
    pub fn follow(&self) -> Following {
        Following::new(self.hub.clone(), self.after)
    }

    /// Waits until one of the scopes was touched after the index this stream has reached; gives the
    /// index that touched it. Does not move the stream. Whoever is nudged ([`Hub::nudge`]) is given
    /// the index he has reached.
    pub async fn touched(&mut self) -> Index {
        poll_fn(|context| self.poll_touched(context)).await
    }

    /// Waits for the next batch with a change under the scopes, and moves past it.
    ///
    /// # Errors
    /// [`Lost`] where the history no longer reaches back to this stream's index.
    pub async fn next(&mut self) -> Result<Batch, Lost> {
        loop {
            let latest = self.touched().await;
            if let Some(batch) = self.next_of_history()? {
                return Ok(batch);
            }
            self.after = self.after.max(latest);
        }
    }

    /// The next batch that is in the history already, if there is one.
    fn next_of_history(&mut self) -> Result<Option<Batch>, Lost> {
        let history = lock(&self.hub.history);
        if self.after < history.complete_after.max(self.known_from) {
            return Err(Lost);
        }
        let first = history.batches.partition_point(|(index, _)| *index <= self.after);
        for (index, changes) in history.batches.iter().skip(first) {
            let concerned: Vec<_> = changes
                .iter()
                .filter(|change| self.scopes.iter().any(|scope| concerns(change, scope)))
                .map(|change| (change.object.clone(), change.kind))
                .collect();
            if !concerned.is_empty() {
                self.after = *index;
                return Ok(Some((*index, concerned)));
            }
        }
        Ok(None)
    }

    fn poll_touched(&mut self, context: &mut Context<'_>) -> Poll<Index> {
        if let Some(index) = self.newer() {
            return Poll::Ready(index);
        }
        for (mark, place) in self.marks.0.iter().zip(&mut self.places) {
            mark.wait(place, context.waker());
        }
        // A batch may have been published between the look and the registration.
        self.newer().map_or(Poll::Pending, Poll::Ready)
    }

    fn newer(&mut self) -> Option<Index> {
        let latest = self.marks.latest();
        let n_nudges = self.marks.n_nudges();
        let is_nudged = std::mem::replace(&mut self.n_nudges, n_nudges) != n_nudges;
        (latest > self.after || is_nudged).then_some(latest.max(self.after))
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        for (mark, place) in self.marks.0.iter().zip(&self.places) {
            mark.forget(*place);
        }
    }
}

impl Mark {
    fn new(number: u64, touched: Index) -> Arc<Mark> {
        let (nudged, round) = (AtomicU64::new(0), AtomicU64::new(0));
        let touched = AtomicU64::new(touched);
        Arc::new(Mark { number, touched, nudged, round, waiters: Mutex::default() })
    }

    /// The last index that touched it.
    fn latest(&self) -> Index {
        self.touched.load(Ordering::Acquire)
    }

    /// Whether a place holds its waker still. A place that is given up at this moment is woken.
    fn is_waiting(&self, place: Place) -> bool {
        place.is_some_and(|(round, _)| round == self.round.load(Ordering::Acquire))
    }

    /// Remembers `waker` in its place, or in a new one.
    fn wait(&self, place: &mut Place, waker: &Waker) {
        let mut waiters = lock(&self.waiters);
        let now = self.round.load(Ordering::Relaxed);
        if let Some((round, number)) = *place
            && round == now
        {
            let own = &mut waiters.places[number as usize];
            if !own.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
                *own = Some(waker.clone());
            }
            return;
        }
        let number = match waiters.free.pop() {
            Some(number) => {
                waiters.places[number as usize] = Some(waker.clone());
                number
            }
            None => {
                waiters.places.push(Some(waker.clone()));
                (waiters.places.len() - 1) as u32
            }
        };
        *place = Some((now, number));
    }

    fn forget(&self, place: Place) {
        let Some((round, number)) = place else { return };
        let mut waiters = lock(&self.waiters);
        if round == self.round.load(Ordering::Relaxed) {
            waiters.places[number as usize] = None;
            waiters.free.push(number);
        }
    }

    fn wake(&self) {
        let woken = {
            let mut waiters = lock(&self.waiters);
            self.round.fetch_add(1, Ordering::Release);
            waiters.free.clear();
            std::mem::take(&mut waiters.places)
        };
        for waker in woken.into_iter().flatten() {
            waker.wake();
        }
    }
}

impl MarkTable {
    fn find_or_make(&mut self, scope: &Scope, published: Index) -> Arc<Mark> {
        if let Some(mark) = self.find(scope) {
            return mark.clone();
        }
        self.sweep_if_due();
        self.n_made += 1;
        let mark = Mark::new(self.n_made, published);
        match scope {
            Scope::PairsUnder(prefix) => {
                *self.prefix_lengths.entry(prefix.len()).or_default() += 1;
                self.by_prefix.insert(prefix.clone(), mark.clone());
            }
            _ => {
                self.by_scope.insert(scope.clone(), mark.clone());
            }
        }
        mark
    }

    fn find(&self, scope: &Scope) -> Option<&Arc<Mark>> {
        match scope {
            Scope::PairsUnder(prefix) => self.by_prefix.get(prefix),
            _ => self.by_scope.get(scope),
        }
    }

    fn remove_unheld(&mut self, scope: &Scope) -> bool {
        match self.find(scope) {
            None => true,
            Some(mark) if Arc::strong_count(mark) > 1 => false,
            Some(_) => {
                // The length of a forgotten prefix stays until the next sweep; it costs a look-up.
                match scope {
                    Scope::PairsUnder(prefix) => self.by_prefix.remove(prefix),
                    _ => self.by_scope.remove(scope),
                };
                true
            }
        }
    }

    /// The marks of everything that `changes` touch, each once, in the order in which they were
    /// made: the same history wakes the same waiters in the same order.
    fn touched_by(&self, changes: &[Change]) -> Vec<Arc<Mark>> {
        let mut touched: Vec<Arc<Mark>> = Vec::new();
        for scope in changes.iter().flat_map(|change| &change.scopes) {
            touched.extend(self.by_scope.get(scope).cloned());
            if let Scope::Pair(key) = scope {
                touched.extend(self.prefixes_of(key).cloned());
            }
        }
        touched.sort_unstable_by_key(|mark| mark.number);
        touched.dedup_by_key(|mark| mark.number);
        touched
    }

    fn prefixes_of<'a>(&'a self, key: &'a Text) -> impl Iterator<Item = &'a Arc<Mark>> {
        self.prefix_lengths
            .range(..=key.len())
            .filter_map(|(length, _)| self.by_prefix.get(key.as_str().get(..*length)?))
    }

    /// Removes the marks that nobody holds, once there are twice as many as were in use last time.
    fn sweep_if_due(&mut self) {
        let n_marks = self.by_scope.len() + self.by_prefix.len();
        if n_marks < self.sweep_at.max(MARKS_BEFORE_SWEEP) {
            return;
        }
        self.by_scope.retain(|_, mark| Arc::strong_count(mark) > 1);
        self.by_prefix.retain(|_, mark| Arc::strong_count(mark) > 1);
        self.prefix_lengths.clear();
        for prefix in self.by_prefix.keys() {
            *self.prefix_lengths.entry(prefix.len()).or_default() += 1;
        }
        self.sweep_at = 2 * (self.by_scope.len() + self.by_prefix.len());
    }

    fn all(&self) -> Vec<Arc<Mark>> {
        let mut all: Vec<_> =
            self.by_scope.values().chain(self.by_prefix.values()).cloned().collect();
        all.sort_unstable_by_key(|mark| mark.number);
        all
    }
}

impl History {
    fn push(&mut self, index: Index, changes: Arc<[Change]>) {
        self.n_changes += changes.len();
        self.batches.push_back((index, changes));
        while self.n_changes > HISTORY_CHANGES_MAX {
            let Some((dropped, changes)) = self.batches.pop_front() else { break };
            self.complete_after = dropped;
            self.n_changes -= changes.len();
        }
    }
}

/// Whether a change touches a scope.
fn concerns(change: &Change, scope: &Scope) -> bool {
    match scope {
        Scope::PairsUnder(prefix) => change
            .scopes
            .iter()
            .any(|touched| matches!(touched, Scope::Pair(key) if key.starts_with(&**prefix))),
        _ => change.scopes.contains(scope),
    }
}

/// A short plain lock at the edge: nothing waits or runs foreign code while it is held, so a panic
/// elsewhere cannot have left the data half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
