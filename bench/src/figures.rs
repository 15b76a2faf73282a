//! What a round measured, and what rounds come to: medians and spread.

use serde::Serialize;

/// One round of one contestant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Round {
    /// CPU microseconds of the servers per operation.
    pub(crate) cpu: f64,
    /// Operations per second.
    pub(crate) rate: f64,
    /// How long each operation took, in microseconds, sorted.
    pub(crate) took: Vec<f64>,
    /// Bytes that the servers wrote to a disk per operation, where the kernel tells.
    pub(crate) written: Option<f64>,
    /// Bytes of memory that the servers have resident at its end.
    pub(crate) resident: f64,
}

/// What the rounds of one contestant come to.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Figures {
    /// Operations per second.
    pub(crate) rate: f64,
    /// Microseconds that an operation took: half of them at most this long...
    pub(crate) p50: f64,
    /// ... 99 of a hundred...
    pub(crate) p99: f64,
    /// ... 999 of a thousand.
    pub(crate) p99_9: f64,
    /// Bytes written to a disk per operation.
    pub(crate) written: Option<f64>,
    /// Calls of fsync and fdatasync per operation, counted in a round of its own.
    pub(crate) syncs: Option<f64>,
    /// Megabytes resident at the end.
    pub(crate) resident: f64,
}

impl Figures {
    /// The median of each figure over the rounds.
    pub(crate) fn of(rounds: &[Round]) -> Figures {
        let median = |figure: &dyn Fn(&Round) -> f64| summary(rounds.iter().map(figure)).0;
        let written: Option<Vec<f64>> = rounds.iter().map(|round| round.written).collect();
        Figures {
            rate: median(&|round| round.rate),
            p50: median(&|round| quantile(&round.took, 0.5)),
            p99: median(&|round| quantile(&round.took, 0.99)),
            p99_9: median(&|round| quantile(&round.took, 0.999)),
            written: written.map(|written| summary(written).0),
            syncs: None,
            resident: median(&|round| round.resident / 1e6),
        }
    }
}

/// The least figure that at least this share of the sorted ones does not exceed.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
}

/// The median, the least and the greatest.
pub(crate) fn summary(figures: impl IntoIterator<Item = f64>) -> (f64, (f64, f64)) {
    let mut sorted: Vec<f64> = figures.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let first = sorted.first().copied().unwrap_or(f64::NAN);
    let last = sorted.last().copied().unwrap_or(f64::NAN);
    (quantile(&sorted, 0.5), (first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_figures() {
        let sorted: Vec<f64> = (1..=1000).map(f64::from).collect();
        assert_eq!(quantile(&sorted, 0.5), 500.0);
        assert_eq!(quantile(&sorted, 0.99), 990.0);
        assert_eq!(quantile(&sorted, 0.999), 999.0);
        assert_eq!(quantile(&[7.0], 0.999), 7.0);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn rounds_in_any_order_have_the_same_summary() {
        assert_eq!(summary([3.0, 1.0, 2.0]), (2.0, (1.0, 3.0)));
    }
}
