//! A state from its saved blocks. It is built aside and given only when it is whole.

use std::sync::Arc;

use muster_model::{Check, Indexed, Instance, Text};

use crate::State;
use crate::kv::LockDelay;
use crate::save::{FORMAT, Record};

/// Saved blocks that do not make a state. Nothing was loaded; whoever keeps the blocks must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The bytes make no sense: the file is damaged.
    #[error("the saved state is damaged in block {block} at byte {offset}: {reason}")]
    Damaged {
        /// Which block, counted from 0.
        block: usize,
        /// Where in it.
        offset: usize,
        /// What is wrong.
        reason: String,
    },
    /// A newer program wrote it.
    #[error("the saved state has format {0}; this program reads formats up to {FORMAT}")]
    Newer(u16),
    /// Its end is missing.
    #[error("the saved state is cut short after {0} records")]
    Short(u64),
}

impl State {
    /// Builds the state that [`State::save`] wrote.
    ///
    /// # Errors
    /// Says what is wrong with the blocks, and where.
    pub fn load<B: AsRef<[u8]>>(blocks: impl IntoIterator<Item = B>) -> Result<State, LoadError> {
        let mut loading = Loading::default();
        for (block, bytes) in blocks.into_iter().enumerate() {
            let bytes = bytes.as_ref();
            let mut decoder = minicbor::Decoder::new(bytes);
            while decoder.position() < bytes.len() {
                let offset = decoder.position();
                let damaged = |reason: String| LoadError::Damaged { block, offset, reason };
                let record = decoder.decode().map_err(|error| damaged(error.to_string()))?;
                loading.take(record).map_err(|fault| match fault {
                    Fault::Newer(format) => LoadError::Newer(format),
                    Fault::Senseless(reason) => damaged(reason.into()),
                })?;
            }
        }
        if !loading.is_ended {
            return Err(LoadError::Short(loading.n_records));
        }
        Ok(loading.state)
    }
}

/// A state being built.
#[derive(Default)]
struct Loading {
    state: State,
    /// The folded name of the node that instances and checks belong to.
    node: Option<Text>,
    n_records: u64,
    is_ended: bool,
}

/// What is wrong with a record.
enum Fault {
    Newer(u16),
    Senseless(&'static str),
}

impl Loading {
    fn take(&mut self, record: Record) -> Result<(), Fault> {
        if self.is_ended {
            return Err(Fault::Senseless("a record follows the end"));
        }
        if let Record::Header { format, .. } = record
            && format > FORMAT
        {
            return Err(Fault::Newer(format));
        }
        if matches!(record, Record::Header { .. }) != (self.n_records == 0) {
            return Err(Fault::Senseless("the header is not in its place"));
        }
        self.place(record)?;
        self.n_records += 1;
        Ok(())
    }

    fn place(&mut self, record: Record) -> Result<(), Fault> {
        let state = &mut self.state;
        match record {
            Record::Header { index, reaped, replaced_at, .. } => {
                state.index = index;
                state.replaced_at = replaced_at;
                state.pairs.reaped = reaped;
            }
            Record::Touched { scope, index } => state.indexes.touch(&scope, index),
            Record::Node(mut row) => {
                state.interner.share_node(&mut row.value);
                let name = row.name.folded();
                state.catalog.put_node(&name, Arc::new(row));
                self.node = Some(name);
            }
            Record::Instance(row) => self.place_instance(row)?,
            Record::Check(row) => self.place_check(row)?,
            Record::Session(row) => state.sessions.put(Arc::new(row)),
            Record::Pair(row) => {
                state.sessions.hold(&row.session, &row.key);
                state.pairs.put(Arc::new(row));
            }
            Record::Tombstone { key, index } => state.pairs.bury(key, index),
            Record::LockDelay { key, began_at, duration } => {
                state.pairs.delays.insert(key, LockDelay { began_at, duration });
            }
            Record::PreparedQuery(row) => state.questions.put(Arc::new(row)),
            Record::Coordinate(row) => state.places.put(Arc::new(row)),
            Record::Root(row) => drop(state.kept.roots.insert(row.id.clone(), Arc::new(row))),
            Record::Setting(row) => state.kept.put_setting(Arc::new(row)),
            Record::End { n_records } if n_records != self.n_records => {
                return Err(Fault::Senseless("records are missing"));
            }
            Record::End { .. } => self.is_ended = true,
        }
        Ok(())
    }

    fn place_instance(&mut self, mut row: Indexed<Instance>) -> Result<(), Fault> {
        let node = self.node.as_ref().ok_or(Fault::Senseless("an instance without a node"))?;
        self.state.interner.share_instance(&mut row.value);
        self.state.catalog.put_instance(node, Arc::new(row));
        Ok(())
    }

    fn place_check(&mut self, mut row: Indexed<Check>) -> Result<(), Fault> {
        let node = self.node.as_ref().ok_or(Fault::Senseless("a check without a node"))?;
        self.state.interner.share_check(&mut row.value);
        if !row.is_about_node() {
            let entry = self.state.catalog.node(node);
            let instance = entry.and_then(|entry| entry.instance(&row.instance_id));
            let instance = instance.ok_or(Fault::Senseless("a check without its instance"))?;
            row.value.instance_id = instance.row.id.clone();
        }
        self.state.catalog.put_check(node, Arc::new(row));
        Ok(())
    }
}
