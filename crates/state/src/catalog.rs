//! The catalog: nodes, the instances on them, and their checks.
//!
//! ```text
//! nodes:    name ─► NodeEntry { row, instances by id, all checks by id, its own checks }
//! services: name ─► ServiceEntry { instances by (node, id), tags with their count }
//! InstanceEntry { node name, row, its checks }        shared by both
//! ```
//!
//! Names are folded where they are keys; rows keep them as they were written. An instance's entry
//! holds its checks, so reading a service costs one step for each of its instances and one look-up
//! for each node; nothing reads the rest of the catalog.
//!
//! This file holds the tables and keeps them consistent with each other; it knows no indexes, no
//! changes and no sessions. The verbs that do are in `nodes`, `instances`, `checks` and `register`.

mod checks;
mod instances;
mod nodes;
mod register;

pub(crate) use instances::deny_nameless;

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::Arc;

use foldhash::fast::FixedState;
use imbl::{OrdMap, OrdSet};
use muster_model::answer::Row;
use muster_model::{Check, Instance, Node, Text};
use smallvec::SmallVec;

/// The service under which the registry's own servers are registered.
const OWN_SERVICE: &str = "consul";

/// A table that is asked for one name at a time: a hash leads there with fewer steps than an order.
/// The seed is fixed and the order of a hash decides nothing: whoever lists names sorts them.
type ByName<V> = imbl::GenericHashMap<Text, V, FixedState, imbl::shared_ptr::DefaultSharedPtr>;

/// Checks about one node or instance, in the order of their ids; nearly always one or two.
pub(crate) type CheckList = SmallVec<[Row<Check>; 2]>;

/// All nodes, instances and checks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    nodes: ByName<Arc<NodeEntry>>,
    /// The folded name of the node that has an id, by the folded id.
    node_ids: OrdMap<Text, Text>,
    services: ByName<Arc<ServiceEntry>>,
    counts: Counts,
}

/// A node with everything on it.
#[derive(Clone, Debug)]
pub(crate) struct NodeEntry {
    pub(crate) row: Row<Node>,
    instances: OrdSet<ById>,
    checks: OrdSet<CheckById>,
    /// Those of `checks` that are about the node itself, by id.
    pub(crate) own_checks: CheckList,
}

/// A service: there as long as it has an instance.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceEntry {
    instances: OrdSet<ByPlace>,
    /// How many instances carry each tag.
    tags: OrdMap<Text, u32>,
}

/// An instance with the checks about it, by id.
#[derive(Clone, Debug)]
pub(crate) struct InstanceEntry {
    /// The folded name of its node.
    pub(crate) node: Text,
    pub(crate) row: Row<Instance>,
    pub(crate) checks: CheckList,
}

/// Numbers over the catalog.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) n_instances: u64,
    pub(crate) n_checks: u64,
    /// Instances by kind of proxy or gateway.
    pub(crate) by_kind: OrdMap<Text, u64>,
    pub(crate) n_billable: u64,
    pub(crate) n_connect_native: u64,
}

// ---------------------------------------------------------------------------------------------
// Reading
// ---------------------------------------------------------------------------------------------

impl Catalog {
    /// The node with this folded name.
    pub(crate) fn node(&self, name: &Text) -> Option<&Arc<NodeEntry>> {
        self.nodes.get(name)
    }

    /// All nodes in the order of their folded names.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Arc<NodeEntry>> {
        in_order(&self.nodes)
    }

    /// The folded name of the node with this folded id.
    pub(crate) fn node_of_id(&self, id: &str) -> Option<&Text> {
        self.node_ids.get(id)
    }

    /// The folded names of the nodes whose id starts so.
    pub(crate) fn nodes_of_id_prefix<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = &'a Text> {
        let from = (std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded);
        self.node_ids
            .range::<_, str>(from)
            .take_while(move |(id, _)| id.starts_with(prefix))
            .map(|(_, name)| name)
    }

    /// The service with this folded name.
    pub(crate) fn service(&self, name: &Text) -> Option<&Arc<ServiceEntry>> {
        self.services.get(name)
    }

    /// All services in the order of their folded names.
    pub(crate) fn services(&self) -> impl Iterator<Item = &Arc<ServiceEntry>> {
        in_order(&self.services)
    }

    pub(crate) fn n_nodes(&self) -> u64 {
        self.nodes.len() as u64
    }

    pub(crate) fn n_services(&self) -> u64 {
        self.services.len() as u64
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl NodeEntry {
    fn new(row: Row<Node>) -> NodeEntry {
        NodeEntry {
            row,
            instances: OrdSet::new(),
            checks: OrdSet::new(),
            own_checks: CheckList::new(),
        }
    }

    pub(crate) fn instance(&self, id: &str) -> Option<&Arc<InstanceEntry>> {
        self.instances.get(id).map(|found| &found.0)
    }

    /// Its instances by id.
    pub(crate) fn instances(&self) -> impl Iterator<Item = &Arc<InstanceEntry>> {
        self.instances.iter().map(|own| &own.0)
    }

    pub(crate) fn check(&self, id: &str) -> Option<&Row<Check>> {
        self.checks.get(id).map(|found| &found.0)
    }

    /// All checks on it by id: its own and those of its instances.
    pub(crate) fn checks(&self) -> impl Iterator<Item = &Row<Check>> {
        self.checks.iter().map(|own| &own.0)
    }

    /// The folded names of the services on it, each once.
    pub(crate) fn services(&self) -> Vec<Text> {
        let mut names: Vec<Text> =
            self.instances().map(|entry| entry.row.service.folded()).collect();
        names.sort();
        names.dedup();
        names
    }
}

impl ServiceEntry {
    /// Its instances in the order of their nodes' folded names and their ids.
    pub(crate) fn instances(&self) -> impl Iterator<Item = &Arc<InstanceEntry>> {
        self.instances.iter().map(|own| &own.0)
    }

    pub(crate) fn n_instances(&self) -> usize {
        self.instances.len()
    }

    /// Its name as its first instance writes it.
    pub(crate) fn name(&self) -> &Text {
        let first = self.instances.get_min().expect("a service without instances is not kept");
        &first.0.row.service
    }

    /// The tags of its instances, ascending, each once.
    pub(crate) fn tags(&self) -> impl Iterator<Item = &Text> {
        self.tags.keys()
    }

    /// Counts the tags of an instance in or out; tells whether the set of tags is another now.
    fn count_tags(&mut self, old: &[Text], new: &[Text]) -> bool {
        let n_before = self.tags.len();
        for tag in new {
            match self.tags.get_mut(tag) {
                Some(count) => *count += 1,
                None => drop(self.tags.insert(tag.clone(), 1)),
            }
        }
        let n_added = self.tags.len() - n_before;
        let n_with_both = self.tags.len();
        for tag in old {
            let count = self.tags.get_mut(tag).expect("a tag of an instance is counted");
            *count -= 1;
            if *count == 0 {
                self.tags.remove(tag);
            }
        }
        n_added > 0 || self.tags.len() < n_with_both
    }
}

// ---------------------------------------------------------------------------------------------
// Writing: each verb leaves all tables consistent
// ---------------------------------------------------------------------------------------------

impl Catalog {
    /// Puts a node's row in its place, keeping what is on it.
    pub(crate) fn put_node(&mut self, name: &Text, row: Row<Node>) {
        if !row.id.is_empty() {
            self.node_ids.insert(row.id.folded(), name.clone());
        }
        let Some(entry) = self.nodes.get_mut(name) else {
            self.nodes.insert(name.clone(), Arc::new(NodeEntry::new(row)));
            return;
        };
        let old = std::mem::replace(&mut Arc::make_mut(entry).row, row.clone());
        if !old.id.is_empty() && old.id.folded() != row.id.folded() {
            self.node_ids.remove(&old.id.folded());
        }
    }

    /// Puts a node that is not there yet in its place, with everything on it: how a saved state
    /// comes back. Both lists are in the order of their ids.
    ///
    /// # Errors
    /// Gives the first check whose instance is not in the list.
    pub(crate) fn put_whole_node(
        &mut self,
        row: Row<Node>,
        instances: Vec<Row<Instance>>,
        checks: Vec<Row<Check>>,
    ) -> Result<(), Row<Check>> {
        let name = row.name.folded();
        let mut node = NodeEntry::new(row.clone());
        let new_entry = |row| InstanceEntry { node: name.clone(), row, checks: CheckList::new() };
        let mut entries: Vec<InstanceEntry> = instances.into_iter().map(new_entry).collect();
        for check in checks {
            self.counts.n_checks += 1;
            node.checks.insert(CheckById(check.clone()));
            if check.is_about_node() {
                node.own_checks.push(check);
                continue;
            }
            let at = entries.binary_search_by(|own| own.row.id.cmp(&check.instance_id));
            let Ok(at) = at else { return Err(check) };
            entries[at].checks.push(check);
        }
        for entry in entries.into_iter().map(Arc::new) {
            self.counts.swap(None, Some(&entry.row));
            node.instances.insert(ById(entry.clone()));
            let service = self.services.entry(entry.row.service.folded()).or_default();
            let service = Arc::make_mut(service);
            service.count_tags(&[], &entry.row.tags);
            service.instances.insert(ByPlace(entry));
        }
        self.put_node(&name, row);
        *self.entry_mut(&name) = node;
        Ok(())
    }

    /// Removes a node. It must carry nothing any more.
    pub(crate) fn remove_node(&mut self, name: &Text) {
        let Some(entry) = self.nodes.remove(name) else { return };
        assert!(entry.instances.is_empty() && entry.checks.is_empty(), "a removed node is bare");
        let id = entry.row.id.folded();
        if self.node_ids.get(&id).is_some_and(|owner| owner == name) {
            self.node_ids.remove(&id);
        }
    }

    /// Puts an instance's row in its place on a node that is there, keeping its checks; tells
    /// whether the list of services with their tags is another now.
    pub(crate) fn put_instance(&mut self, node: &Text, row: Row<Instance>) -> bool {
        let entry = self.entry_mut(node);
        let old = entry.instance(&row.id).cloned();
        let checks = old.as_ref().map(|old| old.checks.clone()).unwrap_or_default();
        let (key, _) = self.nodes.get_key_value(node).expect("the node was just there");
        let new = Arc::new(InstanceEntry { node: key.clone(), row, checks });
        self.swap_instance(node, old.as_ref(), Some(&new))
    }

    /// Removes an instance that no check is about any more; tells likewise.
    pub(crate) fn remove_instance(&mut self, node: &Text, id: &str) -> bool {
        let old = self.entry_mut(node).instance(id).cloned();
        assert!(old.as_ref().is_none_or(|old| old.checks.is_empty()), "a removed instance is bare");
        self.swap_instance(node, old.as_ref(), None)
    }

    /// Puts a check's row in its place on a node that is there. The instance it is about, if any,
    /// must be there.
    pub(crate) fn put_check(&mut self, node: &Text, row: Row<Check>) {
        let old = self.entry_mut(node).checks.insert(CheckById(row.clone()));
        match &old {
            Some(old) if old.0.instance_id != row.instance_id => self.detach_check(node, &old.0),
            Some(_) => {}
            None => self.counts.n_checks += 1,
        }
        self.with_checks_of(node, &row.instance_id, |checks| put_by_id(checks, row.clone()));
    }

    /// Removes a check.
    pub(crate) fn remove_check(&mut self, node: &Text, id: &str) {
        if let Some(old) = self.entry_mut(node).checks.remove(id) {
            self.counts.n_checks -= 1;
            self.detach_check(node, &old.0);
        }
    }

    fn entry_mut(&mut self, node: &Text) -> &mut NodeEntry {
        Arc::make_mut(self.nodes.get_mut(node).expect("the caller has seen that the node is there"))
    }

    fn detach_check(&mut self, node: &Text, row: &Check) {
        let id = &row.id;
        self.with_checks_of(node, &row.instance_id, |checks| checks.retain(|own| own.id != *id));
    }

    /// Alters the list of checks about a node itself (`instance_id` empty) or one of its instances.
    fn with_checks_of(
        &mut self,
        node: &Text,
        instance_id: &str,
        alter: impl FnOnce(&mut CheckList),
    ) {
        let entry = self.entry_mut(node);
        if instance_id.is_empty() {
            alter(&mut entry.own_checks);
            return;
        }
        let old = entry.instance(instance_id).expect("a check's instance is there").clone();
        let mut new = InstanceEntry::clone(&old);
        alter(&mut new.checks);
        self.swap_instance(node, Some(&old), Some(&Arc::new(new)));
    }

    /// Replaces an instance's entry in every table that holds it.
    fn swap_instance(
        &mut self,
        node: &Text,
        old: Option<&Arc<InstanceEntry>>,
        new: Option<&Arc<InstanceEntry>>,
    ) -> bool {
        self.counts.swap(old.map(|old| &**old.row), new.map(|new| &**new.row));
        let entry = self.entry_mut(node);
        match (old, new) {
            (_, Some(new)) => drop(entry.instances.insert(ById(new.clone()))),
            (Some(old), None) => drop(entry.instances.remove(old.row.id.as_str())),
            (None, None) => {}
        }
        let old_name = old.map(|old| old.row.service.folded());
        let new_name = new.map(|new| new.row.service.folded());
        if old_name == new_name {
            return new_name.is_some_and(|name| self.swap_in_service(&name, old, new));
        }
        let left = old_name.is_some_and(|name| self.swap_in_service(&name, old, None));
        let entered = new_name.is_some_and(|name| self.swap_in_service(&name, None, new));
        left || entered
    }

    /// Replaces an instance in its service; tells whether the service's name or tags are others.
    fn swap_in_service(
        &mut self,
        name: &Text,
        old: Option<&Arc<InstanceEntry>>,
        new: Option<&Arc<InstanceEntry>>,
    ) -> bool {
        let service = Arc::make_mut(self.services.entry(name.clone()).or_default());
        let name_before = service.instances.get_min().map(|first| first.0.row.service.clone());
        match (old, new) {
            (_, Some(new)) => drop(service.instances.insert(ByPlace(new.clone()))),
            (Some(old), None) => drop(service.instances.remove(&ByPlace(old.clone()))),
            (None, None) => {}
        }
        let old_tags = old.map_or(&[][..], |old| &old.row.tags);
        let new_tags = new.map_or(&[][..], |new| &new.row.tags);
        let tags_changed = old_tags != new_tags && service.count_tags(old_tags, new_tags);
        if service.instances.is_empty() {
            self.services.remove(name);
            return true;
        }
        tags_changed || name_before.as_ref() != Some(service.name())
    }
}

impl Counts {
    fn swap(&mut self, old: Option<&Instance>, new: Option<&Instance>) {
        if let Some(new) = new {
            self.n_instances += 1;
            self.n_billable += u64::from(is_billable(new));
            self.n_connect_native += u64::from(is_connect_native(new));
            if !new.extras().kind.is_empty() {
                *self.by_kind.entry(new.extras().kind.clone()).or_insert(0) += 1;
            }
        }
        let Some(old) = old else { return };
        self.n_instances -= 1;
        self.n_billable -= u64::from(is_billable(old));
        self.n_connect_native -= u64::from(is_connect_native(old));
        let kind = &old.extras().kind;
        if let Some(count) = self.by_kind.get_mut(kind) {
            *count -= 1;
            if *count == 0 {
                self.by_kind.remove(kind);
            }
        }
    }
}

/// Whether two instances count the same in every number.
pub(crate) fn is_counted_alike(a: &Instance, b: &Instance) -> bool {
    a.service.folded() == b.service.folded()
        && a.extras().kind == b.extras().kind
        && is_connect_native(a) == is_connect_native(b)
}

/// Whether a bill would count it: an ordinary instance outside the registry's own service.
fn is_billable(instance: &Instance) -> bool {
    instance.extras().kind.is_empty() && *instance.service.folded() != *OWN_SERVICE
}

/// Whether it is an ordinary instance that brings settings of the mesh: it needs no proxy.
pub(crate) fn is_connect_native(instance: &Instance) -> bool {
    instance.extras().kind.is_empty() && !instance.extras().connect.is_empty()
}

/// All of a table, in the order of the names.
fn in_order<V>(table: &ByName<V>) -> impl Iterator<Item = &V> {
    let mut rows: Vec<(&Text, &V)> = table.iter().collect();
    rows.sort_unstable_by_key(|(name, _)| *name);
    rows.into_iter().map(|(_, row)| row)
}

/// Puts a check in its place in a list ordered by ids.
fn put_by_id(checks: &mut CheckList, row: Row<Check>) {
    match checks.binary_search_by(|own| own.id.cmp(&row.id)) {
        Ok(at) => checks[at] = row,
        Err(at) => checks.insert(at, row),
    }
}

// ---------------------------------------------------------------------------------------------
// Orders
// ---------------------------------------------------------------------------------------------

/// An instance in the order of ids on one node.
#[derive(Clone, Debug)]
struct ById(Arc<InstanceEntry>);

/// An instance in the order of node names and ids.
#[derive(Clone, Debug)]
struct ByPlace(Arc<InstanceEntry>);

/// A check in the order of ids on one node.
#[derive(Clone, Debug)]
struct CheckById(Row<Check>);

impl ById {
    fn key(&self) -> &str {
        &self.0.row.id
    }
}

impl CheckById {
    fn key(&self) -> &str {
        &self.0.id
    }
}

impl ByPlace {
    fn key(&self) -> Place<'_> {
        Place { node: &self.0.node, id: &self.0.row.id }
    }
}

/// Where an instance stands in its service.
#[derive(PartialEq, Eq)]
struct Place<'a> {
    node: &'a Text,
    id: &'a Text,
}

impl PartialOrd for Place<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place<'_> {
    /// Instances on one node share its name, so that most comparisons need not read it.
    fn cmp(&self, other: &Place<'_>) -> Ordering {
        let by_node =
            if self.node.is_same(other.node) { Ordering::Equal } else { self.node.cmp(other.node) };
        by_node.then_with(|| self.id.cmp(other.id))
    }
}

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        self.key()
    }
}

impl Borrow<str> for CheckById {
    fn borrow(&self) -> &str {
        self.key()
    }
}

macro_rules! ordered_by_key {
    ($($name:ty),*) => {$(
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.key() == other.key()
            }
        }

        impl Eq for $name {}

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                self.key().cmp(&other.key())
            }
        }
    )*};
}

ordered_by_key!(ById, ByPlace, CheckById);
