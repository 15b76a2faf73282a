//! `muster explain`: why is each instance of a service in or out of the answer?
//!
//! The question people really have when a service cannot be found. For every instance: whether DNS and
//! `?passing` hand it out, and which check or maintenance decides that, with what it last said and since
//! when, as far as the agent that is asked can know: of its own checks it knows all, of others since when
//! it has seen their last change. Consul tells no times, so of a Consul only indexes are shown.

use std::time::Duration;

use clap::Args;
use muster_model::check::GUARD_PREFIX;
use serde_json::{Value, json};

use super::Failure;
use super::catalog::worst;
use super::client::Ask;
use super::console::{Console, items, text};
use crate::config::duration;

/// Why is each instance of a service in or out of the answer?
#[derive(Debug, Args)]
pub struct Explain {
    /// The service.
    service: String,
}

impl Explain {
    /// Asks and explains.
    pub async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let path = format!("/v1/health/service/{}", self.service);
        let found = console.client.json(Ask::get(path)).await?;
        let instances = items(&found);
        let times = Times::ask(console, &self.service).await;
        let verdict = |entry| verdict(entry, &times);
        if console.is_json() {
            return console.json(&instances.iter().map(verdict).collect());
        }
        if instances.is_empty() {
            let what = format!("no instance of {:?} is registered", self.service);
            return Err(Failure::new(format!("{what}; `muster catalog services` lists all names")));
        }
        for entry in instances {
            let verdict = verdict(entry);
            let (by_dns, by_passing) = (text(&verdict, "dns"), text(&verdict, "passing"));
            console.line(format!(
                "{} on {} ({}): DNS {}, ?passing {}",
                text(&verdict, "instance"),
                text(&verdict, "node"),
                text(&verdict, "address"),
                console.status(&by_dns),
                console.status(&by_passing),
            ))?;
            for reason in items(&verdict["because"]) {
                console.line(format!("    {}", reason.as_str().unwrap_or_default()))?;
            }
        }
        Ok(())
    }
}

/// What the agent knows of times; nothing where it knows none.
struct Times(Value);

impl Times {
    async fn ask(console: &Console<'_>, service: &str) -> Times {
        let ask = Ask::get(format!("/v1/internal/times/{service}"));
        // An older agent, or a Consul, has no such endpoint: the indexes have to do then.
        let told = console.client.json(ask).await;
        Times(told.unwrap_or_default())
    }

    fn of(&self, check: &Value) -> &Value {
        let is_it =
            |own: &&Value| own["Node"] == check["Node"] && own["CheckID"] == check["CheckID"];
        items(&self.0).iter().find(is_it).unwrap_or(&Value::Null)
    }

    /// Since when a check is as it is.
    fn since(&self, check: &Value) -> String {
        let own = self.of(check);
        let index = text(check, "ModifyIndex");
        match (words(own, "StatusForMs"), words(own, "ChangedMsAgo")) {
            (Some(time), _) => format!("for {time} (since index {index})"),
            (None, Some(time)) => format!("since {time} ago (index {index})"),
            (None, None) => format!("since index {index}"),
        }
    }

    /// What else is known of a check: the last word, and what time alone will do.
    fn remarks(&self, check: &Value) -> String {
        let own = self.of(check);
        let heard = words(own, "HeardMsAgo").map(|time| format!("last heard of {time} ago"));
        let expires = words(own, "ExpiresInMs").map(|time| format!("holds {time} more"));
        let goes = words(own, "DeregistersInMs")
            .map(|time| format!("deregisters the instance in {time} if it stays so"));
        let remarks: Vec<String> = [heard, expires, goes].into_iter().flatten().collect();
        if remarks.is_empty() { String::new() } else { format!(" [{}]", remarks.join(", ")) }
    }
}

/// A number of milliseconds in words, to the second.
fn words(times: &Value, key: &str) -> Option<String> {
    let seconds = times[key].as_u64()? / 1000;
    Some(duration::show(Duration::from_secs(seconds)))
}

/// Whether an instance is handed out, and why.
fn verdict(entry: &Value, times: &Times) -> Value {
    let (node, service, checks) = (&entry["Node"], &entry["Service"], &entry["Checks"]);
    let status = worst(checks);
    let deciding: Vec<&Value> =
        items(checks).iter().filter(|check| check["Status"] == status).collect();
    let kept =
        items(checks).iter().filter(|check| text(check, "CheckID").starts_with(GUARD_PREFIX));
    let mut because: Vec<String> = match (status, items(checks).is_empty()) {
        (_, true) => vec!["it has no checks, and its node has none".into()],
        ("passing", _) => passing(items(checks), times),
        _ => deciding.into_iter().map(|check| reason(check, times)).collect(),
    };
    because.extend(kept.map(|check| format!("{} {}", text(check, "Output"), times.since(check))));
    let own = text(service, "Address");
    let address = if own.is_empty() { text(node, "Address") } else { own };
    json!({
        "instance": text(service, "ID"),
        "node": text(node, "Node"),
        "address": format!("{address}:{}", text(service, "Port")),
        "status": status,
        "dns": if status == "critical" { "out" } else { "in" },
        "passing": if status == "passing" { "in" } else { "out" },
        "because": because,
    })
}

/// All pass: since the last that came to do so, and as long as those hold that have to be renewed.
fn passing(checks: &[Value], times: &Times) -> Vec<String> {
    let newest = checks.iter().max_by_key(|check| check["ModifyIndex"].as_u64());
    let since = newest.map(|check| times.since(check)).unwrap_or_default();
    let mut because = vec![format!("all {} checks of it and its node pass, {since}", checks.len())];
    because.extend(checks.iter().filter_map(|check| {
        let left = words(times.of(check), "ExpiresInMs")?;
        Some(format!("its check {} holds {left} more unless it is renewed", text(check, "CheckID")))
    }));
    because
}

fn reason(check: &Value, times: &Times) -> String {
    let id = text(check, "CheckID");
    let status = text(check, "Status");
    let since = times.since(check);
    if id == "_node_maintenance" {
        return format!("an operator switched its node off {since}: {}", text(check, "Notes"));
    }
    if id.starts_with("_service_maintenance:") {
        return format!("an operator switched it off {since}: {}", text(check, "Notes"));
    }
    if id == "serfHealth" {
        return format!(
            "the agent of its node is {status} {since}: {}",
            text(check, "Output").trim()
        );
    }
    let whose = if text(check, "ServiceID").is_empty() { "its node's check" } else { "its check" };
    let kind = text(check, "Type");
    let kind = if kind.is_empty() { "written by a client".into() } else { kind };
    let output = text(check, "Output");
    let said = output.lines().next().unwrap_or("nothing yet").to_owned();
    let every = text(check, "Interval");
    let every = if every.is_empty() { String::new() } else { format!(", every {every}") };
    let remarks = times.remarks(check);
    format!("{whose} {id} ({kind}{every}) is {status} {since}{remarks}: {said}")
}
