//! Commands about the agent itself: reload, maintenance, info, monitor, events, round-trip times.

use clap::Args;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::Failure;
use super::client::{Ask, Client};
use super::console::{Console, items, text};

/// Has the agent read its configuration again.
pub async fn reload(console: &mut Console<'_>) -> Result<(), Failure> {
    let reply = console.client.done(Ask::put("/v1/agent/reload")).await?;
    console.line("Configuration reload triggered")?;
    for remark in String::from_utf8_lossy(&reply.body).lines() {
        console.line(format!("warning: {remark}"))?;
    }
    Ok(())
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
        let other = match self.other {
            Some(other) => other,
            None => own_name(&client, self.wan).await?,
        };
        let (path, pool) = match self.wan {
            true => ("/v1/coordinate/datacenters", "WAN"),
            false => ("/v1/coordinate/nodes", "LAN"),
        };
        let map = client.json(Ask::get(path)).await?;
        let (here, there) = (places(&map, &self.node, self.wan)?, places(&map, &other, self.wan)?);
        // Two places can be compared only if they are of one segment.
        let both = here.iter().find_map(|(segment, a)| {
            there.iter().find(|(own, _)| own == segment).map(|(_, b)| (*a, *b))
        });
        let Some((a, b)) = both else {
            let missing = if here.is_empty() { &self.node } else { &other };
            return Err(Failure::new(format!("Could not find a coordinate for node {missing:?}")));
        };
        let milliseconds = round_trip(a, b) * 1000.0;
        if console.is_json() {
            return console.json(&json!({
                "Nodes": [self.node, other],
                "Milliseconds": milliseconds,
                "Pool": pool,
            }));
        }
        console.line(format!(
            "Estimated {} <-> {other} rtt: {milliseconds:.3} ms (using {pool} coordinates)",
            self.node
        ))
    }
}

/// The agent's own name on a map.
async fn own_name(client: &Client, is_wan: bool) -> Result<String, Failure> {
    let about = client.json(Ask::get("/v1/agent/self")).await?;
    let name = text(&about["Config"], "NodeName");
    let datacenter = text(&about["Config"], "Datacenter");
    Ok(if is_wan { format!("{name}.{datacenter}") } else { name })
}

/// The places of a node by segment.
fn places<'a>(
    map: &'a Value,
    node: &str,
    is_wan: bool,
) -> Result<Vec<(String, &'a Value)>, Failure> {
    let of = |entries: &'a Value, name: &str| {
        let own = items(entries).iter().filter(|own| text(own, "Node").eq_ignore_ascii_case(name));
        own.map(|own| (text(own, "Segment"), &own["Coord"])).collect()
    };
    if !is_wan {
        return Ok(of(map, node));
    }
    let Some((name, datacenter)) = node.rsplit_once('.') else {
        let text = "Node names must be specified as <node name>.<datacenter> with -wan";
        return Err(Failure::new(text));
    };
    let area = items(map).iter().find(|area| text(area, "Datacenter") == datacenter);
    Ok(area.map_or(Vec::new(), |area| of(&area["Coordinates"], name)))
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
