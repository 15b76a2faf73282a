//! Answers about checks, in the order of node names and check ids.

use muster_model::answer::{Answer, Body, CheckDetail, Row};
use muster_model::query::{CheckFilter, CheckSubject};
use muster_model::{Check, Scope, Status, Text};

use super::for_once_if;
use crate::State;
use crate::catalog::NodeEntry;

impl State {
    pub(super) fn answer_checks(&self, filter: &CheckFilter) -> Answer {
        let (scopes, mut found) = match &filter.subject {
            CheckSubject::All => {
                let scopes = Status::ALL.map(Scope::Checks).to_vec();
                (scopes, self.all_checks(|_| true))
            }
            CheckSubject::WithStatus(status) => {
                (vec![Scope::Checks(*status)], self.all_checks(|check| check.status == *status))
            }
            CheckSubject::Node(node) => {
                let name = node.folded();
                let entry = self.catalog.node(&name);
                let found = entry.map(|entry| entry.checks().map(|own| detail(entry, own)));
                let found = found.into_iter().flatten().collect();
                (vec![Scope::Node(name)], found)
            }
            CheckSubject::Service(service) => {
                let name = service.folded();
                let found = self.checks_of_service(&name);
                (vec![Scope::Service(name)], found)
            }
        };
        found.retain(|own| own.node.meta.has_all(&filter.node_meta));
        self.sort_near(filter.near.as_ref(), &mut found, |own| &own.node.name);
        for_once_if(filter.near.is_some(), self.reply(scopes, Body::Checks(found)))
    }

    fn all_checks(&self, chosen: impl Fn(&Check) -> bool) -> Vec<CheckDetail> {
        let mut found = Vec::new();
        for entry in self.catalog.nodes() {
            let own = entry.checks().filter(|check| chosen(check));
            found.extend(own.map(|check| detail(entry, check)));
        }
        found
    }

    fn checks_of_service(&self, name: &Text) -> Vec<CheckDetail> {
        let mut found = Vec::new();
        let service = self.catalog.service(name);
        for instance in service.into_iter().flat_map(|own| own.instances()) {
            let Some(entry) = self.catalog.node(&instance.node) else { continue };
            found.extend(instance.checks.iter().map(|check| CheckDetail {
                node: entry.row.clone(),
                instance: Some(instance.row.clone()),
                check: check.clone(),
            }));
        }
        found
    }
}

/// A check with its node and the instance it is about.
pub(super) fn detail(entry: &NodeEntry, check: &Row<Check>) -> CheckDetail {
    CheckDetail {
        node: entry.row.clone(),
        instance: entry.instance(&check.instance_id).map(|own| own.row.clone()),
        check: check.clone(),
    }
}
