//! `muster explain`: why is each instance of a service in or out of the answer?
//!
//! The question people really have when a service cannot be found. For every instance: whether DNS and
//! `?passing` hand it out, and which check or maintenance decides that, with what it last said.

use clap::Args;
use serde_json::{Value, json};

use super::Failure;
use super::catalog::worst;
use super::client::Ask;
use super::console::{Console, items, text};

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

/// Whether an instance is handed out, and why.
fn verdict(entry: &Value) -> Value {
    let (node, service, checks) = (&entry["Node"], &entry["Service"], &entry["Checks"]);
    let status = worst(checks);
    let deciding: Vec<&Value> =
        items(checks).iter().filter(|check| check["Status"] == status).collect();
    let because: Vec<String> = match (status, items(checks).is_empty()) {
        (_, true) => vec!["it has no checks, and its node has none".into()],
        ("passing", _) => {
            vec![format!("all {} checks of it and its node pass", items(checks).len())]
        }
        _ => deciding.into_iter().map(reason).collect(),
    };
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

fn reason(check: &Value) -> String {
    let id = text(check, "CheckID");
    let status = text(check, "Status");
    let since = format!("since index {}", text(check, "ModifyIndex"));
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
    format!("{whose} {id} ({kind}{every}) is {status} {since}: {said}")
}
