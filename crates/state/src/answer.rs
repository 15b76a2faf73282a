//! Answering: from a query to an answer with its index and its scopes, one file for each area.
//!
//! An answer names every scope it depends on: as long as none of them is touched, the same query
//! has the same answer. Its index is the last that touched any of them.

mod catalog;
mod checks;
mod instances;
mod kv;
mod others;
mod prepared;

use muster_model::answer::{Answer, Body};
use muster_model::{Index, Query, Scope, Text};

use crate::State;

impl State {
    /// What a query comes to at this version of the state.
    pub fn answer(&self, query: &Query) -> Answer {
        match query {
            Query::Nodes(filter) => self.answer_nodes(filter),
            Query::Node { name_or_id } => self.answer_node(name_or_id),
            Query::Services { node_meta } => self.answer_services(node_meta),
            Query::Instances(filter) => self.answer_instances(filter),
            Query::AllInstances { node_meta } => self.answer_all_instances(node_meta),
            Query::Checks(filter) => self.answer_checks(filter),
            Query::Pair { key } => self.answer_pair(key),
            Query::PairsUnder { prefix } => self.answer_pairs_under(prefix),
            Query::KeysUnder { prefix, separator } => self.answer_keys_under(prefix, separator),
            Query::Transact { operations } => self.answer_transact(operations),
            Query::Session { id } => self.answer_session(id),
            Query::Sessions { node } => self.answer_sessions(node.as_ref()),
            Query::PreparedQueries { id } => self.answer_prepared_queries(id.as_ref()),
            Query::ExecutePrepared { id_or_name, agent, near } => {
                self.answer_execution(id_or_name, agent, near.as_ref())
            }
            Query::ExplainPrepared { id_or_name } => self.answer_explanation(id_or_name),
            Query::Coordinates { node } => self.answer_coordinates(node.as_ref()),
            Query::AddressOwners { address } => self.answer_owners(address),
            Query::Roots => self.answer_roots(),
            Query::Settings { kind, name } => self.answer_settings(kind, name.as_ref()),
            Query::Usage => self.answer_usage(),
        }
    }

    /// An answer that depends on these scopes.
    fn reply(&self, scopes: Vec<Scope>, body: Body) -> Answer {
        let index: Index = scopes.iter().map(|scope| self.index_of(scope)).max().unwrap_or(0);
        Answer::new(index, scopes, body)
    }

    /// Sorts by the round-trip time from a node, if one is given and stands somewhere.
    fn sort_near<T>(&self, near: Option<&Text>, items: &mut [T], node: impl Fn(&T) -> &Text) {
        if let Some(origin) = near.and_then(|near| self.origin(near)) {
            origin.sort(items, node);
        }
    }
}

/// An answer sorted by distance is for once: places drift without touching its scopes.
fn for_once_if(is_sorted: bool, answer: Answer) -> Answer {
    if is_sorted { answer.for_once() } else { answer }
}
