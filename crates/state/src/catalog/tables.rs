//! Writing the catalog's tables: each verb leaves all of them consistent with each other.

use std::sync::Arc;

use muster_model::answer::Row;
use muster_model::{Check, Instance, Node, Text};

use super::{
    ById, ByPlace, Catalog, CheckById, CheckList, Counts, InstanceEntry, NodeEntry, ServiceEntry,
    is_billable, is_connect_native,
};

impl Catalog {
    /// Puts a node's row in its place, keeping what is on it.
    pub(crate) fn put_node(&mut self, name: &Text, row: Row<Node>) {
        if !row.id.is_empty() {
            self.node_ids.insert(row.id.folded(), name.clone());
        }
        let Some(entry) = self.nodes.get_mut(name) else {
            self.owners.swap(name, &Text::default(), &row.address);
            self.nodes.insert(name.clone(), Arc::new(NodeEntry::new(row)));
            return;
        };
        let old = std::mem::replace(&mut Arc::make_mut(entry).row, row.clone());
        self.owners.swap(name, &old.address, &row.address);
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
            self.owners.swap(&name, &Text::default(), &entry.row.address);
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
        self.owners.swap(name, &entry.row.address, &Text::default());
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
        let address = |own: Option<&Arc<InstanceEntry>>| {
            own.map(|own| own.row.address.clone()).unwrap_or_default()
        };
        self.owners.swap(node, &address(old), &address(new));
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

/// Puts a check in its place in a list ordered by ids.
fn put_by_id(checks: &mut CheckList, row: Row<Check>) {
    match checks.binary_search_by(|own| own.id.cmp(&row.id)) {
        Ok(at) => checks[at] = row,
        Err(at) => checks.insert(at, row),
    }
}

impl ServiceEntry {
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
