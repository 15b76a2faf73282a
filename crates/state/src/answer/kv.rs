//! Answers about pairs, and steps that only look.

use muster_model::answer::{Answer, Body};
use muster_model::command::{Operation, PairVerb};
use muster_model::outcome::Denial;
use muster_model::query::OperationKey;
use muster_model::{Scope, Text, limits};

use crate::State;

impl State {
    pub(super) fn answer_pair(&self, key: &Text) -> Answer {
        let found = self.pairs.find(key).cloned();
        self.reply(vec![Scope::Pair(key.clone())], Body::Pair(found))
    }

    pub(super) fn answer_pairs_under(&self, prefix: &Text) -> Answer {
        let found = self.pairs.under(prefix).cloned().collect();
        self.reply(vec![Scope::PairsUnder(prefix.clone())], Body::Pairs(found))
    }

    pub(super) fn answer_keys_under(&self, prefix: &Text, separator: &Text) -> Answer {
        let mut keys: Vec<Text> = Vec::new();
        for row in self.pairs.under(prefix) {
            let key = &row.key;
            let after = &key[prefix.len()..];
            let cut_at = if separator.is_empty() { None } else { after.find(&**separator) };
            match cut_at {
                None => keys.push(key.clone()),
                Some(at) => {
                    let cut = &key[..prefix.len() + at + separator.len()];
                    // Keys that share a cut stand together, so the last one tells.
                    if keys.last().is_none_or(|last| *last != *cut) {
                        keys.push(cut.into());
                    }
                }
            }
        }
        self.reply(vec![Scope::PairsUnder(prefix.clone())], Body::Keys(keys))
    }

    pub(super) fn answer_transact(&self, operations: &[OperationKey]) -> Answer {
        let result = if operations.len() > limits::OPERATIONS_MAX {
            let text = format!("a transaction has at most {} steps", limits::OPERATIONS_MAX);
            Err(vec![(0, Denial::Invalid(text.into()))])
        } else {
            self.look(operations.iter().map(|own| &own.0))
        };
        let scopes = operations.iter().map(|own| scope_of(&own.0)).collect();
        self.reply(scopes, Body::Transacted(result))
    }
}

fn scope_of(operation: &Operation) -> Scope {
    match operation {
        Operation::Pair(step) if step.verb == PairVerb::GetUnder => {
            Scope::PairsUnder(step.key.clone())
        }
        Operation::Pair(step) => Scope::Pair(step.key.clone()),
        Operation::Node { node, .. } => Scope::Node(node.name.folded()),
        Operation::Instance { node, .. } | Operation::Check { node, .. } => {
            Scope::Node(node.folded())
        }
    }
}
