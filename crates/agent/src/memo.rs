//! Answers are kept as long as nothing touched what they depend on.
//!
//! An entry is an answer, the marks of its scopes and the version it was computed at. It holds while
//! no mark passed that version, which a reader can see without a lock and without a look at the
//! state. So a thousand watchers that wake together share one computation, and so do readers of a
//! fleet that is at rest.
//!
//! Kept are answers that cost more to compute than to find: lists. A single pair is looked up faster
//! than it is kept, so it is kept only while somebody waits for it.
//!
//! The memo is bounded by the bytes that its answers and their usual encodings take, estimated when
//! an answer comes in.

use std::sync::Arc;

use muster_model::answer::{Answer, Body};
use muster_model::{Index, Query, Scope};
use muster_registry::Hub;
use muster_registry::hub::Marks;
use quick_cache::sync::Cache;

/// Bytes that kept answers may take.
const MEMO_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Answers expected to be kept; the cache grows beyond it within the bound of bytes.
const ANSWERS_EXPECTED: usize = 4_096;

/// What an entry costs beside its rows.
const ENTRY_BYTES: u64 = 512;
/// What a row of a list costs, encodings included.
const ROW_BYTES: u64 = 1_200;

/// The kept answers.
pub(crate) struct Memo {
    answers: Cache<Query, Arc<Kept>, Weigh>,
}

/// An answer with what it takes to tell whether it still holds.
struct Kept {
    answer: Arc<Answer>,
    marks: Marks,
    as_of: Index,
}

#[derive(Clone)]
struct Weigh;

impl quick_cache::Weighter<Query, Arc<Kept>> for Weigh {
    fn weight(&self, _: &Query, kept: &Arc<Kept>) -> u64 {
        ENTRY_BYTES + n_rows(&kept.answer.body) as u64 * ROW_BYTES
    }
}

impl Memo {
    pub(crate) fn new() -> Memo {
        Memo { answers: Cache::with_weighter(ANSWERS_EXPECTED, MEMO_BYTES_MAX, Weigh) }
    }

    /// The kept answer to `query`, if it still holds.
    pub(crate) fn find(&self, query: &Query) -> Option<Arc<Answer>> {
        let kept = self.answers.get(query)?;
        (kept.marks.latest() <= kept.as_of).then(|| kept.answer.clone())
    }

    /// Keeps an answer that was computed from the version `as_of` or a later one.
    pub(crate) fn keep(&self, hub: &Hub, query: &Query, answer: &Arc<Answer>, as_of: Index) {
        // Sorted by distance, an answer grows old without a scope being touched.
        if answer.is_lasting && is_worth_keeping(hub, query) {
            let marks = hub.marks(&answer.scopes);
            let kept = Kept { answer: answer.clone(), marks, as_of };
            self.answers.insert(query.clone(), Arc::new(kept));
        }
    }

    /// Forgets everything: the state was replaced.
    pub(crate) fn clear(&self) {
        self.answers.clear();
    }

    /// Answers kept now, and the bytes they are estimated to take.
    pub(crate) fn size(&self) -> (usize, u64) {
        (self.answers.len(), self.answers.weight())
    }
}

fn is_worth_keeping(hub: &Hub, query: &Query) -> bool {
    match query {
        Query::Pair { key } => hub.is_watched(&Scope::Pair(key.clone())),
        Query::Session { .. }
        | Query::Transact { .. }
        | Query::ExecutePrepared { .. }
        | Query::ExplainPrepared { .. }
        | Query::AddressOwners { .. } => false,
        _ => true,
    }
}

fn n_rows(body: &Body) -> usize {
    match body {
        Body::Nodes(rows) => rows.len(),
        Body::Node(Some(detail)) => 1 + detail.instances.len() + detail.checks.len(),
        Body::Services(rows) => rows.len(),
        Body::Instances(rows) => rows.len(),
        Body::Checks(rows) => rows.len(),
        Body::Pairs(rows) => {
            rows.len() + rows.iter().map(|row| row.value.value.len()).sum::<usize>() / 512
        }
        Body::Keys(rows) => rows.len(),
        Body::Sessions(rows) => rows.len(),
        Body::Coordinates(rows) => rows.len(),
        Body::Settings(rows) => rows.len(),
        _ => 1,
    }
}
