//! Writing and removing nodes, and the rules of their names and ids.
//!
//! A node is found by its name; its id, if it has one, keeps the name from being taken over. The
//! rules are Consul's:
//! - an id that is known under another name *renames*: the old node goes with all it carries, its
//!   agent declares everything anew;
//! - a name whose holder has another id is refused, unless the holder is gone: its agent's check is
//!   critical, or it never had one;
//! - a holder without an id is taken over in place by a node that brings one, but not by a rename;
//! - a node that comes without an id keeps the one it has.
//!
//! Two rules are ours. What an agent vouches for is not altered by others, so a registration from
//! elsewhere leaves such a node as it is. And a node of [`Origin::Lease`] is there for its instances:
//! it is written only where no other node has its name, and goes with the last instance.

use std::sync::Arc;

use muster_model::check::AGENT_CHECK_ID;
use muster_model::node::Origin;
use muster_model::outcome::Denial;
use muster_model::scope::{ChangeKind, Object};
use muster_model::{Index, Indexed, Node, Scope, Status, Text};

use super::NodeEntry;
use crate::state::{State, Writing};

/// What a registration does to the catalog's nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NodeFate {
    /// The node is there and stays as it is.
    Stays,
    /// The row is written where the name is.
    Written,
    /// The node with this folded name goes first; the new one inherits its create index.
    Renamed(Text),
}

impl State {
    /// What writing `node` would do.
    ///
    /// # Errors
    /// Where its name is missing or taken.
    pub(crate) fn node_fate(&self, node: &Node) -> Result<NodeFate, Denial> {
        if node.name.is_empty() {
            return Err(Denial::Invalid("a node needs a name".into()));
        }
        let name = node.name.folded();
        let namesake = self.catalog.node(&name);
        if namesake.is_some_and(|entry| stays_before(entry.row.origin, node.origin)) {
            return Ok(NodeFate::Stays);
        }
        if node.id.is_empty() {
            return Ok(NodeFate::Written);
        }
        match self.catalog.node_of_id(&node.id.folded()) {
            Some(holder) if *holder == name => Ok(NodeFate::Written),
            Some(holder) => {
                deny_taken_name(namesake, node, false)?;
                Ok(NodeFate::Renamed(holder.clone()))
            }
            None => {
                deny_taken_name(namesake, node, true)?;
                Ok(NodeFate::Written)
            }
        }
    }
}

/// Whether a node that is there stays as it is when one of another origin is registered.
fn stays_before(own: Origin, other: Origin) -> bool {
    match own {
        Origin::Agent => other != Origin::Agent,
        Origin::Catalog => other == Origin::Lease,
        Origin::Lease => false,
    }
}

/// Refuses a name that a living node with another id holds.
fn deny_taken_name(
    namesake: Option<&Arc<NodeEntry>>,
    node: &Node,
    may_take_over_nameless: bool,
) -> Result<(), Denial> {
    let Some(holder) = namesake else { return Ok(()) };
    let is_alive =
        holder.check(AGENT_CHECK_ID).is_some_and(|check| check.status != Status::Critical);
    let may_give_way = holder.row.id.is_empty() && may_take_over_nameless;
    if holder.row.id.folded() == node.id.folded() || !is_alive || may_give_way {
        return Ok(());
    }
    Err(Denial::NodeNameTaken(node.name.clone(), holder.row.id.clone()))
}

impl Writing<'_> {
    /// Writes a node as its fate says.
    pub(crate) fn put_node(&mut self, node: &Node, fate: NodeFate) {
        let inherited = match fate {
            NodeFate::Stays => return,
            NodeFate::Written => None,
            NodeFate::Renamed(old) => {
                let create_index = self.state.catalog.node(&old).map(|old| old.row.create_index);
                self.remove_node(&old);
                create_index
            }
        };
        self.write_node(node, inherited);
    }

    fn write_node(&mut self, node: &Node, inherited: Option<Index>) {
        let name = node.name.folded();
        let old = self.state.catalog.node(&name).map(|entry| entry.row.clone());
        let mut new = node.clone();
        if let Some(old) = &old
            && new.id.is_empty()
        {
            new.id = old.id.clone();
        }
        if old.as_ref().is_some_and(|old| old.value == new) {
            return;
        }
        self.state.interner.share_node(&mut new);
        let kind = if old.is_some() { ChangeKind::Changed } else { ChangeKind::Created };
        let create_index = inherited.or(old.map(|old| old.create_index)).unwrap_or(self.index);
        let row = Indexed { value: new, create_index, modify_index: self.index };
        self.state.catalog.put_node(&name, Arc::new(row));
        let mut scopes = vec![Scope::Nodes, Scope::Node(name.clone())];
        if kind == ChangeKind::Created {
            scopes.push(Scope::Usage);
        } else {
            self.add_scopes_on(&name, &mut scopes);
        }
        self.record(Object::Node(node.name.clone()), kind, scopes);
    }

    /// Removes a node with all it carries. One that is not there is no refusal.
    pub(crate) fn remove_node(&mut self, name: &Text) {
        let Some(entry) = self.state.catalog.node(name).cloned() else { return };
        self.end_sessions_of(name);
        for instance in entry.instances() {
            self.take_instance(name, &instance.row.id);
        }
        for check in &entry.own_checks {
            self.remove_check(name, &check.id);
        }
        self.remove_coordinates_of(name);
        self.state.catalog.remove_node(name);
        let scopes = vec![Scope::Nodes, Scope::Node(name.clone()), Scope::Usage];
        self.record(Object::Node(entry.row.name.clone()), ChangeKind::Removed, scopes);
        self.vanish(&Scope::Node(name.clone()));
    }

    /// The scopes of everything on a node that shows the node: its services and its checks.
    fn add_scopes_on(&self, name: &Text, scopes: &mut Vec<Scope>) {
        let Some(entry) = self.state.catalog.node(name) else { return };
        let services = entry.services();
        if !services.is_empty() {
            scopes.push(Scope::Instances);
        }
        scopes.extend(services.into_iter().map(Scope::Service));
        for status in Status::ALL {
            if entry.checks().any(|check| check.status == status) {
                scopes.push(Scope::Checks(status));
            }
        }
    }
}
