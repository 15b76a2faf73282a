//! Transactions: steps that stand or fall together.
//!
//! Steps are taken in order, each seeing what those before it did. A step that fails does not stop
//! the others from being tried, because a client wants to hear of every obstacle at once; but then
//! the state goes back to what it was, which costs nothing: the version before is still there.

use muster_model::command::{ObjectVerb, Operation, PairOperation, PairVerb};
use muster_model::outcome::{Denial, Outcome, StepResult};
use muster_model::pair::Blob;
use muster_model::{Check, Index, Indexed, Instance, Node, Pair, Text, limits};

use crate::catalog::deny_instance;
use crate::state::{State, Writing};

/// What a step gives back, or why it failed.
type Step = Result<Vec<StepResult>, Denial>;

/// Denials with the position of the step they stand for.
type Obstacles = Vec<(u32, Denial)>;

impl State {
    /// Takes steps that only look. Any other step is an obstacle.
    ///
    /// # Errors
    /// All steps that failed.
    pub(crate) fn look<'a>(
        &self,
        operations: impl Iterator<Item = &'a Operation>,
    ) -> Result<Vec<StepResult>, Obstacles> {
        gather(operations.map(|operation| self.look_step(operation)))
    }

    fn look_step(&self, operation: &Operation) -> Step {
        match operation {
            Operation::Pair(step) => self.look_at_pairs(step),
            Operation::Node { verb: ObjectVerb::Get, node } => self.node_step(&node.name),
            Operation::Instance { verb: ObjectVerb::Get, node, instance } => {
                self.instance_step(node, &instance.id)
            }
            Operation::Check { verb: ObjectVerb::Get, node, check } => {
                self.check_step(node, &check.id)
            }
            _ => Err(Denial::Invalid("a step that writes is no question".into())),
        }
    }

    fn look_at_pairs(&self, step: &PairOperation) -> Step {
        let key = &step.key;
        let row = self.pairs.find(key);
        let known = row.ok_or_else(|| Denial::UnknownPair(key.clone()));
        match &step.verb {
            PairVerb::Get => Ok(vec![StepResult::Pair(known?.as_ref().clone())]),
            PairVerb::GetOrEmpty => {
                let empty = || Indexed {
                    value: Pair { key: key.clone(), ..Pair::default() },
                    create_index: 0,
                    modify_index: 0,
                };
                Ok(vec![StepResult::Pair(row.map_or_else(empty, |row| row.as_ref().clone()))])
            }
            PairVerb::GetUnder => {
                let pairs = self.pairs.under(key);
                Ok(pairs.map(|row| StepResult::Pair(row.as_ref().clone())).collect())
            }
            PairVerb::RequireSession(session) => {
                let row = known?;
                if row.session != *session {
                    return Err(Denial::LockHeld(key.clone(), row.session.clone()));
                }
                Ok(vec![without_value(row)])
            }
            PairVerb::RequireIndex(index) => {
                let row = known?;
                require_index(key, row.modify_index, *index)?;
                Ok(vec![without_value(row)])
            }
            PairVerb::RequireAbsent if row.is_some() => Err(Denial::PairExists(key.clone())),
            PairVerb::RequireAbsent => Ok(Vec::new()),
            _ => Err(Denial::Invalid("a step that writes is no question".into())),
        }
    }

    fn node_step(&self, name: &Text) -> Step {
        let entry = self.catalog.node(&name.folded());
        let entry = entry.ok_or_else(|| Denial::UnknownNode(name.clone()))?;
        Ok(vec![StepResult::Node(entry.row.as_ref().clone())])
    }

    fn instance_step(&self, node: &Text, id: &Text) -> Step {
        let entry = self.catalog.node(&node.folded()).and_then(|entry| entry.instance(id));
        let entry = entry.ok_or_else(|| Denial::UnknownInstance(node.clone(), id.clone()))?;
        Ok(vec![StepResult::Instance(entry.row.as_ref().clone())])
    }

    fn check_step(&self, node: &Text, id: &Text) -> Step {
        let entry = self.catalog.node(&node.folded());
        let unknown = || Denial::UnknownCheck(node.clone(), id.clone());
        let check = entry.and_then(|entry| entry.check(id)).ok_or_else(unknown)?;
        let instance = entry.and_then(|entry| entry.instance(&check.instance_id));
        Ok(vec![StepResult::Check {
            node: entry.map(|entry| entry.row.name.clone()).unwrap_or_default(),
            service: instance.map(|own| own.row.service.clone()).unwrap_or_default(),
            tags: instance.map(|own| own.row.tags.to_vec()).unwrap_or_default(),
            check: check.as_ref().clone(),
        }])
    }
}

impl Writing<'_> {
    /// Takes all steps, or none.
    ///
    /// # Errors
    /// Where there are too many of them.
    pub(crate) fn transact(&mut self, operations: &[Operation]) -> Result<Outcome, Denial> {
        if operations.len() > limits::OPERATIONS_MAX {
            let text = format!("a transaction has at most {} steps", limits::OPERATIONS_MAX);
            return Err(Denial::Invalid(text.into()));
        }
        let before = self.state.clone();
        let n_changes = self.changes.len();
        match gather(operations.iter().map(|operation| self.step(operation))) {
            Ok(results) => Ok(Outcome::Transacted(results)),
            Err(obstacles) => {
                *self.state = before;
                self.changes.truncate(n_changes);
                Ok(Outcome::RolledBack(obstacles))
            }
        }
    }

    fn step(&mut self, operation: &Operation) -> Step {
        if operation.is_read() {
            return self.state.look_step(operation);
        }
        match operation {
            Operation::Pair(step) => self.pair_step(step),
            Operation::Node { verb, node } => self.write_node_step(*verb, node),
            Operation::Instance { verb, node, instance } => {
                self.write_instance_step(*verb, node, instance)
            }
            Operation::Check { verb, node, check } => self.write_check_step(*verb, node, check),
        }
    }

    fn pair_step(&mut self, step: &PairOperation) -> Step {
        let key = &step.key;
        match &step.verb {
            PairVerb::Put(terms) => {
                self.put_pair_on_terms(key, &step.value, step.flags, terms)??;
                let row = self.state.pairs.find(key).expect("the pair was just written");
                return Ok(vec![without_value(row)]);
            }
            PairVerb::Delete => self.delete_pair(key),
            PairVerb::DeleteIfIndex(index) => {
                if self.delete_pair_if(key, Some(*index)) != Outcome::Done {
                    let own = self.state.pairs.index_of(key);
                    return Err(Denial::IndexIsAnother(key.clone(), own));
                }
            }
            PairVerb::DeleteUnder => self.delete_pairs_under(key),
            _ => return self.state.look_at_pairs(step),
        }
        Ok(Vec::new())
    }

    fn write_node_step(&mut self, verb: ObjectVerb, node: &Node) -> Step {
        let name = node.name.folded();
        let own_index = self.state.catalog.node(&name).map(|entry| entry.row.modify_index);
        if meets_index(verb, &node.name, own_index)? == Write::Delete {
            self.remove_node(&name);
            return Ok(Vec::new());
        }
        let fate = self.state.node_fate(node)?;
        self.put_node(node, fate);
        self.state.node_step(&node.name)
    }

    fn write_instance_step(&mut self, verb: ObjectVerb, node: &Text, instance: &Instance) -> Step {
        let name = node.folded();
        let entry = self.state.catalog.node(&name);
        let old = entry.and_then(|entry| entry.instance(&instance.id)).map(|old| old.row.clone());
        let own_index = old.as_ref().map(|old| old.modify_index);
        let is_known = entry.is_some();
        if meets_index(verb, &instance.id, own_index)? == Write::Delete {
            self.remove_instance(&name, &instance.id);
            return Ok(Vec::new());
        }
        if !is_known {
            return Err(Denial::UnknownNode(node.clone()));
        }
        deny_instance(instance, old.as_ref().map(|old| &old.value))?;
        self.put_instance(&name, instance);
        self.state.instance_step(node, &instance.id)
    }

    fn write_check_step(&mut self, verb: ObjectVerb, node: &Text, check: &Check) -> Step {
        let name = node.folded();
        let entry = self.state.catalog.node(&name);
        let own_index = entry.and_then(|entry| entry.check(&check.id)).map(|own| own.modify_index);
        if meets_index(verb, &check.id, own_index)? == Write::Delete {
            self.remove_check(&name, &check.id);
            return Ok(Vec::new());
        }
        let entry = self.state.catalog.node(&name);
        let entry = entry.ok_or_else(|| Denial::UnknownNode(node.clone()))?;
        if check.id.is_empty() {
            return Err(Denial::Invalid("a check needs an id".into()));
        }
        if !check.is_about_node() && entry.instance(&check.instance_id).is_none() {
            return Err(Denial::UnknownInstance(node.clone(), check.instance_id.clone()));
        }
        self.put_check(&name, check);
        self.state.check_step(node, &check.id)
    }
}

/// What a verb comes to once its terms are met.
#[derive(PartialEq, Eq)]
enum Write {
    Put,
    Delete,
}

/// Holds a verb's index against the object's own.
fn meets_index(verb: ObjectVerb, name: &Text, own: Option<Index>) -> Result<Write, Denial> {
    let own = own.unwrap_or(0);
    match verb {
        ObjectVerb::Put | ObjectVerb::Get => Ok(Write::Put),
        ObjectVerb::Delete => Ok(Write::Delete),
        ObjectVerb::PutIfIndex(index) => require_index(name, own, index).map(|()| Write::Put),
        ObjectVerb::DeleteIfIndex(_) if own == 0 => Err(Denial::IndexIsAnother(name.clone(), 0)),
        ObjectVerb::DeleteIfIndex(index) => require_index(name, own, index).map(|()| Write::Delete),
    }
}

fn require_index(name: &Text, own: Index, wished: Index) -> Result<(), Denial> {
    if own == wished { Ok(()) } else { Err(Denial::IndexIsAnother(name.clone(), own)) }
}

/// The results of all steps, or all that failed.
fn gather(steps: impl Iterator<Item = Step>) -> Result<Vec<StepResult>, Obstacles> {
    let mut results = Vec::new();
    let mut obstacles = Vec::new();
    for (position, step) in steps.enumerate() {
        match step {
            Ok(given) => results.extend(given),
            Err(denial) => obstacles.push((position as u32, denial)),
        }
    }
    if obstacles.is_empty() { Ok(results) } else { Err(obstacles) }
}

fn without_value(row: &Indexed<Pair>) -> StepResult {
    let value = Pair { value: Blob::default(), ..row.value.clone() };
    StepResult::Pair(Indexed { value, ..*row })
}
