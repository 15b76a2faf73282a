//! The catalog: nodes, the instances on them, and their checks.
//!
//! ```text
//! nodes:    name ─► NodeEntry { row, instances by id, all checks by id, its own checks }
//! services: name ─► ServiceEntry { instances by (node, id), tags with their count }
//! InstanceEntry { node name, row, its checks }        shared by both
//! owners:   address ─► names of nodes
//! ```
//!
//! Names are folded where they are keys; rows keep them as they were written. An instance's entry
//! holds its checks, so reading a service costs one step for each of its instances and one look-up
//! for each node; nothing reads the rest of the catalog.
//!
//! This file holds the tables and how they are read; they know no indexes, no changes and no
//! sessions. They are kept consistent in `tables`; the verbs that clients wish for are in
//! `nodes`, `instances`, `checks` and `register`.

mod checks;
mod instances;
mod nodes;
mod owners;
mod register;
mod tables;

pub(crate) use instances::deny_instance;
pub(crate) use owners::Owners;

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
    owners: Owners,
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

    /// The way back from addresses.
    pub(crate) fn owners(&self) -> &Owners {
        &self.owners
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
