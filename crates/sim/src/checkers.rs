//! Checkers: what a history of a run must keep, whatever was broken meanwhile.
//!
//! Each invariant has a file of its own that says where it comes from. A checker reads the history
//! and nothing else of a run, and says what is wrong in words with the operations that show it.
//!
//! - [`linearizable`]: reads and writes of a key, and of a service, have an order.
//!
//! [`story`] tells operations to people.

pub mod linearizable;
pub mod story;

use std::fmt;

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

/// Judges a history by every invariant.
#[must_use]
pub fn judge(history: &History) -> Vec<Violation> {
    linearizable::check(history)
}
