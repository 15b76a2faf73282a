//! How outcomes, changes and answers stand in a script.

use muster_model::answer::{Answer, Body, CheckDetail, InstanceDetail};
use muster_model::outcome::StepResult;
use muster_model::scope::{Change, ChangeKind, Object};
use muster_model::{Check, Indexed, Instance, Node, Outcome, Pair, Text};

/// One line for an outcome, with one more for each step.
pub(crate) fn print_outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done => "done".into(),
        Outcome::Unmet => "unmet".into(),
        Outcome::Denied(denial) => format!("denied: {denial}"),
        Outcome::Transacted(results) => {
            results.iter().fold("transacted".into(), |line, step| line + "\n  " + &result(step))
        }
        Outcome::RolledBack(obstacles) => {
            obstacles.iter().fold("rolled back".into(), |line, (position, denial)| {
                format!("{line}\n  step {position}: {denial}")
            })
        }
        Outcome::Batch(outcomes) => {
            outcomes.iter().map(print_outcome).collect::<Vec<_>>().join("; ")
        }
    }
}

/// One line for a change with its scopes.
pub(crate) fn print_change(change: &Change) -> String {
    let object = match &change.object {
        Object::Node(name) => format!("node {name}"),
        Object::Instance { node, service, id } => format!("instance {node}/{id} of {service}"),
        Object::Check { node, id } => format!("check {node}/{id}"),
        Object::Pair(key) => format!("pair {key}"),
        Object::Session(id) => format!("session {id}"),
        Object::PreparedQuery(id) => format!("prepared query {id}"),
        Object::Coordinate(node) => format!("coordinate {node}"),
        Object::Root(id) => format!("root {id}"),
        Object::Setting { kind, name } => format!("setting {kind}/{name}"),
    };
    let kind = match change.kind {
        ChangeKind::Created => "created",
        ChangeKind::Changed => "changed",
        ChangeKind::Removed => "removed",
    };
    let scopes: Vec<String> = change.scopes.iter().map(ToString::to_string).collect();
    format!("{object} {kind} ({})", scopes.join(", "))
}

/// The index with the scopes, then one line for each thing found.
pub(crate) fn print_answer(answer: &Answer) -> String {
    let scopes: Vec<String> = answer.scopes.iter().map(ToString::to_string).collect();
    let once = if answer.is_lasting { "" } else { ", for once" };
    let mut text = format!("index {} ({}){once}\n", answer.index, scopes.join(", "));
    for line in lines(&answer.body) {
        text.push_str(&format!("  {line}\n"));
    }
    text
}

fn lines(body: &Body) -> Vec<String> {
    match body {
        Body::Nodes(rows) => rows.iter().map(|row| node(row)).collect(),
        Body::Node(None) => vec!["no such node".into()],
        Body::Node(Some(found)) => {
            let instances = found.instances.iter().map(|own| instance(own));
            let checks = found.checks.iter().map(check_detail);
            std::iter::once(node(&found.node)).chain(instances).chain(checks).collect()
        }
        Body::Services(found) => {
            found.iter().map(|(name, tags)| format!("{name} [{}]", joined(tags))).collect()
        }
        Body::Instances(found) => found.iter().map(instance_detail).collect(),
        Body::Checks(found) => found.iter().map(check_detail).collect(),
        Body::Pair(found) => found.iter().map(|row| pair(row)).collect(),
        Body::Pairs(rows) => rows.iter().map(|row| pair(row)).collect(),
        Body::Keys(keys) => keys.iter().map(ToString::to_string).collect(),
        Body::Transacted(Ok(results)) => results.iter().map(result).collect(),
        Body::Transacted(Err(obstacles)) => {
            obstacles.iter().map(|(at, denial)| format!("step {at}: {denial}")).collect()
        }
        Body::Prepared(None) => vec!["no question fits".into()],
        Body::Prepared(Some(found)) => {
            let asked = format!("asks for {}", found.query.service.service);
            std::iter::once(asked).chain(found.instances.iter().map(instance_detail)).collect()
        }
        other => others(other),
    }
}

fn others(body: &Body) -> Vec<String> {
    match body {
        Body::Sessions(rows) => {
            rows.iter().map(|row| format!("{} on {}{}", row.id, row.node, span(row))).collect()
        }
        Body::PreparedQueries(rows) => rows
            .iter()
            .map(|row| {
                format!("{} {:?} asks for {}{}", row.id, row.name, row.service.service, span(row))
            })
            .collect(),
        Body::Coordinates(found) => found
            .iter()
            .map(|own| format!("{} at {} s", own.node, own.coordinate.vector[0]))
            .collect(),
        Body::Owners { nodes, instances } => {
            let nodes = nodes.iter().map(|row| node(row));
            nodes.chain(instances.iter().map(|row| instance(row))).collect()
        }
        Body::Roots(roots) => roots
            .iter()
            .map(|root| {
                format!("{} active={} key={:?}{}", root.id, root.is_active, root.key, span(root))
            })
            .collect(),
        Body::Settings(rows) => {
            rows.iter().map(|row| format!("{} = {}{}", row.name, row.body, span(row))).collect()
        }
        Body::Usage(usage) => vec![format!("{usage:?}")],
        _ => unreachable!("printed above"),
    }
}

/// Where an object was created and last changed.
fn span<T>(row: &Indexed<T>) -> String {
    format!(" @{}..{}", row.create_index, row.modify_index)
}

fn node(row: &Indexed<Node>) -> String {
    let id = if row.id.is_empty() { String::new() } else { format!(" id={}", row.id) };
    format!("node {} {}{id}{}", row.name, row.address, span(row))
}

fn instance(row: &Indexed<Instance>) -> String {
    let (id, service, tags) = (&row.id, &row.service, joined(&row.tags));
    format!("instance {id} of {service}:{} [{tags}]{}", row.port, span(row))
}

fn instance_detail(found: &InstanceDetail) -> String {
    let checks: Vec<String> =
        found.checks.iter().map(|own| format!("{}={}", own.id, own.status)).collect();
    format!("{}/{} {}", found.node.name, instance(&found.instance), checks.join(" "))
}

fn check(row: &Indexed<Check>) -> String {
    format!("check {} {}{}", row.id, row.status, span(row))
}

fn check_detail(found: &CheckDetail) -> String {
    let about = found.instance.as_ref().map(|own| format!(" about {}", own.id));
    format!("{}/{}{}", found.node.name, check(&found.check), about.unwrap_or_default())
}

fn pair(row: &Indexed<Pair>) -> String {
    let lock = match (row.session.is_empty(), row.lock_index) {
        (true, 0) => String::new(),
        (true, fence) => format!(" free fence={fence}"),
        (false, fence) => format!(" held by {} fence={fence}", row.session),
    };
    let value = row.value.value.escape_ascii();
    format!("{} = \"{value}\" flags={}{lock}{}", row.key, row.flags, span(row))
}

fn result(step: &StepResult) -> String {
    match step {
        StepResult::Pair(row) => pair(row),
        StepResult::Node(row) => node(row),
        StepResult::Instance(row) => instance(row),
        StepResult::Check { node, service, tags, check: row } => {
            format!("{node}/{} of {service:?} [{}]", check(row), joined(tags))
        }
    }
}

fn joined(tags: &[Text]) -> String {
    tags.iter().map(Text::as_str).collect::<Vec<_>>().join(",")
}
