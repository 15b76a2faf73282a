//! Entries of the log become versions of the state, and changes find their waiters.
//!
//! The machine is the only writer of the state. It applies a batch of decided entries, publishes
//! the new version whole, and only then makes its changes known: whoever is woken finds the version
//! that woke him. Consensus acknowledges a write after that.

use std::io::{self, Read, Write};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use muster_consensus::{Committed, Frozen, Machine};
use muster_model::outcome::Denial;
use muster_model::scope::Change;
use muster_model::{Command, Index, Outcome};
use muster_registry::Hub;
use muster_state::State;

use crate::memo::Memo;

/// What readers share with the machine: the last version, who waits, what is kept.
pub(crate) struct Shared {
    /// The last published version.
    pub(crate) state: ArcSwap<State>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) memo: Memo,
}

impl Shared {
    pub(crate) fn new() -> Arc<Shared> {
        Arc::new(Shared {
            state: ArcSwap::from_pointee(State::default()),
            hub: Arc::new(Hub::new(0)),
            memo: Memo::new(),
        })
    }
}

/// The state as consensus sees it.
pub(crate) struct StateMachine {
    shared: Arc<Shared>,
    state: State,
}

impl StateMachine {
    pub(crate) fn new(shared: Arc<Shared>) -> StateMachine {
        let state = State::clone(&shared.state.load());
        StateMachine { shared, state }
    }

    fn apply_one(&mut self, entry: &Committed, changes: &mut Vec<Change>) -> Bytes {
        let outcome = match muster_model::decode::<Command>(&entry.command) {
            Ok(command) => self.state.apply_into(entry.index, &command, changes),
            // Every replica reads the same bytes, so every replica comes to this outcome.
            Err(error) => Outcome::Denied(Denial::Invalid(error.to_string().into())),
        };
        muster_model::encode(&outcome)
    }

    fn publish(&mut self, index: Index, changes: Vec<Change>) {
        self.shared.state.store(Arc::new(self.state.clone()));
        self.shared.hub.publish(index, changes);
    }
}

impl Machine for StateMachine {
    fn apply(&mut self, batch: &[Committed], outcomes: &mut Vec<Bytes>) {
        let Some(last) = batch.last() else { return };
        let mut changes = Vec::new();
        outcomes.extend(batch.iter().map(|entry| self.apply_one(entry, &mut changes)));
        self.publish(last.index, changes);
    }

    fn freeze(&self) -> Box<dyn Frozen> {
        Box::new(FrozenState(self.state.clone()))
    }

    fn restore(&mut self, replaced_at: Option<Index>, from: &mut dyn Read) -> io::Result<()> {
        let mut state = thaw(from)?;
        if let Some(index) = replaced_at {
            state.take_place_at(index);
        }
        self.state = state;
        self.shared.state.store(Arc::new(self.state.clone()));
        self.shared.memo.clear();
        self.shared.hub.reset(self.state.index());
        Ok(())
    }
}

/// A version of the state that is written out while the next ones are made.
struct FrozenState(State);

impl Frozen for FrozenState {
    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        let mut framed = Vec::new();
        for block in self.0.save() {
            framed.clear();
            frame(&block, &mut framed);
            to.write_all(&framed)?;
        }
        Ok(())
    }
}

/// Longest block of a state.
const BLOCK_BYTES_MAX: u32 = 8 << 20;

/// Adds a block with its length before it. What carries it checks the bytes.
pub(crate) fn frame(block: &[u8], to: &mut Vec<u8>) {
    to.extend_from_slice(&(block.len() as u32).to_le_bytes());
    to.extend_from_slice(block);
}

/// The state that was written as framed blocks.
pub(crate) fn thaw(from: &mut dyn Read) -> io::Result<State> {
    let mut failure = None;
    let blocks = std::iter::from_fn(|| match next_block(from) {
        Ok(block) => block,
        Err(error) => {
            failure = Some(error);
            None
        }
    });
    let state = State::load(blocks);
    match failure {
        Some(error) => Err(error),
        None => state.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
    }
}

fn next_block(from: &mut dyn Read) -> io::Result<Option<Bytes>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_le_bytes(length);
    if length > BLOCK_BYTES_MAX {
        let why = format!("a block of the state claims {length} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    let mut block = vec![0; length as usize];
    from.read_exact(&mut block)?;
    Ok(Some(block.into()))
}
