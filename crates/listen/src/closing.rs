//! The end of waiting: whoever is kept waiting on purpose is let go when the listener is to stop.
//!
//! A handler that parks a request, or feeds a stream that has no end, waits for [`Closing::begun`]
//! beside what it waits for anyway, and answers then with what there is. Without it every open long
//! poll would hold the stop until its deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Tells those who wait that the end has come. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Closing(Arc<Gate>);

#[derive(Debug, Default)]
struct Gate {
    has_begun: AtomicBool,
    waiting: Notify,
}

impl Closing {
    /// Lets everyone go, and whoever comes later too.
    pub fn begin(&self) {
        self.0.has_begun.store(true, Ordering::Release);
        self.0.waiting.notify_waiters();
    }

    /// Waits until the end has come.
    pub async fn begun(&self) {
        // Made before the look, so that an end that comes between is not missed.
        let end = self.0.waiting.notified();
        if !self.0.has_begun.load(Ordering::Acquire) {
            end.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_and_who_comes_later_are_both_let_go() {
        let closing = Closing::default();
        let early = tokio::spawn({
            let closing = closing.clone();
            async move { closing.begun().await }
        });
        tokio::task::yield_now().await;
        assert!(!early.is_finished());
        closing.begin();
        early.await.unwrap();
        closing.begun().await;
    }
}
