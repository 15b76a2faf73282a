//! Commands about the agent itself: members, join, leave, reload, maintenance, info, monitor, rtt.

use clap::Args;
use http_body_util::BodyExt;
use regex::Regex;
use serde_json::{Value, json};

use super::Failure;
use super::client::Ask;
use super::console::{Console, items, text};

/// Flags of `members`.
#[derive(Debug, Args)]
pub struct Members {
    /// The WAN pool.
    #[arg(long)]
    wan: bool,
    /// All tags of each member.
    #[arg(long)]
    detailed: bool,
    /// Only members whose status matches this regular expression.
    #[arg(long, default_value = ".*")]
    status: String,
    /// Without effect.
    #[arg(long, hide = true, default_value = "_all")]
    segment: String,
    /// A filter expression.
    #[arg(long)]
    filter: Option<String>,
}

impl Members {
    /// Shows the members; exit code 2 if there are none.
    pub async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let wanted = Regex::new(&format!("^(?:{})$", self.status))
            .map_err(|error| Failure::new(format!("Failed to compile status regexp: {error}")))?;
        let ask = Ask::get("/v1/agent/members")
            .with_some("wan", self.wan.then_some(1))
            .with_some("filter", self.filter);
        let all = console.client.json(ask).await?;
        let is_wanted = |member: &&Value| wanted.is_match(status_of(member));
        let mut members: Vec<&Value> = items(&all).iter().filter(is_wanted).collect();
        if members.is_empty() {
            return Err(Failure::silent(2));
        }
        if console.is_json() {
            return console.json(&json!(members));
        }
        members.sort_by_key(|member| text(member, "Name"));
        let mut rows = Vec::new();
        for member in members {
            let tags = &member["Tags"];
            let address = format!("{}:{}", text(member, "Addr"), text(member, "Port"));
            let mut row = vec![text(member, "Name"), address, console.status(status_of(member))];
            if self.detailed {
                row.push(super::console::pairs(tags).replace(", ", ","));
            } else {
                let role = text(tags, "role");
                let build = text(tags, "build");
                row.push(if role == "consul" { "server".into() } else { "client".into() });
                row.push(build.split(':').next().unwrap_or_default().to_owned());
                row.push(text(tags, "vsn"));
                row.push(text(tags, "dc"));
            }
            rows.push(row);
        }
        match self.detailed {
            true => console.table(&["Node", "Address", "Status", "Tags"], rows),
            false => {
                let head = ["Node", "Address", "Status", "Type", "Build", "Protocol", "DC"];
                console.table(&head, rows)
            }
        }
    }
}

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
    /// The member's name.
    node: String,
    /// Forget it at once.
    #[arg(long)]
    prune: bool,
    /// In the WAN pool.
    #[arg(long)]
    wan: bool,
}

impl ForceLeave {
    /// Has a failed member count as left.
    pub async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let ask = Ask::put(format!("/v1/agent/force-leave/{}", self.node));
        let ask = ask.flag("prune", self.prune).with_some("wan", self.wan.then_some(1));
        console.client.done(ask).await.map(|_| ())
    }
}

/// Has the agent leave and stop.
pub async fn leave(console: &mut Console<'_>) -> Result<(), Failure> {
    console.client.done(Ask::put("/v1/agent/leave")).await?;
    console.line("Graceful leave complete")
}

/// Has the agent read its configuration again.
pub async fn reload(console: &mut Console<'_>) -> Result<(), Failure> {
    console.client.done(Ask::put("/v1/agent/reload")).await?;
    console.line("Configuration reload triggered")
}

/// Shows the agent's numbers about itself.
pub async fn info(console: &mut Console<'_>) -> Result<(), Failure> {
    let about = console.client.json(Ask::get("/v1/agent/self")).await?;
    let stats = &about["Stats"];
    if console.is_json() {
        return console.json(stats);
    }
    for (part, values) in stats.as_object().into_iter().flatten() {
        console.line(format!("{part}:"))?;
        for name in values.as_object().into_iter().flatten().map(|(name, _)| name) {
            console.line(format!("\t{name} = {}", text(values, name)))?;
        }
    }
    Ok(())
}

/// Flags of `maint`.
#[derive(Debug, Args)]
pub struct Maint {
    /// Switch the node or instance off.
    #[arg(long)]
    enable: bool,
    /// Switch it on again.
    #[arg(long, conflicts_with = "enable")]
    disable: bool,
    /// Why, for people.
    #[arg(long, default_value = "", requires = "enable")]
    reason: String,
    /// The instance's id; the whole node if not given.
    #[arg(long, default_value = "")]
    service: String,
}

impl Maint {
    /// Switches, or shows what is switched off.
    pub async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        if !self.enable && !self.disable {
            return maintained(console).await;
        }
        let path = match self.service.as_str() {
            "" => "/v1/agent/maintenance".to_owned(),
            id => format!("/v1/agent/service/maintenance/{id}"),
        };
        let ask = Ask::put(path).with("enable", self.enable);
        let reason = (self.enable && !self.reason.is_empty()).then_some(&self.reason);
        console.client.done(ask.with_some("reason", reason)).await?;
        let now = if self.enable { "enabled" } else { "disabled" };
        match self.service.as_str() {
            "" => console.line(format!("Node maintenance is now {now}")),
            id => console.line(format!("Service maintenance is now {now} for {id:?}")),
        }
    }
}

async fn maintained(console: &mut Console<'_>) -> Result<(), Failure> {
    let checks = console.client.json(Ask::get("/v1/agent/checks")).await?;
    let is_off = |id: &str| id == "_node_maintenance" || id.starts_with("_service_maintenance:");
    let off = checks.as_object().into_iter().flatten().filter(|(id, _)| is_off(id));
    if console.is_json() {
        return console
            .json(&Value::Object(off.map(|(id, check)| (id.clone(), check.clone())).collect()));
    }
    for (id, check) in off {
        match id.strip_prefix("_service_maintenance:") {
            None => console.line(format!("Node:\n  Name:   {}", text(check, "Node")))?,
            Some(id) => console.line(format!("Service:\n  ID:     {id}"))?,
        }
        console.line(format!("  Reason: {}\n", text(check, "Notes")))?;
    }
    Ok(())
}

/// Flags of `monitor`.
#[derive(Debug, Args)]
pub struct Monitor {
    /// The least severe lines shown.
    #[arg(long, default_value = "INFO")]
    log_level: String,
    /// Lines as JSON objects.
    #[arg(long)]
    log_json: bool,
}

impl Monitor {
    /// Shows the agent's log as it is written, until interrupted.
    pub async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let ask = Ask::get("/v1/agent/monitor").with("loglevel", self.log_level.to_lowercase());
        let mut body =
            console.client.stream(ask.with_some("logjson", self.log_json.then_some(true))).await?;
        loop {
            let frame = tokio::select! {
                frame = body.frame() => frame,
                _ = tokio::signal::ctrl_c() => return Ok(()),
            };
            match frame {
                Some(Ok(frame)) => {
                    console.bytes(frame.data_ref().map_or(&[][..], |data| data))?;
                    console.flush()?;
                }
                Some(Err(error)) => {
                    return Err(Failure::new(format!("the log broke off: {error}")));
                }
                None => return Ok(()),
            }
        }
    }
}

/// Flags of `rtt`.
#[derive(Debug, Args)]
pub struct Rtt {
    /// A node.
    node: String,
    /// Another; the agent's own if not given.
    other: Option<String>,
    /// Servers of datacenters, each NODE.DATACENTER.
    #[arg(long)]
    wan: bool,
}

impl Rtt {
    /// Estimates the round-trip time between two nodes.
    pub async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let client = console.client.clone();
        let about = client.json(Ask::get("/v1/agent/self")).await?;
        let own = match self.wan {
            false => text(&about["Config"], "NodeName"),
            true => text(&about["Member"], "Name") + "." + &text(&about["Config"], "Datacenter"),
        };
        let other = self.other.clone().unwrap_or(own);
        let (path, pool) = match self.wan {
            true => ("/v1/coordinate/datacenters", "WAN"),
            false => ("/v1/coordinate/nodes", "LAN"),
        };
        let map = client.json(Ask::get(path)).await?;
        let find = |node: &str| {
            let missing = || Failure::new(format!("Could not find a coordinate for node {node:?}"));
            place(&map, node, self.wan).ok_or_else(missing)
        };
        let milliseconds = round_trip(find(&self.node)?, find(&other)?) * 1000.0;
        console.line(format!(
            "Estimated {} <-> {other} rtt: {milliseconds:.3} ms (using {pool} coordinates)",
            self.node
        ))
    }
}

fn place<'a>(map: &'a Value, node: &str, is_wan: bool) -> Option<&'a Value> {
    let is_it = |entry: &&Value, name: &str| text(entry, "Node").eq_ignore_ascii_case(name);
    if !is_wan {
        return items(map).iter().find(|entry| is_it(entry, node)).map(|entry| &entry["Coord"]);
    }
    let (name, datacenter) = node.rsplit_once('.')?;
    let area = items(map).iter().find(|area| text(area, "Datacenter") == datacenter)?;
    let entry = items(&area["Coordinates"])
        .iter()
        .find(|entry| is_it(entry, name) || is_it(entry, node))?;
    Some(&entry["Coord"])
}

/// Seconds between two places: their distance and heights, adjusted unless that makes it negative.
fn round_trip(a: &Value, b: &Value) -> f64 {
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let squared = |(x, y): (&Value, &Value)| (number(x) - number(y)).powi(2);
    let distance: f64 = items(&a["Vec"]).iter().zip(items(&b["Vec"])).map(squared).sum();
    let raw = distance.sqrt() + number(&a["Height"]) + number(&b["Height"]);
    let adjusted = raw + number(&a["Adjustment"]) + number(&b["Adjustment"]);
    if adjusted > 0.0 { adjusted } else { raw }
}

/// Flags of `event`.
#[derive(Debug, Args)]
pub struct Event {
    /// The event's name.
    #[arg(long)]
    name: String,
    /// Only nodes whose name matches this regular expression.
    #[arg(long)]
    node: Option<String>,
    /// Only nodes with a service whose name matches this regular expression.
    #[arg(long)]
    service: Option<String>,
    /// Only if a tag of that service matches this regular expression.
    #[arg(long, requires = "service")]
    tag: Option<String>,
    /// What the event carries: small.
    payload: Option<String>,
}

impl Event {
    /// Fires a user event.
    pub async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let ask = Ask::put(format!("/v1/event/fire/{}", self.name))
            .with_some("node", self.node)
            .with_some("service", self.service)
            .with_some("tag", self.tag)
            .body(self.payload.unwrap_or_default());
        let fired = console.client.json(ask).await?;
        if console.is_json() {
            return console.json(&fired);
        }
        console.line(format!("Event ID: {}", text(&fired, "ID")))
    }
}
