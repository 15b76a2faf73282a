//! Doing at the door what a client wants, and putting what is heard into the words of the history.
//!
//! A value is kept as decimal digits; a list as several with commas between. So whatever a client
//! reads tells which writes it comes from.

use std::time::Duration;

use muster_model::answer::Body;
use muster_model::command::{PutTerms, Registration, Target};
use muster_model::query::InstanceFilter;
use muster_model::session::{Behavior, SessionEnd};
use muster_model::{Command, Index, Instance, LeaseId, Meta, Node, Outcome, Query, Session, Text};
use muster_registry::{Answered, Call, Refusal, Registry, registry};
use tokio::time::Instant;

use crate::history::{Action, Found, Freshness, OperationResult, PairSeen, Value};
use crate::plant::Plant;

/// The meta key under which an instance keeps its value.
const VALUE_KEY: &str = "value";

/// How a client asks.
#[derive(Clone, Debug)]
pub struct Asker {
    /// How long it waits.
    pub patience: Duration,
    /// The node to which its sessions belong.
    pub session_node: String,
    /// A mistake that the server shall seem to make.
    pub plant: Option<Plant>,
}

/// Does what a client wants on a server, and says what the client hears.
pub async fn perform(registry: &dyn Registry, action: &Action, asker: &Asker) -> OperationResult {
    let call = Call { deadline: Some(Instant::now() + asker.patience), ..Call::default() };
    if let Action::Renew { session } = action {
        let lease = LeaseId::Session(session.clone());
        return match asker.plant {
            Some(Plant::RenewsWithoutLeader) => heard_of_renewal(Ok(())),
            _ => heard_of_renewal(registry.renew(&call, &lease).await),
        };
    }
    if let Some((query, mut freshness)) = query_of(action) {
        if asker.plant == Some(Plant::SkipsReadConfirmation) {
            freshness = registry::Freshness::Stale;
        }
        return match registry.ask(&call, &query, freshness).await {
            Ok(answered) => heard_of_question(&answered),
            Err(refusal) => OperationResult::Failed(refusal.to_string()),
        };
    }
    let Some(command) = command_of(action, &asker.session_node) else {
        return OperationResult::Failed("not a command".to_owned());
    };
    match registry.submit(&call, command).await {
        Ok(committed) => heard_of_command(committed.index, &committed.outcome),
        Err(refusal) => heard_of_refusal(&refusal),
    }
}

// ------------------------------------------------------------------------------------------------
// Asking
// ------------------------------------------------------------------------------------------------

fn query_of(action: &Action) -> Option<(Query, registry::Freshness)> {
    Some(match action {
        Action::Read { key, freshness } => {
            (Query::Pair { key: key.clone() }, freshness_of(*freshness))
        }
        Action::LookUpSession { session, freshness } => {
            (Query::Session { id: session.clone() }, freshness_of(*freshness))
        }
        Action::List { service, freshness } => {
            let filter = InstanceFilter { service: service.clone(), ..InstanceFilter::default() };
            (Query::Instances(filter), freshness_of(*freshness))
        }
        _ => return None,
    })
}

fn freshness_of(freshness: Freshness) -> registry::Freshness {
    match freshness {
        Freshness::Default => registry::Freshness::Default,
        Freshness::Consistent => registry::Freshness::Consistent,
        Freshness::Stale => registry::Freshness::Stale,
    }
}

fn command_of(action: &Action, session_node: &str) -> Option<Command> {
    let put = |key: &Text, values: &[Value], terms: PutTerms| Command::PutPair {
        key: key.clone(),
        value: spell(values).as_bytes().into(),
        flags: 0,
        terms,
    };
    Some(match action {
        Action::Put { key, value } => put(key, &[*value], PutTerms::Always),
        Action::PutIf { key, value, if_index, .. } => {
            put(key, &[*value], PutTerms::IfIndex(*if_index))
        }
        Action::Append { key, value, if_index, if_values } => {
            let values: Vec<Value> = if_values.iter().chain([value]).copied().collect();
            put(key, &values, PutTerms::IfIndex(*if_index))
        }
        Action::Delete { key } => Command::DeletePair { key: key.clone(), if_index: None },
        Action::Acquire { key, session, value } => {
            put(key, &[*value], PutTerms::Acquire(session.clone()))
        }
        Action::Release { key, session, value } => {
            put(key, &[*value], PutTerms::Release(session.clone()))
        }
        Action::CreateSession { session, ttl, lock_delay } => Command::CreateSession(Session {
            id: session.clone(),
            node: session_node.into(),
            ttl: *ttl,
            lock_delay: *lock_delay,
            behavior: Behavior::Release,
            ..Session::default()
        }),
        Action::EndSession { session } => {
            Command::EndSession { id: session.clone(), why: SessionEnd::Destroyed }
        }
        Action::Register { node, service, instance, value } => {
            Command::Register(registration(node, service, instance, *value))
        }
        Action::Deregister { node, instance, .. } => {
            Command::Deregister { node: node.clone(), target: Target::Instance(instance.clone()) }
        }
        _ => return None,
    })
}

fn registration(node: &Text, service: &Text, instance: &Text, value: Value) -> Registration {
    let value = value.to_string();
    Registration {
        node: Node { name: node.clone(), address: "10.1.0.1".into(), ..Node::default() },
        keep_node: false,
        instance: Some(Instance {
            id: instance.clone(),
            service: service.clone(),
            port: 80,
            meta: [(VALUE_KEY, value.as_str())].into_iter().collect::<Meta>(),
            ..Instance::default()
        }),
        checks: Vec::new(),
    }
}

// ------------------------------------------------------------------------------------------------
// Hearing
// ------------------------------------------------------------------------------------------------

fn heard_of_command(index: Index, outcome: &Outcome) -> OperationResult {
    match outcome {
        Outcome::Done => OperationResult::Done { index, as_of: index, found: Found::Nothing },
        // Whatever else it came to, it came to nothing.
        _ => OperationResult::Unmet { index },
    }
}

fn heard_of_refusal(refusal: &Refusal) -> OperationResult {
    let why = refusal.to_string();
    match refusal.may_have_written() {
        true => OperationResult::Unknown(why),
        false => OperationResult::Failed(why),
    }
}

fn heard_of_renewal(renewed: Result<(), Refusal>) -> OperationResult {
    match renewed {
        Ok(()) => OperationResult::Done { index: 0, as_of: 0, found: Found::Nothing },
        Err(Refusal::Unknown(_)) => OperationResult::Unmet { index: 0 },
        Err(refusal) => heard_of_refusal(&refusal),
    }
}

fn heard_of_question(answered: &Answered) -> OperationResult {
    let found = match &answered.answer.body {
        Body::Pair(row) => Found::Pair(row.as_ref().map(|row| PairSeen {
            values: read_values(&row.value.value),
            create_index: row.create_index,
            modify_index: row.modify_index,
            lock_index: row.lock_index,
            session: row.session.clone(),
        })),
        Body::Sessions(rows) => Found::Session(!rows.is_empty()),
        body => Found::Instances(instances_in(body)),
    };
    OperationResult::Done { index: answered.answer.index, as_of: answered.as_of, found }
}

/// The instances of an answer by their id, each with its value and its modify index.
pub(crate) fn instances_in(body: &Body) -> Vec<(Text, Value, Index)> {
    let Body::Instances(rows) = body else { return Vec::new() };
    let mut found: Vec<_> = rows
        .iter()
        .map(|row| {
            let value = row.instance.meta.find(VALUE_KEY).and_then(|value| value.parse().ok());
            (row.instance.id.clone(), value.unwrap_or(0), row.instance.modify_index)
        })
        .collect();
    found.sort();
    found
}

/// The pairs of an answer by their key, each with its values and its modify index.
pub(crate) fn pairs_in(body: &Body) -> Vec<(Text, Vec<Value>, Index)> {
    let Body::Pairs(rows) = body else { return Vec::new() };
    let seen = |row: &muster_model::answer::Row<muster_model::Pair>| {
        (row.key.clone(), read_values(&row.value.value), row.modify_index)
    };
    rows.iter().map(seen).collect()
}

fn spell(values: &[Value]) -> String {
    let words: Vec<String> = values.iter().map(Value::to_string).collect();
    words.join(",")
}

/// What cannot be read is told as 0, which no write writes.
fn read_values(bytes: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(bytes);
    text.split(',').map(|word| word.parse().unwrap_or(0)).collect()
}
