//! Answers about sessions, coordinates, roots, settings, and numbers.

use muster_model::answer::{Answer, Body, Row, Usage};
use muster_model::coordinate::NodeCoordinate;
use muster_model::{Indexed, Scope, Text};

use crate::State;

impl State {
    pub(super) fn answer_session(&self, id: &Text) -> Answer {
        let found = self.sessions.find(id).cloned().into_iter().collect();
        self.reply(vec![Scope::Session(id.clone())], Body::Sessions(found))
    }

    pub(super) fn answer_sessions(&self, node: Option<&Text>) -> Answer {
        let Some(node) = node else {
            let all = self.sessions.iter().cloned().collect();
            return self.reply(vec![Scope::Sessions], Body::Sessions(all));
        };
        let name = node.folded();
        let found = self.sessions.of_node(&name).cloned().collect();
        self.reply(vec![Scope::SessionsOf(name)], Body::Sessions(found))
    }

    pub(super) fn answer_coordinates(&self, node: Option<&Text>) -> Answer {
        let plain = |row: &Row<NodeCoordinate>| row.value.clone();
        let Some(node) = node else {
            let all = self.places.rows.values().map(plain).collect();
            return self.reply(vec![Scope::Coordinates], Body::Coordinates(all));
        };
        let name = node.folded();
        let found = self.places.of_node(&name).map(plain).collect();
        self.reply(vec![Scope::Coordinate(name)], Body::Coordinates(found))
    }

    pub(super) fn answer_roots(&self) -> Answer {
        let roots = self.kept.roots.values().map(|row| Indexed {
            value: row.without_key(),
            create_index: row.create_index,
            modify_index: row.modify_index,
        });
        self.reply(vec![Scope::Roots], Body::Roots(roots.collect()))
    }

    pub(super) fn answer_settings(&self, kind: &Text, name: Option<&Text>) -> Answer {
        let chosen = |row: &&Row<_>| is_named(row, name);
        let found = self.kept.of_kind(kind).filter(chosen).cloned().collect();
        self.reply(vec![Scope::Settings(kind.clone())], Body::Settings(found))
    }

    pub(super) fn answer_usage(&self) -> Answer {
        self.reply(vec![Scope::Usage], Body::Usage(self.usage()))
    }

    /// Numbers over everything.
    pub fn usage(&self) -> Usage {
        let counts = self.catalog.counts();
        let by_kind = counts.by_kind.iter().map(|(kind, count)| (kind.clone(), *count));
        Usage {
            n_nodes: self.catalog.n_nodes(),
            n_services: self.catalog.n_services(),
            n_instances: counts.n_instances,
            n_checks: counts.n_checks,
            n_instances_by_kind: by_kind.collect(),
            n_billable: counts.n_billable,
            n_pairs: self.pairs.rows.len() as u64,
            n_sessions: self.sessions.len() as u64,
            n_connect_native: counts.n_connect_native,
        }
    }
}

fn is_named(row: &Row<muster_model::settings::Setting>, name: Option<&Text>) -> bool {
    name.is_none_or(|name| row.name == *name)
}
