//! Histograms side by side, as text: a line for each.

use std::fmt;

use crate::{Histogram, PercentileStats};

/// Histograms by their names.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart {
    rows: Vec<(String, PercentileStats)>,
}

/// The chart as text.
#[derive(Debug)]
pub struct Detailed<'a>(&'a AsciiChart);

impl AsciiChart {
    /// Nothing to show.
    #[must_use]
    pub fn new() -> Self {
        AsciiChart::default()
    }

    /// One more.
    #[must_use]
    pub fn add(mut self, name: impl Into<String>, histogram: Histogram) -> Self {
        self.rows.push((name.into(), histogram.percentile_stats()));
        self
    }

    /// All that is known of each.
    #[must_use]
    pub fn detailed(&self) -> Detailed<'_> {
        Detailed(self)
    }
}

impl fmt::Display for Detailed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.rows.iter().try_for_each(|(name, stats)| writeln!(f, "{name}: {stats}"))
    }
}
