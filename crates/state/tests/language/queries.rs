//! Questions of the script language.

use muster_model::query::{
    CheckFilter, CheckSubject, Health, InstanceFilter, NodeFilter, OperationKey,
};
use muster_model::{Query, Text};

use super::commands::step_of;
use super::{Words, status};

/// Reads one question.
pub(crate) fn parse(words: &Words) -> Query {
    let name = || Text::from(words.at(1));
    let near = words.find("near").map(Text::from);
    match words.at(0) {
        "nodes" => Query::Nodes(NodeFilter { meta: words.meta("node-meta"), near }),
        "node" => Query::Node { name_or_id: name() },
        "services" => Query::Services { node_meta: words.meta("node-meta") },
        "instances" => Query::Instances(InstanceFilter {
            service: name(),
            tags: words.list("tags"),
            node_meta: words.meta("node-meta"),
            health: health(words),
            near,
        }),
        "all-instances" => Query::AllInstances { node_meta: words.meta("node-meta") },
        "checks" => {
            let node_meta = words.meta("node-meta");
            Query::Checks(CheckFilter { subject: subject(words), node_meta, near })
        }
        "pair" => Query::Pair { key: name() },
        "under" => Query::PairsUnder { prefix: name() },
        "keys" => Query::KeysUnder { prefix: name(), separator: words.text("separator") },
        "transact" => Query::Transact { operations: steps(words) },
        "session" => Query::Session { id: name() },
        "sessions" => Query::Sessions { node: words.find("node").map(Text::from) },
        "prepared" => Query::PreparedQueries { id: words.find("id").map(Text::from) },
        "execute" => Query::ExecutePrepared { id_or_name: name(), agent: "n1".into(), near },
        "explain" => Query::ExplainPrepared { id_or_name: name() },
        "places" => Query::Coordinates { node: words.find("node").map(Text::from) },
        "owners" => Query::AddressOwners { address: name() },
        "roots" => Query::Roots,
        "settings" => Query::Settings { kind: name(), name: words.find("name").map(Text::from) },
        "usage" => Query::Usage,
        other => panic!("{other:?} is no question"),
    }
}

/// `transact get:a get:b ...`, each step with one plain word.
fn steps(words: &Words) -> Vec<OperationKey> {
    (1..)
        .map(|position| words.at(position))
        .take_while(|word| !word.is_empty())
        .map(|word| OperationKey(step_of(&Words::new(&word.replace(':', " ")))))
        .collect()
}

fn health(words: &Words) -> Health {
    if words.has("passing") {
        Health::Passing
    } else if words.has("not-critical") {
        Health::NotCritical
    } else {
        Health::Any
    }
}

fn subject(words: &Words) -> CheckSubject {
    if let Some(word) = words.find("status") {
        CheckSubject::WithStatus(status(word))
    } else if let Some(node) = words.find("node") {
        CheckSubject::Node(node.into())
    } else if let Some(service) = words.find("service") {
        CheckSubject::Service(service.into())
    } else {
        CheckSubject::All
    }
}
