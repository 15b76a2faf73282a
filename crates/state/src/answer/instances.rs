//! Answers about instances, in the order of node names and instance ids.
//!
//! Reading a service costs in proportion to its instances. The node of an instance is looked up
//! once for all neighbors on it.

use std::sync::Arc;

use muster_model::answer::{Answer, Body, InstanceDetail, Row};
use muster_model::query::{Health, InstanceFilter};
use muster_model::{Check, Meta, Scope, Status, Text};

use super::for_once_if;
use crate::State;
use crate::catalog::{InstanceEntry, NodeEntry};

impl State {
    pub(super) fn answer_instances(&self, filter: &InstanceFilter) -> Answer {
        let name = filter.service.folded();
        let mut found = self.instances_of(&name, |node, entry| {
            node.row.meta.has_all(&filter.node_meta)
                && filter.tags.iter().all(|tag| entry.row.has_tag(tag))
                && is_wanted(filter.health, worst(checks_of(node, entry)))
        });
        self.sort_near(filter.near.as_ref(), &mut found, |own| &own.node.name);
        let answer = self.reply(vec![Scope::Service(name)], Body::Instances(found));
        for_once_if(filter.near.is_some(), answer)
    }

    /// The instances of the service with this folded name that are chosen.
    pub(super) fn instances_of(
        &self,
        name: &Text,
        chosen: impl Fn(&NodeEntry, &InstanceEntry) -> bool,
    ) -> Vec<InstanceDetail> {
        let Some(service) = self.catalog.service(name) else { return Vec::new() };
        let mut found = Vec::with_capacity(service.n_instances());
        let mut node: Option<&Arc<NodeEntry>> = None;
        let mut node_name = None;
        for entry in service.instances() {
            if node_name != Some(&entry.node) {
                node = self.catalog.node(&entry.node);
                node_name = Some(&entry.node);
            }
            let node = node.expect("the node of an instance is there");
            if chosen(node, entry) {
                found.push(instance_detail(node, entry));
            }
        }
        found
    }

    pub(super) fn answer_all_instances(&self, node_meta: &Meta) -> Answer {
        let mut found = Vec::new();
        for node in self.catalog.nodes() {
            if node.row.meta.has_all(node_meta) {
                found.extend(node.instances().map(|entry| instance_detail(node, entry)));
            }
        }
        self.reply(vec![Scope::Instances], Body::Instances(found))
    }
}

fn instance_detail(node: &NodeEntry, entry: &InstanceEntry) -> InstanceDetail {
    InstanceDetail {
        node: node.row.clone(),
        instance: entry.row.clone(),
        checks: checks_of(node, entry).cloned().collect(),
    }
}

/// The checks that decide the status of an instance: its node's, then its own.
pub(super) fn checks_of<'a>(
    node: &'a NodeEntry,
    entry: &'a InstanceEntry,
) -> impl Iterator<Item = &'a Row<Check>> {
    node.own_checks.iter().chain(&entry.checks)
}

/// The worst status among checks; passing where there are none.
pub(super) fn worst<'a>(checks: impl Iterator<Item = &'a Row<Check>>) -> Status {
    checks.map(|check| check.status).max().unwrap_or(Status::Passing)
}

pub(super) fn is_wanted(health: Health, status: Status) -> bool {
    match health {
        Health::Any => true,
        Health::NotCritical => status != Status::Critical,
        Health::Passing => status == Status::Passing,
    }
}
