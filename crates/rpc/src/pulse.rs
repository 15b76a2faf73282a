//! When a connection last gave a sign of life, each way.
//!
//! Written by the tasks that read and write, read by the connection's clock; so that a frame
//! costs no timer, only moments are kept, as milliseconds since the connection began.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::time::{Duration, Instant};

/// Says that nothing is being written.
const RESTING: u64 = u64::MAX;

#[derive(Debug)]
pub(crate) struct Pulse {
    born: Instant,
    heard_ms: AtomicU64,
    n_heard: AtomicU64,
    writing_ms: AtomicU64,
    /// A ping was sent since something was heard.
    has_asked: AtomicBool,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self {
            born: Instant::now(),
            heard_ms: AtomicU64::new(0),
            n_heard: AtomicU64::new(0),
            writing_ms: AtomicU64::new(RESTING),
            has_asked: AtomicBool::new(false),
        }
    }

    fn now_ms(&self) -> u64 {
        // Half a billion years fit.
        self.born.elapsed().as_millis() as u64
    }

    /// Bytes came.
    pub(crate) fn hear(&self) {
        self.heard_ms.store(self.now_ms(), Ordering::Relaxed);
        self.n_heard.fetch_add(1, Ordering::Relaxed);
        self.has_asked.store(false, Ordering::Relaxed);
    }

    /// How often bytes came.
    pub(crate) fn n_heard(&self) -> u64 {
        self.n_heard.load(Ordering::Relaxed)
    }

    /// When bytes came last.
    pub(crate) fn heard_at(&self) -> Instant {
        self.born + Duration::from_millis(self.heard_ms.load(Ordering::Relaxed))
    }

    /// A write begins, or goes on.
    pub(crate) fn write(&self) {
        self.writing_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// All is written.
    pub(crate) fn rest(&self) {
        self.writing_ms.store(RESTING, Ordering::Relaxed);
    }

    /// Since when a write has not moved, if one is under way.
    pub(crate) fn writing_since(&self) -> Option<Instant> {
        let since = self.writing_ms.load(Ordering::Relaxed);
        (since != RESTING).then(|| self.born + Duration::from_millis(since))
    }

    /// Whether it is time to ask: true once until something is heard.
    pub(crate) fn ask(&self) -> bool {
        !self.has_asked.swap(true, Ordering::Relaxed)
    }
}
