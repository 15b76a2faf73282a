//! Writing and removing checks. A check that turns critical, or goes, ends the sessions that rest
//! on it.

use std::sync::Arc;

use muster_model::node::Origin;
use muster_model::outcome::{Denial, Outcome};
use muster_model::scope::{ChangeKind, Object};
use muster_model::{Check, Indexed, Scope, Status, Text};

use crate::state::Writing;

impl Writing<'_> {
    /// A new word on a check that is there.
    ///
    /// # Errors
    /// Where the node or the check is not there.
    pub(crate) fn update_check(
        &mut self,
        node: &Text,
        id: &Text,
        status: Status,
        output: &Text,
    ) -> Result<Outcome, Denial> {
        let name = node.folded();
        let entry =
            self.state.catalog.node(&name).ok_or_else(|| Denial::UnknownNode(node.clone()))?;
        let unknown = || Denial::UnknownCheck(node.clone(), id.clone());
        let old = entry.check(id).ok_or_else(unknown)?;
        let check = old.with_status(status, output.clone());
        self.put_check(&name, &check);
        Ok(Outcome::Done)
    }

    /// Writes a check on a node that is there; so is the instance it is about.
    pub(crate) fn put_check(&mut self, node: &Text, check: &Check) {
        let entry = self.state.catalog.node(node).expect("the caller has seen the node");
        let node_name = entry.row.name.clone();
        let old = entry.check(&check.id).cloned();
        let mut new = check.clone();
        if let Some(old) = &old {
            if old.origin == Origin::Agent {
                new.origin = Origin::Agent;
            }
            if old.value == new {
                return;
            }
        }
        self.state.interner.share_check(&mut new);
        if let Some(instance) = entry.instance(&new.instance_id) {
            new.instance_id = instance.row.id.clone();
        }
        let mut scopes = vec![Scope::Node(node.clone()), Scope::Checks(new.status)];
        let kind = match &old {
            None => {
                scopes.push(Scope::Usage);
                ChangeKind::Created
            }
            Some(old) => {
                if old.status != new.status {
                    scopes.push(Scope::Checks(old.status));
                }
                self.add_scopes_of_subject(node, &old.instance_id, &mut scopes);
                ChangeKind::Changed
            }
        };
        self.add_scopes_of_subject(node, &new.instance_id, &mut scopes);
        let object = Object::Check { node: node_name, id: new.id.clone() };
        let (id, status) = (new.id.clone(), new.status);
        let create_index = old.as_ref().map_or(self.index, |old| old.create_index);
        let row = Indexed { value: new, create_index, modify_index: self.index };
        self.state.catalog.put_check(node, Arc::new(row));
        self.record(object, kind, scopes);
        if status == Status::Critical {
            self.end_sessions_on_check(node, &id);
        }
    }

    /// Removes a check. One that is not there is no refusal.
    pub(crate) fn remove_check(&mut self, node: &Text, id: &str) {
        let Some(entry) = self.state.catalog.node(node) else { return };
        let Some(check) = entry.check(id).cloned() else { return };
        let object = Object::Check { node: entry.row.name.clone(), id: check.id.clone() };
        let mut scopes = vec![Scope::Node(node.clone()), Scope::Checks(check.status)];
        self.add_scopes_of_subject(node, &check.instance_id, &mut scopes);
        scopes.push(Scope::Usage);
        self.state.catalog.remove_check(node, id);
        self.record(object, ChangeKind::Removed, scopes);
        self.end_sessions_on_check(node, id);
    }

    /// The services whose answers show a check: its instance's, or all on its node.
    fn add_scopes_of_subject(&self, node: &Text, instance_id: &str, scopes: &mut Vec<Scope>) {
        let Some(entry) = self.state.catalog.node(node) else { return };
        let services = if instance_id.is_empty() {
            entry.services()
        } else {
            entry.instance(instance_id).map(|own| own.row.service.folded()).into_iter().collect()
        };
        let instances = (!services.is_empty()).then_some(Scope::Instances);
        for scope in services.into_iter().map(Scope::Service).chain(instances) {
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
    }
}
