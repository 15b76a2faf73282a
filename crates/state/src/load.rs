//! A state from its saved blocks. It is built aside and given only when it is whole.

use std::sync::Arc;

use muster_model::answer::Row;
use muster_model::{Check, Indexed, Instance, Node};

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
    /// The node that instances and checks belong to, until all of them are there.
    node: Option<LoadingNode>,
    n_records: u64,
    is_ended: bool,
}

/// A node with what was read of it so far.
struct LoadingNode {
    row: Indexed<Node>,
    instances: Vec<Row<Instance>>,
    checks: Vec<Row<Check>>,
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
        if !matches!(record, Record::Instance(_) | Record::Check(_)) {
            self.finish_node()?;
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
                self.node = Some(LoadingNode { row, instances: vec![], checks: vec![] });
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
        let node = self.node.as_mut().ok_or(Fault::Senseless("an instance without a node"))?;
        if node.instances.last().is_some_and(|last| last.id >= row.id) {
            return Err(Fault::Senseless("instances are not in order"));
        }
        self.state.interner.share_instance(&mut row.value);
        node.instances.push(Arc::new(row));
        Ok(())
    }

    fn place_check(&mut self, mut row: Indexed<Check>) -> Result<(), Fault> {
        let node = self.node.as_mut().ok_or(Fault::Senseless("a check without a node"))?;
        if node.checks.last().is_some_and(|last| last.id >= row.id) {
            return Err(Fault::Senseless("checks are not in order"));
        }
        self.state.interner.share_check(&mut row.value);
        if let Ok(at) = node.instances.binary_search_by(|own| own.id.cmp(&row.instance_id)) {
            row.value.instance_id = node.instances[at].id.clone();
        }
        node.checks.push(Arc::new(row));
        Ok(())
    }

    /// Takes up the node whose instances and checks have all been read.
    fn finish_node(&mut self) -> Result<(), Fault> {
        let Some(LoadingNode { row, instances, checks }) = self.node.take() else { return Ok(()) };
        if self.state.catalog.node(&row.name.folded()).is_some() {
            return Err(Fault::Senseless("a node comes twice"));
        }
        let whole = self.state.catalog.put_whole_node(Arc::new(row), instances, checks);
        whole.map_err(|_| Fault::Senseless("a check without its instance"))
    }
}
