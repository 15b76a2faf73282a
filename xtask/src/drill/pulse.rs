//! How long something that should happen all the time did not happen.
//!
//! Every success is a beat. A measurement begins at a moment (a kill, say) and the longest silence
//! since then counts, the one that still lasts included.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The beats since a measurement began.
pub(super) struct Pulse(Mutex<Beats>);

struct Beats {
    /// Beats of what was begun before this do not show that it goes on.
    fresh_from: Instant,
    n_fresh: usize,
    n_all: usize,
    last: Instant,
    longest: Duration,
}

impl Pulse {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let (n_fresh, n_all) = (0, 0);
        Self(Mutex::new(Beats {
            fresh_from: now,
            n_fresh,
            n_all,
            last: now,
            longest: Duration::ZERO,
        }))
    }

    /// Begins a measurement that counts silence from `since`; only what is begun from now on is
    /// fresh.
    pub(super) fn begin(&self, since: Instant) {
        let mut beats = self.lock();
        beats.fresh_from = Instant::now();
        beats.n_fresh = 0;
        beats.last = since;
        beats.longest = Duration::ZERO;
    }

    /// Something that was begun at a moment has succeeded.
    pub(super) fn beat(&self, begun_at: Instant) {
        let mut beats = self.lock();
        let now = Instant::now();
        beats.n_all += 1;
        beats.n_fresh += usize::from(begun_at >= beats.fresh_from);
        beats.longest = beats.longest.max(now.saturating_duration_since(beats.last));
        beats.last = now;
    }

    /// Beats since the measurement began, of what was begun since then.
    pub(super) fn n_fresh(&self) -> usize {
        self.lock().n_fresh
    }

    /// All beats ever.
    pub(super) fn n_all(&self) -> usize {
        self.lock().n_all
    }

    /// The longest silence since the measurement began.
    pub(super) fn longest(&self) -> Duration {
        let beats = self.lock();
        beats.longest.max(beats.last.elapsed())
    }

    /// Held for a few additions.
    fn lock(&self) -> MutexGuard<'_, Beats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_from_where_the_measurement_began() {
        let pulse = Pulse::new();
        let long_ago = Instant::now() - Duration::from_secs(9);
        pulse.begin(long_ago);
        pulse.beat(long_ago);
        assert_eq!((pulse.n_fresh(), pulse.n_all()), (0, 1), "begun before is not fresh");
        pulse.beat(Instant::now());
        assert_eq!((pulse.n_fresh(), pulse.n_all()), (1, 2));
        assert!(pulse.longest() >= Duration::from_secs(9));
        pulse.begin(Instant::now());
        assert!(pulse.longest() < Duration::from_secs(9));
    }
}
