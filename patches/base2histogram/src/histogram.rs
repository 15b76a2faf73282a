//! Counts in buckets that grow with what they hold: four to each doubling.

use std::fmt;
use std::marker::PhantomData;

/// Buckets to each doubling, as a power of two.
const BITS: u32 = 2;
const PER_DOUBLING: usize = 1 << BITS;

/// How often values of any size were recorded, each known to a quarter of its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    /// Up to the last bucket that anything was recorded in.
    counts: Vec<u64>,
    data: PhantomData<T>,
}

/// Values below which a share of all that was recorded lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PercentileStats {
    /// How many were recorded.
    pub samples: u64,
    /// One in a thousand lies below it.
    pub p0_1: u64,
    /// 1 %.
    pub p1: u64,
    /// 5 %.
    pub p5: u64,
    /// 10 %.
    pub p10: u64,
    /// Half.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PercentileStats { samples, p50, p99, .. } = self;
        write!(f, "{samples} samples, half up to {p50}, 99 % up to {p99}")
    }
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Histogram { counts: Vec::new(), data: PhantomData }
    }
}

impl<T> Histogram<T> {
    /// Nothing was recorded.
    #[must_use]
    pub fn new() -> Self {
        Histogram::default()
    }

    /// Records a value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Records a value so many times.
    pub fn record_n(&mut self, value: u64, count: u64) {
        let bucket = bucket_of(value);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] = self.counts[bucket].saturating_add(count);
    }

    /// How many were recorded.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The lower end of the bucket up to which this share of all values lies, 0.0 to 1.0; 0 where
    /// there are none.
    #[must_use]
    pub fn percentile(&self, share: f64) -> u64 {
        let rank = ((self.total() as f64 * share).ceil() as u64).max(1);
        let mut n_seen = 0_u64;
        for (bucket, count) in self.counts.iter().enumerate() {
            n_seen = n_seen.saturating_add(*count);
            if n_seen >= rank {
                return lower_end(bucket);
            }
        }
        0
    }

    /// The usual shares.
    #[must_use]
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total(),
            p0_1: self.percentile(0.001),
            p1: self.percentile(0.01),
            p5: self.percentile(0.05),
            p10: self.percentile(0.1),
            p50: self.percentile(0.5),
            p90: self.percentile(0.9),
            p99: self.percentile(0.99),
            p99_9: self.percentile(0.999),
        }
    }
}

/// Small values have a bucket each; of greater ones the leading bits say which.
fn bucket_of(value: u64) -> usize {
    let Some(magnitude) = value.checked_ilog2().filter(|magnitude| *magnitude > BITS) else {
        return value as usize;
    };
    let doublings = (magnitude - BITS) as usize;
    doublings * PER_DOUBLING + (value >> (magnitude - BITS)) as usize
}

fn lower_end(bucket: usize) -> u64 {
    if bucket < 2 * PER_DOUBLING {
        return bucket as u64;
    }
    let doublings = bucket / PER_DOUBLING - 1;
    ((bucket - doublings * PER_DOUBLING) as u64) << doublings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_the_bucket_that_begins_at_most_a_quarter_below_it() {
        let powers = (0..64).flat_map(|bit| {
            let power = 1_u64 << bit;
            [power - 1, power, power + power / 3, power + (power - 1)]
        });
        for value in (0..1_000).chain(powers) {
            let from = lower_end(bucket_of(value));
            assert!(from <= value && value - from <= value / 4, "{value} is counted as {from}");
            assert_eq!(bucket_of(from), bucket_of(value), "{value}");
        }
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        let last = bucket_of(u64::MAX);
        for bucket in 0..last {
            assert!(lower_end(bucket) < lower_end(bucket + 1), "{bucket}");
            assert_eq!(bucket_of(lower_end(bucket + 1) - 1), bucket);
        }
    }

    #[test]
    fn shares_are_of_what_was_recorded() {
        let mut histogram: Histogram = Histogram::new();
        assert_eq!(histogram.percentile_stats().p50, 0);
        histogram.record_n(4, 98);
        histogram.record(1_024);
        histogram.record(u64::MAX);
        let stats = histogram.percentile_stats();
        assert_eq!((stats.samples, stats.p1, stats.p50, stats.p90), (100, 4, 4, 4));
        assert_eq!((stats.p99, stats.p99_9), (1_024, 7 << 61));
    }
}
