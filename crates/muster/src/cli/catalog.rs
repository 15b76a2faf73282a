//! `muster catalog` and `muster health`: what is registered, and how it is.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::Failure;
use super::client::Ask;
use super::console::{Console, items, joined, pairs, text};

/// What is registered.
#[derive(Debug, Subcommand)]
pub enum Catalog {
    /// The datacenters that are known.
    Datacenters,
    /// The nodes.
    Nodes(Nodes),
    /// The names of services.
    Services(ServiceNames),
}

/// Flags of `catalog nodes`.
#[derive(Debug, Args)]
pub struct Nodes {
    /// Everything about each node.
    #[arg(long)]
    detailed: bool,
    /// Order by round-trip time from this node.
    #[arg(long)]
    near: Option<String>,
    /// Only nodes with this fact, KEY=VALUE; repeatable.
    #[arg(long, value_name = "KEY=VALUE")]
    node_meta: Vec<String>,
    /// Only nodes that carry this service.
    #[arg(long)]
    service: Option<String>,
    /// A filter expression.
    #[arg(long)]
    filter: Option<String>,
}

/// Flags of `catalog services`.
#[derive(Debug, Args)]
pub struct ServiceNames {
    /// Only services of this node.
    #[arg(long)]
    node: Option<String>,
    /// Only services on nodes with this fact, KEY=VALUE; repeatable.
    #[arg(long, value_name = "KEY=VALUE")]
    node_meta: Vec<String>,
    /// Tags too.
    #[arg(long)]
    tags: bool,
}

/// How what is registered is.
#[derive(Debug, Subcommand)]
pub enum Health {
    /// The instances of a service with their checks.
    Service {
        /// The service.
        name: String,
        /// Only instances that pass.
        #[arg(long)]
        passing: bool,
        /// Only instances with this tag; repeatable.
        #[arg(long)]
        tag: Vec<String>,
        /// Order by round-trip time from this node.
        #[arg(long)]
        near: Option<String>,
        /// A filter expression.
        #[arg(long)]
        filter: Option<String>,
    },
    /// The checks of a node.
    Node {
        /// The node.
        name: String,
    },
    /// The checks of a service.
    Checks {
        /// The service.
        name: String,
    },
    /// All checks in a status: any, passing, warning or critical.
    State {
        /// The status.
        #[arg(default_value = "any")]
        status: String,
    },
}

impl Catalog {
    /// Does what was asked.
    pub async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        match self {
            Catalog::Datacenters => {
                let datacenters = console.client.json(Ask::get("/v1/catalog/datacenters")).await?;
                lines(&datacenters, console)
            }
            Catalog::Nodes(nodes) => nodes.run(console).await,
            Catalog::Services(services) => services.run(console).await,
        }
    }
}

fn lines(list: &Value, console: &mut Console<'_>) -> Result<(), Failure> {
    if console.is_json() {
        return console.json(list);
    }
    for item in items(list) {
        console.line(item.as_str().unwrap_or_default())?;
    }
    Ok(())
}

fn facts(mut ask: Ask, facts: &[String]) -> Result<Ask, Failure> {
    for fact in facts {
        let (key, value) = fact
            .split_once('=')
            .ok_or_else(|| Failure::new(format!("-node-meta {fact:?}: expected KEY=VALUE")))?;
        ask = ask.with("node-meta", format!("{key}:{value}"));
    }
    Ok(ask)
}

impl Nodes {
    async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let (path, prefix) = match &self.service {
            Some(service) => (format!("/v1/catalog/service/{service}"), "Node"),
            None => ("/v1/catalog/nodes".into(), ""),
        };
        let ask = facts(Ask::get(path), &self.node_meta)?
            .with_some("near", self.near)
            .with_some("filter", self.filter);
        let nodes = console.client.json(ask).await?;
        if console.is_json() {
            return console.json(&nodes);
        }
        let mut rows: Vec<Vec<String>> = Vec::new();
        for node in items(&nodes) {
            let id = text(node, "ID");
            let short = id.split('-').next().unwrap_or_default().to_owned();
            let mut row =
                vec![text(node, "Node"), short, text(node, "Address"), text(node, "Datacenter")];
            if self.detailed {
                row[1] = id;
                row.push(pairs(&node["TaggedAddresses"]));
                row.push(pairs(&node[format!("{prefix}Meta")]));
            }
            // A node with several instances of the service is one node.
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        let head = ["Node", "ID", "Address", "DC", "TaggedAddresses", "Meta"];
        console.table(&head[..if self.detailed { 6 } else { 4 }], rows)
    }
}

impl ServiceNames {
    async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let tags_by_name = match &self.node {
            Some(node) => {
                let found =
                    console.client.json(Ask::get(format!("/v1/catalog/node/{node}"))).await?;
                if found.is_null() {
                    return Err(Failure::new(format!("No such node: {node}")));
                }
                let instances = found["Services"].as_object().cloned().unwrap_or_default();
                let named =
                    instances.values().map(|own| (text(own, "Service"), own["Tags"].clone()));
                Value::Object(named.collect())
            }
            None => {
                let ask = facts(Ask::get("/v1/catalog/services"), &self.node_meta)?;
                console.client.json(ask).await?
            }
        };
        if console.is_json() {
            return console.json(&tags_by_name);
        }
        let mut names: Vec<(&String, &Value)> =
            tags_by_name.as_object().into_iter().flatten().collect();
        names.sort_by_key(|(name, _)| *name);
        if self.tags {
            let rows = names.into_iter().map(|(name, tags)| vec![name.clone(), joined(tags)]);
            return console.table(&[], rows.collect());
        }
        for (name, _) in names {
            console.line(name)?;
        }
        Ok(())
    }
}

impl Health {
    /// Does what was asked.
    pub async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let ask = match self {
            Health::Service { name, passing, tag, near, filter } => {
                let mut ask = Ask::get(format!("/v1/health/service/{name}"))
                    .flag("passing", passing)
                    .with_some("near", near)
                    .with_some("filter", filter);
                for tag in tag {
                    ask = ask.with("tag", tag);
                }
                return instances(ask, console).await;
            }
            Health::Node { name } => Ask::get(format!("/v1/health/node/{name}")),
            Health::Checks { name } => Ask::get(format!("/v1/health/checks/{name}")),
            Health::State { status } => Ask::get(format!("/v1/health/state/{status}")),
        };
        let checks = console.client.json(ask).await?;
        if console.is_json() {
            return console.json(&checks);
        }
        let mut rows = Vec::new();
        for check in items(&checks) {
            let output = text(check, "Output");
            rows.push(vec![
                text(check, "Node"),
                text(check, "CheckID"),
                text(check, "ServiceID"),
                console.status(&text(check, "Status")),
                output.lines().next().unwrap_or_default().to_owned(),
            ]);
        }
        console.table(&["Node", "Check", "Instance", "Status", "Output"], rows)
    }
}

async fn instances(ask: Ask, console: &mut Console<'_>) -> Result<(), Failure> {
    let found = console.client.json(ask).await?;
    if console.is_json() {
        return console.json(&found);
    }
    let mut rows = Vec::new();
    for entry in items(&found) {
        let (node, service) = (&entry["Node"], &entry["Service"]);
        let own = text(service, "Address");
        let address = if own.is_empty() { text(node, "Address") } else { own };
        rows.push(vec![
            text(service, "ID"),
            text(node, "Node"),
            format!("{address}:{}", text(service, "Port")),
            console.status(worst(&entry["Checks"])),
            joined(&service["Tags"]),
        ]);
    }
    console.table(&["Instance", "Node", "Address", "Status", "Tags"], rows)
}

/// The worst status of some checks; no checks pass.
pub fn worst(checks: &Value) -> &'static str {
    let has = |status: &str| items(checks).iter().any(|check| check["Status"] == status);
    match (has("critical"), has("warning")) {
        (true, _) => "critical",
        (_, true) => "warning",
        _ => "passing",
    }
}
