//! Answers about nodes and services, and about who has an address.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::answer::{Answer, Body, NodeDetail, Row};
use muster_model::query::NodeFilter;
use muster_model::{Instance, Meta, Node, Scope, Text};

use super::checks::detail;
use super::for_once_if;
use crate::State;
use crate::catalog::NodeEntry;

/// The shortest start of an id by which a node is found.
const ID_PREFIX_MIN: usize = 2;

impl State {
    pub(super) fn answer_nodes(&self, filter: &NodeFilter) -> Answer {
        let rows = self.catalog.nodes().map(|entry| &entry.row);
        let mut rows: Vec<Row<Node>> =
            rows.filter(|row| row.meta.has_all(&filter.meta)).cloned().collect();
        self.sort_near(filter.near.as_ref(), &mut rows, |row| &row.name);
        let answer = self.reply(vec![Scope::Nodes], Body::Nodes(rows));
        for_once_if(filter.near.is_some(), answer)
    }

    /// Found by name, a node depends on itself alone; by the start of an id, any other node may
    /// make the start ambiguous.
    pub(super) fn answer_node(&self, name_or_id: &Text) -> Answer {
        let name = name_or_id.folded();
        let mut scopes = vec![Scope::Node(name.clone())];
        let mut found = self.catalog.node(&name);
        if found.is_none() && looks_like_id(&name) {
            scopes.push(Scope::Nodes);
            if let Some(owner) = self.node_by_id(&name) {
                scopes.push(Scope::Node(owner.clone()));
                found = self.catalog.node(owner);
            }
        }
        self.reply(scopes, Body::Node(found.map(|entry| node_detail(entry))))
    }

    /// The folded name of the node with this folded id, or the only one whose id starts so.
    fn node_by_id<'a>(&'a self, id: &'a str) -> Option<&'a Text> {
        if let Some(owner) = self.catalog.node_of_id(id) {
            return Some(owner);
        }
        let mut owners = self.catalog.nodes_of_id_prefix(id);
        let owner = owners.next()?;
        owners.next().is_none().then_some(owner)
    }

    /// Counting only instances on some nodes, the list depends on every instance.
    pub(super) fn answer_services(&self, node_meta: &Meta) -> Answer {
        if node_meta.is_empty() {
            let services = self.catalog.services();
            let listed = services.map(|own| (own.name().clone(), own.tags().cloned().collect()));
            return self.reply(vec![Scope::Services], Body::Services(listed.collect()));
        }
        let mut tags_by_name: BTreeMap<Text, BTreeSet<Text>> = BTreeMap::new();
        for entry in self.catalog.nodes() {
            if entry.row.meta.has_all(node_meta) {
                for instance in entry.instances() {
                    let tags = tags_by_name.entry(self.listed_name(&instance.row)).or_default();
                    tags.extend(instance.row.tags.iter().cloned());
                }
            }
        }
        let listed = tags_by_name.into_iter();
        let listed = listed.map(|(name, tags)| (name, tags.into_iter().collect())).collect();
        self.reply(vec![Scope::Instances], Body::Services(listed))
    }

    /// A service's name as it stands in every list.
    fn listed_name(&self, instance: &Instance) -> Text {
        let service = self.catalog.service(&instance.service.folded());
        service.map_or_else(|| instance.service.clone(), |own| own.name().clone())
    }

    pub(super) fn answer_owners(&self, address: &Text) -> Answer {
        let mut nodes = Vec::new();
        let mut instances = Vec::new();
        let names = self.catalog.owners().nodes_with(address);
        for entry in names.filter_map(|name| self.catalog.node(name)) {
            if entry.row.address == *address {
                nodes.push(entry.row.clone());
            }
            let own = entry.instances().filter(|own| own.row.address == *address);
            instances.extend(own.map(|own| own.row.clone()));
        }
        self.reply(vec![Scope::Nodes, Scope::Instances], Body::Owners { nodes, instances })
    }

    /// A node with everything on it, as an agent needs it to repair the catalog.
    pub fn node_detail(&self, name: &Text) -> Option<NodeDetail> {
        self.catalog.node(&name.folded()).map(|entry| node_detail(entry))
    }
}

fn node_detail(entry: &NodeEntry) -> NodeDetail {
    NodeDetail {
        node: entry.row.clone(),
        instances: entry.instances().map(|own| own.row.clone()).collect(),
        checks: entry.checks().map(|check| detail(entry, check)).collect(),
    }
}

fn looks_like_id(word: &str) -> bool {
    word.len() >= ID_PREFIX_MIN && word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}
