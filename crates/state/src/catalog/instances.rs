//! Writing and removing instances.

use std::sync::Arc;

use muster_model::node::Origin;
use muster_model::outcome::Denial;
use muster_model::scope::{ChangeKind, Object};
use muster_model::{Indexed, Instance, Scope, Status, Text};

use super::{InstanceEntry, is_counted_alike};
use crate::state::Writing;

/// Refuses an instance that could not be found again, and one that lives with a lease in the place
/// of one that does not: when the lease expired, another's instance would be gone.
pub(crate) fn deny_instance(
    instance: &Instance,
    in_its_place: Option<&Instance>,
) -> Result<(), Denial> {
    if instance.id.is_empty() || instance.service.is_empty() {
        return Err(Denial::Invalid("an instance needs an id and a service".into()));
    }
    let is_taken = in_its_place.is_some_and(|old| old.origin != Origin::Lease);
    if instance.origin == Origin::Lease && is_taken {
        return Err(Denial::NotYours(instance.id.clone()));
    }
    Ok(())
}

impl Writing<'_> {
    /// Writes an instance on a node that is there. Under another service than before it moves. What
    /// an agent vouches for stays its own, whoever writes it.
    pub(crate) fn put_instance(&mut self, node: &Text, instance: &Instance) {
        let entry = self.state.catalog.node(node).expect("the caller has seen the node");
        let node_name = entry.row.name.clone();
        let old = entry.instance(&instance.id).cloned();
        let mut new = instance.clone();
        if let Some(old) = &old {
            new.id = old.row.id.clone();
            if old.row.origin == Origin::Agent {
                new.origin = Origin::Agent;
            }
            if old.row.value == new {
                return;
            }
        }
        self.state.interner.share_instance(&mut new);
        let name = new.service.folded();
        let mut scopes =
            vec![Scope::Node(node.clone()), Scope::Service(name.clone()), Scope::Instances];
        let object =
            Object::Instance { node: node_name, service: new.service.clone(), id: new.id.clone() };
        let create_index = old.as_ref().map_or(self.index, |old| old.row.create_index);
        if old.as_ref().is_none_or(|old| !is_counted_alike(&old.row, &new)) {
            scopes.push(Scope::Usage);
        }
        if is_leased(&new) || old.as_ref().is_some_and(|old| is_leased(&old.row)) {
            scopes.push(Scope::Leases);
        }
        let row = Indexed { value: new, create_index, modify_index: self.index };
        if self.state.catalog.put_instance(node, Arc::new(row)) {
            scopes.push(Scope::Services);
        }
        match &old {
            None => self.record(object, ChangeKind::Created, scopes),
            Some(old) => {
                self.add_scopes_of_old(old, &name, &mut scopes);
                self.record(object, ChangeKind::Changed, scopes);
                self.vanish_if_empty(&old.row.service.folded());
            }
        }
    }

    /// What a changed instance touches beside itself: the service it left, the checks that show it.
    fn add_scopes_of_old(&self, old: &InstanceEntry, name: &Text, scopes: &mut Vec<Scope>) {
        let old_name = old.row.service.folded();
        if old_name != *name {
            scopes.push(Scope::Service(old_name));
        }
        for status in Status::ALL {
            if old.checks.iter().any(|check| check.status == status) {
                scopes.push(Scope::Checks(status));
            }
        }
    }

    /// Removes an instance with its checks. One that is not there is no refusal. A node that is
    /// there only for instances with a lease goes with the last one.
    pub(crate) fn remove_instance(&mut self, node: &Text, id: &str) {
        self.take_instance(node, id);
        let Some(entry) = self.state.catalog.node(node) else { return };
        if entry.row.origin == Origin::Lease && entry.instances().next().is_none() {
            self.remove_node(node);
        }
    }

    /// Removes an instance with its checks and leaves its node.
    pub(crate) fn take_instance(&mut self, node: &Text, id: &str) {
        let Some(entry) = self.state.catalog.node(node) else { return };
        let Some(instance) = entry.instance(id).cloned() else { return };
        let node_name = entry.row.name.clone();
        for check in &instance.checks {
            self.remove_check(node, &check.id);
        }
        let name = instance.row.service.folded();
        let mut scopes =
            vec![Scope::Node(node.clone()), Scope::Service(name.clone()), Scope::Instances];
        if self.state.catalog.remove_instance(node, id) {
            scopes.push(Scope::Services);
        }
        scopes.push(Scope::Usage);
        if is_leased(&instance.row) {
            scopes.push(Scope::Leases);
        }
        let (service, id) = (instance.row.service.clone(), instance.row.id.clone());
        let object = Object::Instance { node: node_name, service, id };
        self.record(object, ChangeKind::Removed, scopes);
        self.vanish_if_empty(&name);
    }

    fn vanish_if_empty(&mut self, service: &Text) {
        if self.state.catalog.service(service).is_none() {
            self.vanish(&Scope::Service(service.clone()));
        }
    }
}

/// Whether the leader measures a lease for it.
fn is_leased(instance: &Instance) -> bool {
    instance.lease_ttl().is_some()
}
