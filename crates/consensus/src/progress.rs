//! How far this server has come, readable by anybody without a lock.
//!
//! A server that is the only voter confirms reads from here: whatever was acknowledged was
//! applied before, and nobody else can have acknowledged anything.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Shared between the applier, which moves it, and whoever reads or waits.
pub(crate) struct Progress {
    applied: AtomicU64,
    watch: watch::Sender<u64>,
    /// Whether this server leads, is the only voter, and has applied all that it had on disk.
    is_alone: AtomicBool,
    started_at: Instant,
    /// Microseconds from the start to when a leader was last heard.
    heard_after: AtomicU64,
}

impl Progress {
    pub(crate) fn new(applied: u64) -> Self {
        Progress {
            applied: AtomicU64::new(applied),
            watch: watch::Sender::new(applied),
            is_alone: AtomicBool::new(false),
            started_at: Instant::now(),
            heard_after: AtomicU64::new(0),
        }
    }

    /// Takes note that a leader spoke to this server just now.
    pub(crate) fn heard_from_leader(&self) {
        let after = self.started_at.elapsed().as_micros();
        self.heard_after.store(u64::try_from(after).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long ago a leader spoke to this server, or how long ago it started if none has.
    pub(crate) fn silence(&self) -> Duration {
        let after = Duration::from_micros(self.heard_after.load(Ordering::Relaxed));
        self.started_at.elapsed().saturating_sub(after)
    }

    /// Takes note that the machine has published everything up to an index.
    pub(crate) fn applied(&self, index: u64) {
        self.applied.store(index, Ordering::Release);
        self.watch.send_replace(index);
    }

    pub(crate) fn index(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.watch.subscribe()
    }

    pub(crate) fn set_alone(&self, is_alone: bool) {
        self.is_alone.store(is_alone, Ordering::Release);
    }

    /// The index up to which everything acknowledged is applied, if this server alone decides.
    pub(crate) fn confirmed(&self) -> Option<u64> {
        self.is_alone.load(Ordering::Acquire).then(|| self.index())
    }
}
