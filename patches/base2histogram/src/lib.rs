//! The part of the library of this name that the consensus engine uses, without its tables.
//!
//! openraft keeps a dozen histograms, whether somebody reads them or not, and muster reads none of
//! them. The first one made costs 20 MB with the library, which then computes the bounds of all
//! sixteen widths that it offers: half of what an empty server takes
//! (docs/decisions/histograms.md). Here a histogram that nothing was recorded in is an empty list,
//! and the bounds are computed. Names and signatures are the library's; what openraft does not name
//! is left out.

mod chart;
mod histogram;

pub use chart::{AsciiChart, Detailed};
pub use histogram::{Histogram, PercentileStats};
