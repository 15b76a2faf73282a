//! Some durations, and what is said of them: median, p99, worst.

use std::fmt;
use std::time::Duration;

/// Durations in the order in which they came.
#[derive(Default)]
pub(super) struct Gaps(Vec<Duration>);

impl Gaps {
    pub(super) fn add(&mut self, gap: Duration) {
        self.0.push(gap);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn median(&self) -> Duration {
        self.at(50)
    }

    pub(super) fn worst(&self) -> Duration {
        self.at(100)
    }

    /// The smallest of them that so many of a hundred do not exceed.
    fn at(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(place).copied().unwrap_or_default()
    }
}

impl fmt::Display for Gaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, p99, worst] = [50, 99, 100].map(|percent| self.at(percent).as_millis());
        write!(f, "median {median} ms, p99 {p99} ms, worst {worst} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_the_worst_are_of_the_sorted_gaps() {
        let mut gaps = Gaps::default();
        assert_eq!(gaps.worst(), Duration::ZERO);
        for milliseconds in [5, 1, 9, 3] {
            gaps.add(Duration::from_millis(milliseconds));
        }
        assert_eq!(gaps.median(), Duration::from_millis(3));
        assert_eq!(gaps.to_string(), "median 3 ms, p99 9 ms, worst 9 ms");
    }
}
