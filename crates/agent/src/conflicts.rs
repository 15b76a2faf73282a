//! Mistakes of configuration that agents see in each other: how many stand now, for metrics. Whoever
//! sees one tells it in words.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Conflicts as they stood when they were last looked at.
#[derive(Debug, Default)]
pub(crate) struct Conflicts {
    /// Servers that expect another number of servers than this one, while no group is founded.
    expects: AtomicUsize,
    /// Living members that get no node because its id is another's; only the leader looks.
    node_ids: AtomicUsize,
}

impl Conflicts {
    pub(crate) fn set_expects(&self, n: usize) {
        self.expects.store(n, Ordering::Relaxed);
    }

    pub(crate) fn set_node_ids(&self, n: usize) {
        self.node_ids.store(n, Ordering::Relaxed);
    }

    pub(crate) fn of_expects(&self) -> usize {
        self.expects.load(Ordering::Relaxed)
    }

    pub(crate) fn of_node_ids(&self) -> usize {
        self.node_ids.load(Ordering::Relaxed)
    }
}
