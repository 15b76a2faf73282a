//! Operations told to people, a line each.

use std::time::Duration;

use crate::history::{Action, Found, Freshness, Operation, OperationResult, PairSeen};

/// One operation: who, when, what, and what came of it.
#[must_use]
pub fn line(operation: &Operation) -> String {
    let Operation { client, server, .. } = operation;
    let (from, to) = (instant(operation.invoked_at), instant(operation.returned_at));
    let action = action(&operation.action);
    let result = result(&operation.result);
    format!("{from} .. {to}  client {client} on server {server}: {action} -> {result}")
}

/// An instant of a run in seconds.
#[must_use]
pub fn instant(at: Duration) -> String {
    match at {
        Duration::MAX => "never".into(),
        _ => format!("{:.6} s", at.as_secs_f64()),
    }
}

fn action(action: &Action) -> String {
    match action {
        Action::Read { key, freshness } => format!("read {key}{}", how_fresh(*freshness)),
        Action::Put { key, value } => format!("put {key} = {value}"),
        Action::PutIf { key, value, if_index, if_values } => {
            format!("put {key} = {value} if {}", term(*if_index, if_values))
        }
        Action::Append { key, value, if_index, if_values } => {
            format!("append {value} to {key} if {}", term(*if_index, if_values))
        }
        Action::Delete { key } => format!("delete {key}"),
        Action::CreateSession { session, ttl, .. } => {
            format!("create session {session} for {} s", ttl.as_secs_f64())
        }
        Action::Renew { session } => format!("renew session {session}"),
        Action::LookUpSession { session, freshness } => {
            format!("look up session {session}{}", how_fresh(*freshness))
        }
        Action::EndSession { session } => format!("end session {session}"),
        Action::Acquire { key, session, value } => {
            format!("acquire {key} for {session}, = {value}")
        }
        Action::Release { key, session, value } => {
            format!("release {key} of {session}, = {value}")
        }
        Action::Register { node, service, instance, value } => {
            format!("register {service} {instance} on {node}, = {value}")
        }
        Action::Deregister { node, service, instance } => {
            format!("deregister {service} {instance} on {node}")
        }
        Action::List { service, freshness } => format!("list {service}{}", how_fresh(*freshness)),
    }
}

fn how_fresh(freshness: Freshness) -> &'static str {
    match freshness {
        Freshness::Default => "",
        Freshness::Consistent => " (consistent)",
        Freshness::Stale => " (stale)",
    }
}

fn term(if_index: u64, if_values: &[u64]) -> String {
    match if_index {
        0 => "absent".into(),
        _ => format!("{} at index {if_index}", values(if_values)),
    }
}

fn result(result: &OperationResult) -> String {
    match result {
        OperationResult::Done { index, found: Found::Nothing, .. } => format!("done at {index}"),
        OperationResult::Done { found, .. } => found_in_words(found),
        OperationResult::Unmet { index } => format!("unmet at {index}"),
        OperationResult::Failed(why) => format!("failed: {why}"),
        OperationResult::Unknown(why) => format!("unknown: {why}"),
    }
}

fn found_in_words(found: &Found) -> String {
    match found {
        Found::Nothing => "done".into(),
        Found::Pair(None) => "absent".into(),
        Found::Pair(Some(PairSeen { values: own, modify_index, session, lock_index, .. })) => {
            let holder = match &**session {
                "" => String::new(),
                session => format!(", held by {session}, lock index {lock_index}"),
            };
            format!("{} at index {modify_index}{holder}", values(own))
        }
        Found::Session(lives) => if *lives { "lives" } else { "has ended" }.into(),
        Found::Instances(instances) => {
            let words: Vec<String> =
                instances.iter().map(|(id, value, _)| format!("{id} = {value}")).collect();
            format!("[{}]", words.join(", "))
        }
    }
}

/// The values of a pair; of a long list its end.
fn values(values: &[u64]) -> String {
    const SHOWN_MAX: usize = 8;
    let words = |values: &[u64]| values.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    match values {
        [one] => one.to_string(),
        few if few.len() <= SHOWN_MAX => format!("[{}]", words(few)),
        many => {
            format!("[{} more, {}]", many.len() - SHOWN_MAX, words(&many[many.len() - SHOWN_MAX..]))
        }
    }
}
