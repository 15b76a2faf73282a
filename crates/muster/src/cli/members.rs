//! `muster members`, `join`, `force-leave` and `leave`: who is in a gossip pool, and who shall be.

use std::net::{IpAddr, SocketAddr};

use clap::Args;
use regex::Regex;
use serde_json::{Value, json};

use super::Failure;
use super::client::Ask;
use super::console::{Console, items, pairs, text};

/// Flags of `members`.
#[derive(Debug, Args)]
pub struct Members {
    /// The WAN pool: the servers of all datacenters.
    #[arg(long)]
    wan: bool,
    /// All tags of each member.
    #[arg(long)]
    detailed: bool,
    /// Only members whose status matches this regular expression: alive, leaving, left, failed.
    #[arg(long, default_value = ".*")]
    status: String,
    /// Consul's enterprise edition has segments; here there is one.
    #[arg(long, hide = true, default_value = ALL_SEGMENTS)]
    segment: String,
    /// A filter expression.
    #[arg(long)]
    filter: Option<String>,
}

/// All members of whatever segment.
const ALL_SEGMENTS: &str = "_all";
/// The role of a server, as its tags name it.
const SERVER: &str = "consul";
/// The role of an agent that is no server.
const CLIENT: &str = "node";

impl Members {
    /// Shows the members; exit code 2 if there are none.
    pub async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let wanted = Regex::new(&self.status)
            .map_err(|error| Failure::new(format!("Failed to compile status regexp: {error}")))?;
        let ask = Ask::get("/v1/agent/members")
            .with("segment", &self.segment)
            .with_some("wan", self.wan.then_some(1))
            .with_some("filter", self.filter.as_ref());
        let all = console.client.json(ask).await?;
        let is_wanted = |member: &&Value| wanted.is_match(status_of(member));
        let found: Vec<&Value> = items(&all).iter().filter(is_wanted).collect();
        if found.is_empty() {
            return Err(Failure::silent(2));
        }
        if console.is_json() {
            return console.json(&json!(found));
        }
        let mut rows: Vec<Row> = found.into_iter().map(|member| self.row(member)).collect();
        rows.sort_by_key(|row| (row.tags["role"] != SERVER, row.segment(), row.name.clone()));
        let cells = rows.iter().map(|row| row.cells(self.detailed, console)).collect();
        if self.detailed {
            return console.table(&["Node", "Address", "Status", "Tags"], cells);
        }
        let head = [
            "Node",
            "Address",
            "Status",
            "Type",
            "Build",
            "Protocol",
            "DC",
            "Partition",
            "Segment",
        ];
        console.table(&head, cells)
    }

    /// A member with the partition and the segment that Consul's command adds to its tags.
    fn row(&self, member: &Value) -> Row {
        let mut tags = member["Tags"].clone();
        if !tags.is_object() {
            tags = json!({});
        }
        if text(&tags, "ap").is_empty() {
            tags["ap"] = json!("default");
        }
        if tags["role"] == SERVER && self.segment == ALL_SEGMENTS {
            tags["segment"] = json!("<all>");
        } else if text(&tags, "segment").is_empty() {
            tags["segment"] = json!("<default>");
        }
        let port = member["Port"].as_u64().and_then(|port| u16::try_from(port).ok());
        let address = match text(member, "Addr").parse::<IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, port.unwrap_or(0)).to_string(),
            Err(_) => format!("{}:{}", text(member, "Addr"), text(member, "Port")),
        };
        Row { name: text(member, "Name"), address, status: status_of(member), tags }
    }
}

/// A member as it is shown.
struct Row {
    name: String,
    address: String,
    status: &'static str,
    tags: Value,
}

impl Row {
    fn segment(&self) -> String {
        text(&self.tags, "segment")
    }

    fn cells(&self, is_detailed: bool, console: &Console<'_>) -> Vec<String> {
        let mut cells = vec![self.name.clone(), self.address.clone(), console.status(self.status)];
        if is_detailed {
            cells.push(pairs(&self.tags).replace(", ", ","));
            return cells;
        }
        let kind = match text(&self.tags, "role").as_str() {
            SERVER => "server",
            CLIENT => "client",
            _ => {
                cells.push("unknown".to_owned());
                cells.resize(COLUMNS, String::new());
                return cells;
            }
        };
        let build = text(&self.tags, "build");
        let build = if build.is_empty() { "< 0.3" } else { &build };
        cells.push(kind.to_owned());
        cells.push(build.split(':').next().unwrap_or_default().to_owned());
        cells.extend(["vsn", "dc", "ap", "segment"].map(|tag| text(&self.tags, tag)));
        cells
    }
}

/// Columns of the usual table.
const COLUMNS: usize = 9;

fn status_of(member: &Value) -> &'static str {
    match member["Status"].as_u64() {
        Some(1) => "alive",
        Some(2) => "leaving",
        Some(3) => "left",
        Some(4) => "failed",
        _ => "none",
    }
}

/// Flags of `join`.
#[derive(Debug, Args)]
pub struct Join {
    /// Agents to join, host or host:port.
    #[arg(required = true)]
    addresses: Vec<String>,
    /// Join the WAN pool.
    #[arg(long)]
    wan: bool,
}

impl Join {
    /// Joins each; fails only if none could be joined.
    pub async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let mut joined = 0;
        let mut failures = Vec::new();
        for address in &self.addresses {
            let ask = Ask::put(format!("/v1/agent/join/{address}"));
            match console.client.done(ask.with_some("wan", self.wan.then_some(1))).await {
                Ok(_) => joined += 1,
                Err(failure) => {
                    failures.push(format!("Error joining address '{address}': {failure}"))
                }
            }
        }
        if joined == 0 {
            failures.push("Failed to join any nodes.".into());
            return Err(Failure::new(failures.join("\n")));
        }
        for failure in failures {
            console.line(failure)?;
        }
        console.line(format!("Successfully joined cluster by contacting {joined} nodes."))
    }
}

/// Flags of `force-leave`.
#[derive(Debug, Args)]
pub struct ForceLeave {
    /// The member's name; in the WAN pool NODE.DATACENTER.
    node: String,
    /// Forget it at once.
    #[arg(long)]
    prune: bool,
    /// In the WAN pool only.
    #[arg(long)]
    wan: bool,
}

impl ForceLeave {
    /// Has a failed member count as left.
    pub async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let ask = Ask::put(format!("/v1/agent/force-leave/{}", self.node));
        let ask = ask.flag("prune", self.prune).with_some("wan", self.wan.then_some(1));
        let done = console.client.done(ask).await;
        done.map(|_| ()).map_err(|failure| failure.within("Error force leaving"))
    }
}

/// Has the agent leave and stop.
pub async fn leave(console: &mut Console<'_>) -> Result<(), Failure> {
    let done = console.client.done(Ask::put("/v1/agent/leave")).await;
    done.map_err(|failure| failure.within("Error leaving"))?;
    console.line("Graceful leave complete")
}
