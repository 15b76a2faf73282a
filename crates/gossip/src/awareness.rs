//! Awareness: how far a member trusts its own timing (Lifeguard, section IV.A).
//!
//! Who misses answers that it should have had, or hears itself suspected, is probably slow itself
//! and waits longer before it accuses anyone.

use std::time::Duration;

/// A score between 0, all is well, and the bound less one.
#[derive(Clone, Debug)]
pub(crate) struct Awareness {
    score: u32,
    factor_max: u32,
}

impl Awareness {
    /// No doubt of oneself; at the worst, timing is stretched by `factor_max`, at least 1.
    pub(crate) fn new(factor_max: u32) -> Awareness {
        Awareness { score: 0, factor_max: factor_max.max(1) }
    }

    /// Signs of one's own slowness.
    pub(crate) fn doubt(&mut self, n_signs: u32) {
        self.score = self.score.saturating_add(n_signs).min(self.factor_max - 1);
    }

    /// A sign that all is well.
    pub(crate) fn trust(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    /// How many unanswered signs of slowness there are.
    pub(crate) fn score(&self) -> u32 {
        self.score
    }

    /// A duration of one's own timing, stretched.
    pub(crate) fn stretch(&self, duration: Duration) -> Duration {
        duration.saturating_mul(self.score + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubt_stretches_within_its_bound_and_trust_takes_it_back() {
        let second = Duration::from_secs(1);
        let mut awareness = Awareness::new(8);
        awareness.doubt(3);
        assert_eq!(awareness.stretch(second), 4 * second);
        awareness.doubt(100);
        assert_eq!(awareness.stretch(second), 8 * second);
        for _ in 0..20 {
            awareness.trust();
        }
        assert_eq!(awareness.stretch(second), second);
    }

    #[test]
    fn without_a_bound_above_one_it_is_off() {
        let mut awareness = Awareness::new(1);
        awareness.doubt(5);
        assert_eq!(awareness.score(), 0);
    }
}
