//! Who is who: members, nodes and ids put side by side before anything is decided.

use std::collections::BTreeMap;

use muster_model::answer::{NodeDetail, Row};
use muster_model::check::AGENT_CHECK_ID;
use muster_model::node::Origin;
use muster_model::{Check, Instance, Node, Status, Text};

use super::{Conflict, MemberFact, Sight};
use crate::guard::{Crowd, Share};
use crate::sync::OWN_SERVICE;

/// A node as the catalog has it, as far as it matters here.
#[derive(Clone, Debug)]
pub struct CatalogNode {
    pub(super) node: Row<Node>,
    /// The check that stands for its agent, whoever wrote it.
    pub(super) alive: Option<Row<Check>>,
    /// Its instance of the registry's own service.
    pub(super) own_instance: Option<Row<Instance>>,
    /// Folded names of the services that live and die with its agent, each once.
    services: Vec<Text>,
}

impl CatalogNode {
    /// What matters of a node.
    pub fn of(detail: &NodeDetail) -> CatalogNode {
        let mut services: Vec<Text> = detail
            .instances
            .iter()
            .filter(|instance| instance.origin == Origin::Agent && instance.id != OWN_SERVICE)
            .map(|instance| instance.service.folded())
            .collect();
        services.sort();
        services.dedup();
        let checks = detail.checks.iter().map(|detail| &detail.check);
        CatalogNode {
            node: detail.node.clone(),
            alive: checks.clone().find(|check| check.id == AGENT_CHECK_ID).cloned(),
            own_instance: detail.instances.iter().find(|own| own.id == OWN_SERVICE).cloned(),
            services,
        }
    }

    /// The check that stands for its agent, if the node is the leader's to fail or to deregister.
    pub(super) fn own_check(&self) -> Option<&Check> {
        let check = self.alive.as_ref().filter(|check| check.origin == Origin::Agent)?;
        (self.node.origin == Origin::Agent).then_some(&check.value)
    }

    /// Whether it may be the member's node: not if both have an id and the ids differ.
    pub(super) fn is_of(&self, member: &MemberFact) -> bool {
        let (own, theirs) = (&self.node.id, &member.node_id);
        own.is_empty() || theirs.is_empty() || own.folded() == theirs.folded()
    }

    /// Whether its agent is taken for alive, as far as the catalog goes.
    fn is_well(&self) -> bool {
        self.own_check().is_some_and(|check| check.status != Status::Critical)
    }

    fn crowds(&self) -> impl Iterator<Item = Crowd> {
        let services = self.services.iter().cloned().map(Crowd::Service);
        std::iter::once(Crowd::Nodes).chain(services)
    }
}

/// Members and nodes by name. Names and ids are folded where they are keys.
pub(super) struct Parties<'a> {
    pub(super) own_node: Text,
    pub(super) members: BTreeMap<Text, &'a MemberFact>,
    pub(super) nodes: BTreeMap<Text, &'a CatalogNode>,
    pub(super) conflicts: Vec<Conflict>,
    /// The living member that an id belongs to, by name.
    owners: BTreeMap<Text, Text>,
    /// How many well nodes there are, and how many carry each service.
    populations: BTreeMap<Crowd, usize>,
}

impl<'a> Parties<'a> {
    pub(super) fn of(sight: &Sight<'a>) -> Parties<'a> {
        let mut members: BTreeMap<Text, &MemberFact> = BTreeMap::new();
        for member in sight.members {
            let known = members.entry(member.name.folded()).or_insert(member);
            if member.status.is_living() && !known.status.is_living() {
                *known = member;
            }
        }
        let nodes = sight.catalog.iter().map(|entry| (entry.node.name.folded(), entry)).collect();
        let mut populations = BTreeMap::new();
        for entry in sight.catalog.iter().filter(|entry| entry.is_well()) {
            for crowd in entry.crowds() {
                *populations.entry(crowd).or_default() += 1;
            }
        }
        let (owners, conflicts) = owners(&members, &nodes);
        let own_node = sight.own_node.folded();
        Parties { own_node, members, nodes, conflicts, owners, populations }
    }

    /// The nodes that are the leader's to look after and that no member stands for.
    pub(super) fn absent(&self) -> impl Iterator<Item = (&Text, &'a CatalogNode)> {
        let ours = self
            .nodes
            .iter()
            .filter(|(name, entry)| entry.own_check().is_some() && **name != self.own_node);
        let absent = ours.filter(|(name, entry)| match self.members.get(*name) {
            // A living member that bears the name is dealt with as a member.
            Some(member) => !member.status.is_living() && !entry.is_of(member),
            // Where its agent goes by another name now, its registration takes this node away.
            None => !self.owners.contains_key(&entry.node.id.folded()),
        });
        absent.map(|(name, entry)| (name, *entry))
    }

    /// Whether no other member that lives owns this one's id.
    pub(super) fn may_have_node(&self, name: &Text, member: &MemberFact) -> bool {
        self.owners.get(&member.node_id.folded()).is_none_or(|owner| owner == name)
    }

    /// The crowds that a node belongs to.
    pub(super) fn shares(&self, entry: &CatalogNode) -> impl Iterator<Item = Share> {
        entry.crowds().map(|crowd| {
            let population = self.populations.get(&crowd).copied().unwrap_or(0);
            Share { crowd, population }
        })
    }
}

/// Gives each id to one living member: to the one whose node the catalog has, else to the first by
/// name.
fn owners(
    members: &BTreeMap<Text, &MemberFact>,
    nodes: &BTreeMap<Text, &CatalogNode>,
) -> (BTreeMap<Text, Text>, Vec<Conflict>) {
    let mut owners: BTreeMap<Text, Text> = BTreeMap::new();
    let mut conflicts = Vec::new();
    let has_id = |member: &MemberFact| member.status.is_living() && !member.node_id.is_empty();
    for (name, member) in members.iter().filter(|(_, member)| has_id(member)) {
        let id = member.node_id.folded();
        let Some(owner) = owners.insert(id.clone(), name.clone()) else { continue };
        let has_node = nodes.get(name).is_some_and(|entry| entry.node.id.folded() == id);
        let (kept, passed_over) =
            if has_node { (name.clone(), owner) } else { (owner, name.clone()) };
        owners.insert(id, kept.clone());
        conflicts.push(Conflict { node_id: member.node_id.clone(), kept, passed_over });
    }
    (owners, conflicts)
}
