//! Checkers: what a history of a run must keep, whatever was broken meanwhile.
//!
//! Each invariant has a file of its own that says where it comes from. A checker reads the history
//! and nothing else of a run, and says what is wrong in words with the operations that show it.
//!
//! - [`linearizable`]: reads and writes of a key, and of a service, have an order;
//! - [`leases`]: a session lives as long as it was renewed, and not much longer;
//! - [`locks`]: a lock has one holder at a time;
//! - [`watches`]: watchers see every change, in order, once;
//! - [`raft`]: one leader in a term; what was decided stays decided;
//! - [`hashes`]: servers at one index hold the same.
//!
//! [`story`] tells operations to people.

pub mod hashes;
pub mod leases;
pub mod linearizable;
pub mod locks;
pub mod raft;
pub mod story;
pub mod watches;

use std::fmt;
use std::time::Duration;

use crate::history::{History, Operation};

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What was violated.
    pub invariant: &'static str,
    /// What is wrong.
    pub headline: String,
    /// What shows it, a line each.
    pub evidence: Vec<String>,
}

impl Violation {
    /// A violation that operations show.
    pub(crate) fn new(
        invariant: &'static str,
        headline: String,
        operations: &[&Operation],
    ) -> Violation {
        let evidence = operations.iter().map(|operation| story::line(operation)).collect();
        Violation { invariant, headline, evidence }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.headline)?;
        self.evidence.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// How exactly servers measure time, and so how exactly they can be judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clocks {
    /// By how much a server's clock runs fast or slow at most: 0.01 is a hundredth.
    pub drift: f64,
    /// How long the leader may take, beyond what its clock says, until something that is due has
    /// been decided: an fsync, a round trip, a pause that nobody took for a death.
    pub slack: Duration,
}

impl Default for Clocks {
    fn default() -> Clocks {
        Clocks { drift: 0.0, slack: Duration::from_secs(5) }
    }
}

impl Clocks {
    /// The shortest that a server may take for this long.
    #[must_use]
    pub(crate) fn at_least(&self, duration: Duration) -> Duration {
        duration.mul_f64(1.0 / (1.0 + self.drift))
    }

    /// The longest that a server may take for this long.
    #[must_use]
    pub(crate) fn at_most(&self, duration: Duration) -> Duration {
        duration.mul_f64(1.0 + self.drift) + self.slack
    }
}

/// Judges a history by every invariant.
#[must_use]
pub fn judge(history: &History, clocks: &Clocks) -> Vec<Violation> {
    let mut violations = linearizable::check(history);
    violations.extend(leases::check(history, clocks));
    violations.extend(locks::check(history, clocks));
    violations.extend(watches::check(history));
    violations.extend(raft::check(&history.leaderships, &[]));
    violations.extend(hashes::check(&history.states));
    violations
}
