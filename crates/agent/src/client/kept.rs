//! Kept answers: what this agent was told when somebody asked, for as long as somebody asks.
//!
//! An entry is an answer with the marks of its scopes: it holds as long as no mark has passed the
//! version that it was computed at. One that no longer holds is still given to those who take what
//! is at hand, and, when no server can be reached, to all who asked for no better: the last known
//! good. How old it may be is said with it.
//!
//! Reading takes no lock that a writer holds for long: `peek` is on the path of every DNS answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use arc_swap::ArcSwap;
use foldhash::fast::FixedState;
use muster_model::{Index, Query};
use muster_registry::call::Secret;
use muster_registry::hub::Marks;
use muster_registry::{Answered, Standing};
use tokio::time::Instant;

use super::ClientSettings;

/// What an answer takes in memory, for each byte that it had on its way.
const BYTES_IN_MEMORY: usize = 4;
/// What an entry takes beside its answer.
const ENTRY_BYTES: usize = 1_024;

/// The kept answers.
pub(crate) struct Kept {
    table: RwLock<Table>,
    settings: ClientSettings,
    started_at: Instant,
}

#[derive(Default)]
struct Table {
    /// Few tokens ask the same.
    by_query: HashMap<Query, Vec<Arc<Entry>>, FixedState>,
    n_entries: usize,
    n_bytes: usize,
}

/// A kept answer.
pub(crate) struct Entry {
    pub(crate) query: Query,
    pub(crate) token: Secret,
    value: ArcSwap<Value>,
    /// When somebody asked for it, in milliseconds since the start.
    asked_at: AtomicU64,
    /// When somebody asked for it who takes what is at hand.
    taken_at: AtomicU64,
    /// When it was seen to hold no longer; zero: it holds.
    touched_at: AtomicU64,
    /// Before this it is not asked for again.
    refresh_at: AtomicU64,
    pub(crate) is_refreshing: AtomicBool,
}

struct Value {
    answered: Answered,
    marks: Marks,
    fetched_at: Instant,
    n_bytes: usize,
}

/// Whether an answer to such a query is kept: what clients ask to find each other.
pub(crate) fn is_kept(query: &Query) -> bool {
    match query {
        Query::Nodes(_)
        | Query::Node { .. }
        | Query::Services { .. }
        | Query::Instances(_)
        | Query::AllInstances { .. }
        | Query::Checks(_)
        | Query::ExecutePrepared { .. }
        | Query::AddressOwners { .. } => true,
        Query::Pair { .. }
        | Query::PairsUnder { .. }
        | Query::KeysUnder { .. }
        | Query::Transact { .. }
        | Query::Session { .. }
        | Query::Sessions { .. }
        | Query::PreparedQueries { .. }
        | Query::ExplainPrepared { .. }
        | Query::Coordinates { .. }
        | Query::Roots
        | Query::Settings { .. }
        | Query::Usage => false,
    }
}

impl Kept {
    pub(crate) fn new(settings: &ClientSettings) -> Kept {
        let (table, settings) = (RwLock::default(), settings.clone());
        Kept { table, settings, started_at: Instant::now() }
    }

    /// The entry for a query as this token asks it. That somebody asked is remembered; also whether
    /// he takes what is at hand.
    pub(crate) fn find(&self, query: &Query, token: &Secret, takes: bool) -> Option<Arc<Entry>> {
        let entry = self.read().find(query, token)?.clone();
        let now = self.now_ms();
        entry.asked_at.store(now, Ordering::Relaxed);
        if takes {
            entry.taken_at.store(now, Ordering::Relaxed);
        }
        Some(entry)
    }

    /// Keeps an answer that had so many bytes on its way. One that is there and newer stays.
    pub(crate) fn put(
        &self,
        (query, token): (&Query, &Secret),
        answered: &Answered,
        marks: Marks,
        n_bytes: usize,
        takes: bool,
    ) {
        let n_bytes = ENTRY_BYTES + n_bytes * BYTES_IN_MEMORY;
        if n_bytes > self.settings.kept_bytes_max / 2 {
            return;
        }
        let (answered, fetched_at) = (answered.clone(), Instant::now());
        let value = Value { answered, marks, fetched_at, n_bytes };
        let now = self.now_ms();
        let mut table = self.write();
        match table.find(query, token).cloned() {
            Some(entry) => {
                let earlier = entry.value.load();
                if earlier.answered.as_of > value.answered.as_of {
                    return;
                }
                table.n_bytes = table.n_bytes + n_bytes - earlier.n_bytes;
                entry.value.store(Arc::new(value));
                entry.touched_at.store(0, Ordering::Relaxed);
            }
            None => {
                let entry = Entry {
                    query: query.clone(),
                    token: token.clone(),
                    value: ArcSwap::from_pointee(value),
                    asked_at: AtomicU64::new(now),
                    taken_at: AtomicU64::new(if takes { now } else { 0 }),
                    touched_at: AtomicU64::new(0),
                    refresh_at: AtomicU64::new(0),
                    is_refreshing: AtomicBool::new(false),
                };
                table.insert(entry, n_bytes);
            }
        }
        while table.n_entries > self.settings.kept_answers_max
            || table.n_bytes > self.settings.kept_bytes_max
        {
            table.remove_longest_unasked();
        }
    }

    /// Drops everything.
    pub(crate) fn clear(&self) {
        *self.write() = Table::default();
    }

    /// Drops what nobody asks for any more.
    pub(crate) fn drop_idle(&self) {
        let idle_ms = self.settings.kept_idle.as_millis() as u64;
        let before = self.now_ms().saturating_sub(idle_ms);
        let idle = self.read().entries(|entry| entry.asked_at.load(Ordering::Relaxed) < before);
        let mut table = self.write();
        idle.iter().for_each(|entry| table.remove(entry));
    }

    /// The entries that somebody takes from and that have to be asked for again now; and when that
    /// is so of another one.
    pub(crate) fn due(&self) -> (Vec<Arc<Entry>>, Option<Instant>) {
        let now = self.now_ms();
        let wanted_since = now.saturating_sub(self.settings.kept_idle.as_millis() as u64);
        let touched = self.read().entries(|entry| {
            let value = entry.value.load();
            if !value.holds() && entry.touched_at.load(Ordering::Relaxed) == 0 {
                entry.touched_at.store(now.max(1), Ordering::Relaxed);
            }
            let taken_at = entry.taken_at.load(Ordering::Relaxed);
            let is_wanted = taken_at > 0 && taken_at >= wanted_since;
            is_wanted
                && !entry.is_refreshing.load(Ordering::Acquire)
                && (!value.holds() || self.has_drifted(&value))
        });
        let mut next = None;
        let (due, later): (Vec<_>, Vec<_>) =
            touched.into_iter().partition(|entry| entry.refresh_at.load(Ordering::Relaxed) <= now);
        for entry in later {
            let at = entry.refresh_at.load(Ordering::Relaxed);
            next = Some(next.map_or(at, |next: u64| next.min(at)));
        }
        (due, next.map(|at| self.started_at + Duration::from_millis(at)))
    }

    /// The entries there are.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        self.read().entries(|_| true)
    }

    /// Sets when an entry is asked for again, at the earliest.
    pub(crate) fn hold_back(&self, entry: &Entry, by: Duration) {
        let at = self.now_ms() + by.as_millis() as u64;
        entry.refresh_at.fetch_max(at, Ordering::Relaxed);
    }

    /// The answer of an entry if it still holds, and does not drift, with how old that word is.
    pub(crate) fn holding(&self, entry: &Entry, heard: Standing) -> Option<Answered> {
        let value = entry.value.load();
        let holds = value.holds() && !self.has_drifted(&value);
        holds.then(|| Answered { standing: heard, ..value.answered.clone() })
    }

    /// The answer of an entry, whether or not it holds.
    pub(crate) fn last_known(&self, entry: &Entry, heard: Standing) -> Answered {
        let value = entry.value.load();
        let touched_at = match entry.touched_at.load(Ordering::Relaxed) {
            0 => self.now_ms(),
            at => at,
        };
        let age = Duration::from_millis(self.now_ms().saturating_sub(touched_at));
        let last_contact = heard.last_contact.max(age);
        Answered { standing: Standing { last_contact, ..heard }, ..value.answered.clone() }
    }

    /// How far the answer of an entry reaches.
    pub(crate) fn as_of(entry: &Entry) -> Index {
        entry.value.load().answered.as_of
    }

    /// Answers kept, and the bytes they are estimated to take.
    pub(crate) fn size(&self) -> (usize, usize) {
        let table = self.read();
        (table.n_entries, table.n_bytes)
    }

    /// Whether places on the map have moved since.
    fn has_drifted(&self, value: &Value) -> bool {
        let is_old = value.fetched_at.elapsed() > self.settings.drifting_age_max;
        !value.answered.answer.is_lasting && is_old
    }

    fn now_ms(&self) -> u64 {
        self.started_at.elapsed().as_millis() as u64 + 1
    }

    /// Nothing that runs under the lock leaves the data half changed.
    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Value {
    fn holds(&self) -> bool {
        self.marks.latest() <= self.answered.as_of
    }
}

impl Table {
    fn find(&self, query: &Query, token: &Secret) -> Option<&Arc<Entry>> {
        self.by_query.get(query)?.iter().find(|entry| entry.token == *token)
    }

    fn insert(&mut self, entry: Entry, n_bytes: usize) {
        self.n_entries += 1;
        self.n_bytes += n_bytes;
        self.by_query.entry(entry.query.clone()).or_default().push(Arc::new(entry));
    }

    fn remove(&mut self, gone: &Arc<Entry>) {
        let Some(entries) = self.by_query.get_mut(&gone.query) else { return };
        let n_before = entries.len();
        entries.retain(|entry| !Arc::ptr_eq(entry, gone));
        if entries.len() < n_before {
            self.n_entries -= 1;
            self.n_bytes -= gone.value.load().n_bytes;
        }
        if entries.is_empty() {
            self.by_query.remove(&gone.query);
        }
    }

    fn remove_longest_unasked(&mut self) {
        let entries = self.by_query.values().flatten();
        let longest = entries.min_by_key(|entry| entry.asked_at.load(Ordering::Relaxed)).cloned();
        if let Some(entry) = longest {
            self.remove(&entry);
        }
    }

    /// The entries that fit, in an order that is the same every time.
    fn entries(&self, fits: impl Fn(&Entry) -> bool) -> Vec<Arc<Entry>> {
        let all = self.by_query.values().flatten();
        all.filter(|entry| fits(entry)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use muster_model::Scope;
    use muster_model::answer::{Answer, Body};
    use muster_model::query::InstanceFilter;
    use muster_model::scope::{Change, ChangeKind, Object};
    use muster_registry::Hub;
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    struct House {
        hub: Hub,
        kept: Kept,
    }

    impl House {
        fn new(settings: ClientSettings) -> House {
            House { hub: Hub::new(1), kept: Kept::new(&settings) }
        }

        fn put(&self, name: &str, as_of: Index, n_bytes: usize) {
            let scopes = vec![scope(name)];
            let marks = self.hub.marks(&scopes);
            let answer = Arc::new(Answer::new(1, scopes, Body::Keys(vec![name.into()])));
            let answered = Answered { answer, as_of, standing: Standing::default() };
            self.kept.put((&query(name), &Secret::default()), &answered, marks, n_bytes, true);
        }

        fn touch(&self, name: &str, index: Index) {
            let object = Object::Session("s".into());
            let change = Change { scopes: vec![scope(name)], object, kind: ChangeKind::Changed };
            self.hub.publish(index, vec![change]);
        }

        fn find(&self, name: &str) -> Option<Arc<Entry>> {
            self.kept.find(&query(name), &Secret::default(), true)
        }

        fn due(&self) -> Vec<Query> {
            self.kept.due().0.iter().map(|entry| entry.query.clone()).collect()
        }
    }

    fn scope(name: &str) -> Scope {
        Scope::Service(name.into())
    }

    fn query(name: &str) -> Query {
        Query::Instances(InstanceFilter { service: name.into(), ..InstanceFilter::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_holds_until_it_is_touched_and_is_due_then() {
        let house = House::new(ClientSettings::default());
        house.put("web", 1, 10);
        house.put("api", 1, 10);
        let web = house.find("web").unwrap();
        assert!(house.kept.holding(&web, Standing::default()).is_some() && house.due().is_empty());
        house.touch("web", 2);
        assert!(house.kept.holding(&web, Standing::default()).is_none());
        assert_eq!(house.due(), [query("web")]);
        advance(3 * SECOND).await;
        let last = house.kept.last_known(&web, Standing::default());
        assert_eq!(last.standing.last_contact, 3 * SECOND);
        house.put("web", 2, 10);
        assert!(house.kept.holding(&web, Standing::default()).is_some() && house.due().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_back_is_due_later() {
        let house = House::new(ClientSettings::default());
        house.put("web", 1, 10);
        house.touch("web", 2);
        house.kept.hold_back(&house.find("web").unwrap(), 2 * SECOND);
        let (due, next) = house.kept.due();
        assert!(due.is_empty() && next.unwrap() > Instant::now() + SECOND);
        advance(3 * SECOND).await;
        assert_eq!(house.due(), [query("web")]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_answer_does_not_replace_a_newer_one() {
        let house = House::new(ClientSettings::default());
        house.put("web", 5, 10);
        house.put("web", 4, 10);
        assert_eq!(Kept::as_of(&house.find("web").unwrap()), 5);
        house.put("web", 6, 10);
        assert_eq!(Kept::as_of(&house.find("web").unwrap()), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_asks_for_is_not_refreshed_and_dropped() {
        let settings = ClientSettings { kept_idle: 60 * SECOND, ..ClientSettings::default() };
        let house = House::new(settings);
        house.put("web", 1, 10);
        house.put("api", 1, 10);
        advance(50 * SECOND).await;
        house.find("web");
        advance(30 * SECOND).await;
        house.touch("web", 2);
        house.touch("api", 3);
        assert_eq!(house.due(), [query("web")]);
        house.kept.drop_idle();
        assert!(house.find("api").is_none() && house.find("web").is_some());
        assert_eq!(house.kept.size().0, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_bounds_of_number_and_bytes_hold_and_who_was_asked_for_last_stays() {
        let kept_bytes_max = 100 << 10;
        let settings =
            ClientSettings { kept_answers_max: 3, kept_bytes_max, ..ClientSettings::default() };
        let house = House::new(settings);
        for name in ["a", "b", "c"] {
            house.put(name, 1, 10);
            advance(SECOND).await;
        }
        house.find("a");
        advance(SECOND).await;
        house.put("d", 1, 10);
        assert!(house.find("b").is_none() && house.find("a").is_some());
        advance(SECOND).await;
        house.put("long", 1, 11 << 10);
        advance(SECOND).await;
        house.put("longer", 1, 12 << 10);
        assert!(house.find("longer").is_some());
        assert!(house.kept.size().1 <= kept_bytes_max);
        house.put("longest", 1, 1 << 20);
        assert!(house.find("longest").is_none());
        house.kept.clear();
        assert_eq!(house.kept.size(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_whose_order_drifts_is_asked_for_again_when_it_is_old() {
        let house = House::new(ClientSettings::default());
        let marks = house.hub.marks(&[scope("web")]);
        let answer = Answer::new(1, vec![scope("web")], Body::Keys(Vec::new())).for_once();
        let answered = Answered { answer: answer.into(), as_of: 1, standing: Standing::default() };
        house.kept.put((&query("web"), &Secret::default()), &answered, marks, 1, true);
        let web = house.find("web").unwrap();
        assert!(house.kept.holding(&web, Standing::default()).is_some());
        advance(11 * SECOND).await;
        assert!(house.kept.holding(&web, Standing::default()).is_none());
        assert_eq!(house.due(), [query("web")]);
    }
}
