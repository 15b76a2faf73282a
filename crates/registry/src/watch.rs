//! The third verb: wait until an answer is newer than the one already seen.
//!
//! Every protocol's waiting (a long poll, a watch, a parked stream) is this loop: ask, and if the
//! answer is the one already seen, sleep until one of its scopes is touched.

use muster_model::{Index, Query};
use tokio::time::{Instant, timeout_at};

use crate::{Answered, Call, Freshness, Refusal, Registry};

/// The answer to `query` once its index passes `seen`, or the present one at `until`.
///
/// The answer may be equal to the one seen: an index moves for every change of what the answer
/// depends on, also for one that leaves no trace in it.
///
/// # Errors
/// Those of [`Registry::ask`].
pub async fn watch(
    registry: &dyn Registry,
    call: &Call,
    query: &Query,
    freshness: Freshness,
    seen: Index,
    until: Instant,
) -> Result<Answered, Refusal> {
    loop {
        let answered = registry.ask(call, query, freshness).await?;
        if answered.answer.index > seen || Instant::now() >= until {
            return Ok(answered);
        }
        let mut changes = registry.changes(call, &answered.answer.scopes, answered.as_of);
        drop(answered);
        if timeout_at(until, changes.touched()).await.is_err() {
            return registry.ask(call, query, freshness).await;
        }
    }
}
