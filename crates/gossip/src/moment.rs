//! Time as the rules see it: how long ago the agent started.

use std::ops::Add;
use std::time::Duration;

/// An instant, counted from the start of whoever keeps the clock. It never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// The instant this long after the start.
    pub fn after_start(elapsed: Duration) -> Moment {
        Moment(elapsed)
    }

    /// How long after the start it is.
    pub fn since_start(self) -> Duration {
        self.0
    }

    /// How long after `earlier` it is; zero where it is not.
    pub fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    /// A duration too long to count means the end of time.
    fn add(self, duration: Duration) -> Moment {
        Moment(self.0.saturating_add(duration))
    }
}
