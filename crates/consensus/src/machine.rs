//! What consensus drives: a state machine that it knows nothing about.
//!
//! Commands and outcomes are bytes. Applying is synchronous and deterministic, and happens once
//! per batch of committed entries, so that a machine publishes its state once per batch.

use std::io::{self, Read, Write};

use bytes::Bytes;

/// A command that was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its index in the log.
    pub index: u64,
    /// What was proposed.
    pub command: Bytes,
}

/// The replicated state, as consensus sees it.
pub trait Machine: Send + Sync + 'static {
    /// Applies a batch in order and pushes exactly one outcome for each command. The same
    /// commands must lead to the same state and outcomes on every server. A command that does not
    /// parse is answered by an outcome like any other; if the state itself is found broken, the
    /// machine panics and the agent ends.
    fn apply(&mut self, batch: &[Committed], outcomes: &mut Vec<Bytes>);

    /// The state as it is now, to be written out elsewhere while applying goes on. Cheap.
    fn freeze(&self) -> Box<dyn Frozen>;

    /// Replaces the state by what a frozen one wrote. Without an index the new state continues
    /// where that one stood: a start, or catching up with the others. With one, an operator wants
    /// the old state back at that index of the log: then no index that the state shows may fall
    /// behind what it showed before. On an error the state must be as it was.
    fn restore(&mut self, replaced_at: Option<u64>, from: &mut dyn Read) -> io::Result<()>;
}

/// A state that stands still.
pub trait Frozen: Send + Sync + 'static {
    /// Writes the whole state. Called once, on a thread that may block.
    fn write(&self, to: &mut dyn Write) -> io::Result<()>;
}
