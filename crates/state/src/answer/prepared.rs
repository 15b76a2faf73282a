//! Answers to stored questions.

use muster_model::answer::{Answer, Body, PreparedAnswer};
use muster_model::prepared::{PreparedQuery, PreparedService};
use muster_model::query::Health;
use muster_model::{Instance, Scope, Text};

use super::for_once_if;
use super::instances::{checks_of, is_wanted, worst};
use crate::State;
use crate::catalog::{InstanceEntry, NodeEntry, is_connect_native};
use crate::template;

/// The name by which a question says "the node of the agent that was asked".
const NEAR_AGENT: &str = "_agent";

impl State {
    pub(super) fn answer_prepared_queries(&self, id: Option<&Text>) -> Answer {
        let found = match id {
            None => self.questions.iter().cloned().collect(),
            Some(id) => self.questions.find(id).cloned().into_iter().collect(),
        };
        self.reply(vec![Scope::PreparedQueries], Body::PreparedQueries(found))
    }

    pub(super) fn answer_explanation(&self, id_or_name: &Text) -> Answer {
        let found = self.questions.resolve(id_or_name).map(|row| {
            let value = template::filled_in(row, id_or_name);
            std::sync::Arc::new(muster_model::Indexed {
                value,
                create_index: row.create_index,
                modify_index: row.modify_index,
            })
        });
        let found = found.into_iter().collect();
        self.reply(vec![Scope::PreparedQueries], Body::PreparedQueries(found))
    }

    pub(super) fn answer_execution(
        &self,
        id_or_name: &Text,
        agent: &Text,
        near: Option<&Text>,
    ) -> Answer {
        let Some(row) = self.questions.resolve(id_or_name) else {
            return self.reply(vec![Scope::PreparedQueries], Body::Prepared(None));
        };
        let query = template::filled_in(row, id_or_name);
        let near = near.filter(|near| !near.is_empty()).unwrap_or(&query.service.near);
        let near = if *near == NEAR_AGENT { agent } else { near }.clone();
        let name = query.service.service.folded();
        let scopes = vec![Scope::PreparedQueries, Scope::Service(name)];
        let answer = self.reply(scopes, Body::Prepared(Some(self.execute(query, &near))));
        for_once_if(!near.is_empty(), answer)
    }

    fn execute(&self, query: PreparedQuery, near: &Text) -> PreparedAnswer {
        let asked = &query.service;
        let mut instances = self
            .instances_of(&asked.service.folded(), |node, entry| is_asked_for(asked, node, entry));
        self.sort_near(Some(near), &mut instances, |own| &own.node.name);
        PreparedAnswer { query, instances }
    }
}

fn is_asked_for(asked: &PreparedService, node: &NodeEntry, entry: &InstanceEntry) -> bool {
    let health = if asked.only_passing { Health::Passing } else { Health::NotCritical };
    let counted =
        checks_of(node, entry).filter(|check| !asked.ignored_check_ids.contains(&check.id));
    node.row.meta.has_all(&asked.node_meta)
        && entry.row.meta.has_all(&asked.meta)
        && has_tags(&entry.row, &asked.tags)
        && (!asked.connect || is_connect_native(&entry.row))
        && is_wanted(health, worst(counted))
}

/// Whether it carries every tag, and none of those with `!`.
fn has_tags(instance: &Instance, tags: &[Text]) -> bool {
    tags.iter().all(|tag| match tag.strip_prefix('!') {
        Some(unwanted) => !instance.has_tag(unwanted),
        None => instance.has_tag(tag),
    })
}
