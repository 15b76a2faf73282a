//! The place of an entry in the log: its index and the term of the leader that proposed it.

use std::fmt;

use minicbor::{Decode, Encode};

/// Names an entry: two logs that have the same id at an index are equal up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct EntryId {
    /// The term of the leader that proposed the entry.
    #[n(0)]
    pub term: u64,
    /// The position in the log.
    #[n(1)]
    pub index: u64,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of term {}", self.index, self.term)
    }
}
