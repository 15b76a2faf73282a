//! The state as a whole, and how a command finds the noun that knows it.

use muster_model::command::{PutTerms, Target};
use muster_model::outcome::Denial;
use muster_model::scope::{Change, ChangeKind, Object};
use muster_model::{Command, Index, Outcome, Scope, Text};

use crate::catalog::Catalog;
use crate::indexes::Indexes;
use crate::interner::Interner;
use crate::kept::Kept;
use crate::kv::Pairs;
use crate::places::Places;
use crate::prepared::Questions;
use crate::sessions::Sessions;

/// Everything that is replicated. A clone is cheap and never changes.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub(crate) index: Index,
    /// No index that the state shows is below this one: it once took the place of another state.
    pub(crate) replaced_at: Index,
    pub(crate) indexes: Indexes,
    pub(crate) catalog: Catalog,
    pub(crate) pairs: Pairs,
    pub(crate) sessions: Sessions,
    pub(crate) questions: Questions,
    pub(crate) places: Places,
    pub(crate) kept: Kept,
    pub(crate) interner: Interner,
}

impl State {
    /// The index of the last command that was applied.
    pub fn index(&self) -> Index {
        self.index
    }

    /// Lets a loaded state take the place of another at `index`: no index that it shows falls behind
    /// what the other one showed, so every watch wakes and none waits for an index that is gone.
    pub fn take_place_at(&mut self, index: Index) {
        self.index = self.index.max(index);
        self.replaced_at = index;
    }

    /// Takes a command into the state. The outcome and the changes are the same wherever the same
    /// commands were applied before it. `index` must be above [`State::index`].
    pub fn apply(&mut self, index: Index, command: &Command) -> (Outcome, Vec<Change>) {
        let mut changes = Vec::new();
        let outcome = self.apply_into(index, command, &mut changes);
        (outcome, changes)
    }

    /// As [`State::apply`], adding the changes to those of commands before it.
    pub fn apply_into(
        &mut self,
        index: Index,
        command: &Command,
        changes: &mut Vec<Change>,
    ) -> Outcome {
        debug_assert!(index > self.index, "the log moves forward");
        self.index = index;
        Writing { state: self, index, changes }.apply(command)
    }

    /// The last index that touched a scope.
    pub fn index_of(&self, scope: &Scope) -> Index {
        let touched = match scope {
            Scope::Pair(key) => self.pairs.index_of(key),
            Scope::PairsUnder(prefix) => self.pairs.index_under(prefix),
            _ => self.indexes.of(scope),
        };
        touched.max(self.replaced_at)
    }
}

/// A command on its way into the state. The verbs of each noun are in the noun's file.
pub(crate) struct Writing<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) index: Index,
    pub(crate) changes: &'a mut Vec<Change>,
}

impl Writing<'_> {
    fn apply(&mut self, command: &Command) -> Outcome {
        if let Command::Batch { commands } = command {
            return Outcome::Batch(commands.iter().map(|each| self.apply_one(each)).collect());
        }
        self.apply_one(command)
    }

    /// Every refusal comes before the first write, so a denied command leaves nothing behind.
    fn apply_one(&mut self, command: &Command) -> Outcome {
        let result = match command {
            Command::Register(registration) => self.register(registration),
            Command::Deregister { node, target } => self.deregister(&node.folded(), target),
            Command::UpdateCheck { node, id, status, output } => {
                self.update_check(node, id, *status, output)
            }
            Command::PutPair { key, value, flags, terms } => {
                self.put_pair(key, value, *flags, terms)
            }
            Command::DeletePair { key, if_index } => Ok(self.delete_pair_if(key, *if_index)),
            Command::DeletePairsUnder { prefix } => {
                self.delete_pairs_under(prefix);
                Ok(Outcome::Done)
            }
            Command::Transact { operations } => self.transact(operations),
            Command::CreateSession(session) => self.create_session(session),
            Command::EndSession { id, why } => {
                self.end_session(id, (*why).into());
                Ok(Outcome::Done)
            }
            Command::EndLockDelays { keys } => {
                self.state.pairs.end_lock_delays(keys);
                Ok(Outcome::Done)
            }
            Command::ReapTombstones { up_to } => {
                self.state.pairs.reap_tombstones(*up_to);
                Ok(Outcome::Done)
            }
            Command::PutPreparedQuery { query, must_exist } => {
                self.put_prepared_query(query, *must_exist)
            }
            Command::DeletePreparedQuery { id } => self.delete_prepared_query(id),
            Command::PutRoot(root) => self.put_root(root),
            Command::PutCoordinates { coordinates } => {
                self.put_coordinates(coordinates);
                Ok(Outcome::Done)
            }
            Command::PutSetting { setting, if_index } => Ok(self.put_setting(setting, *if_index)),
            Command::DeleteSetting { kind, name, if_index } => {
                Ok(self.delete_setting(kind, name, *if_index))
            }
            Command::ExpireInstance { node, id, if_index } => {
                Ok(self.expire_instance(&node.folded(), id, *if_index))
            }
            Command::Batch { .. } => Err(Denial::Invalid("a batch holds no batch".into())),
        };
        result.unwrap_or_else(Outcome::Denied)
    }

    /// Removes an instance whose lease ran out, unless it was registered again meanwhile.
    fn expire_instance(&mut self, node: &Text, id: &Text, if_index: Index) -> Outcome {
        let entry = self.state.catalog.node(node).and_then(|entry| entry.instance(id));
        match entry.map(|entry| entry.row.modify_index) {
            Some(index) if index != if_index => Outcome::Unmet,
            _ => {
                self.remove_instance(node, id);
                Outcome::Done
            }
        }
    }

    fn deregister(&mut self, node: &Text, target: &Target) -> Result<Outcome, Denial> {
        match target {
            Target::Node => self.remove_node(node),
            Target::Instance(id) => self.remove_instance(node, id),
            Target::Check(id) => self.remove_check(node, id),
        }
        Ok(Outcome::Done)
    }

    fn put_pair(
        &mut self,
        key: &Text,
        value: &muster_model::pair::Blob,
        flags: u64,
        terms: &PutTerms,
    ) -> Result<Outcome, Denial> {
        self.put_pair_on_terms(key, value, flags, terms).map(|met| match met {
            Ok(()) => Outcome::Done,
            Err(_) => Outcome::Unmet,
        })
    }

    /// Names a change, and moves every scope it touches.
    pub(crate) fn record(&mut self, object: Object, kind: ChangeKind, scopes: Vec<Scope>) {
        for scope in &scopes {
            self.state.indexes.touch(scope, self.index);
        }
        self.changes.push(Change { scopes, object, kind });
    }

    /// Forgets the scope of an object that vanished.
    pub(crate) fn vanish(&mut self, scope: &Scope) {
        self.state.indexes.vanish(scope, self.index);
    }
}
