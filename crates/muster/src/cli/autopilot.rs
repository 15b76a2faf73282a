//! `muster operator autopilot`: what the automatic care of the servers is told, and how it sees
//! them.

use std::fmt::Write;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::Failure;
use super::client::Ask;
use super::console::{Console, items, text};

const CONFIGURATION: &str = "/v1/operator/autopilot/configuration";

/// The automatic care of the servers.
#[derive(Debug, Subcommand)]
pub enum Autopilot {
    /// What it is told.
    GetConfig,
    /// Tell it.
    SetConfig(SetConfig),
    /// How it sees the servers.
    State,
}

/// Flags of `operator autopilot set-config`.
#[derive(Debug, Args)]
pub struct SetConfig {
    /// Remove a failed server's vote once a new server joins.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    cleanup_dead_servers: Option<bool>,
    /// How long a server may go without contact to the leader.
    #[arg(long, value_name = "DURATION")]
    last_contact_threshold: Option<String>,
    /// How many entries a server may lag.
    #[arg(long, value_name = "N")]
    max_trailing_logs: Option<u64>,
    /// The fewest voters that cleaning up leaves.
    #[arg(long, value_name = "N")]
    min_quorum: Option<u64>,
    /// How long a new server must be healthy before it votes.
    #[arg(long, value_name = "DURATION")]
    server_stabilization_time: Option<String>,
    /// Consul's enterprise edition has zones: kept, without effect.
    #[arg(long, hide = true)]
    redundancy_zone_tag: Option<String>,
    /// Consul's enterprise edition has migrations: kept, without effect.
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    disable_upgrade_migration: Option<bool>,
    /// Consul's enterprise edition has migrations: kept, without effect.
    #[arg(long, hide = true)]
    upgrade_version_tag: Option<String>,
}

impl Autopilot {
    /// Does what was asked.
    pub async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        match self {
            Autopilot::GetConfig => show(console).await,
            Autopilot::SetConfig(config) => config.run(console).await,
            Autopilot::State => state(console).await,
        }
    }
}

async fn told(console: &Console<'_>) -> Result<Value, Failure> {
    let told = console.client.json(Ask::get(CONFIGURATION)).await;
    told.map_err(|failure| failure.within("Error querying Autopilot configuration"))
}

async fn show(console: &mut Console<'_>) -> Result<(), Failure> {
    let told = told(console).await?;
    if console.is_json() {
        return console.json(&told);
    }
    for name in [
        "CleanupDeadServers",
        "LastContactThreshold",
        "MaxTrailingLogs",
        "MinQuorum",
        "ServerStabilizationTime",
    ] {
        console.line(format!("{name} = {}", text(&told, name)))?;
    }
    console.line(format!("RedundancyZoneTag = {:?}", text(&told, "RedundancyZoneTag")))?;
    console
        .line(format!("DisableUpgradeMigration = {}", text(&told, "DisableUpgradeMigration")))?;
    console.line(format!("UpgradeVersionTag = {:?}", text(&told, "UpgradeVersionTag")))
}

impl SetConfig {
    /// Changes what was given, unless somebody else changed it meanwhile.
    async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let told = told(console).await?;
        let index = text(&told, "ModifyIndex");
        let mut told = told.as_object().cloned().unwrap_or_default();
        self.overrule(&mut told);
        let body = Value::Object(told).to_string();
        let ask = Ask::put(CONFIGURATION).with("cas", index).body(body);
        let set = console.client.json(ask).await;
        let set = set.map_err(|failure| failure.within("Error setting Autopilot configuration"))?;
        if set.as_bool().unwrap_or(true) {
            return console.line("Configuration updated!");
        }
        Err(Failure::new("Configuration could not be atomically updated, please try again"))
    }

    fn overrule(self, told: &mut Map<String, Value>) {
        let given = [
            ("CleanupDeadServers", self.cleanup_dead_servers.map(|value| json!(value))),
            ("LastContactThreshold", self.last_contact_threshold.map(|value| json!(value))),
            ("MaxTrailingLogs", self.max_trailing_logs.map(|value| json!(value))),
            ("MinQuorum", self.min_quorum.map(|value| json!(value))),
            ("ServerStabilizationTime", self.server_stabilization_time.map(|value| json!(value))),
            ("RedundancyZoneTag", self.redundancy_zone_tag.map(|value| json!(value))),
            ("DisableUpgradeMigration", self.disable_upgrade_migration.map(|value| json!(value))),
            ("UpgradeVersionTag", self.upgrade_version_tag.map(|value| json!(value))),
        ];
        for (name, value) in given {
            if let Some(value) = value {
                told.insert(name.to_owned(), value);
            }
        }
    }
}

async fn state(console: &mut Console<'_>) -> Result<(), Failure> {
    let state = console.client.json(Ask::get("/v1/operator/autopilot/state")).await;
    let state = state.map_err(|failure| failure.within("Error querying Autopilot state"))?;
    if console.is_json() {
        return console.json(&state);
    }
    for name in ["Healthy", "FailureTolerance", "OptimisticFailureTolerance", "Leader"] {
        console.line(format!("{:<30}{}", spaced(name) + ":", text(&state, name)))?;
    }
    console.line("Voters:")?;
    for voter in items(&state["Voters"]) {
        console.line(format!("   {}", voter.as_str().unwrap_or_default()))?;
    }
    console.line("Servers:")?;
    for (id, server) in state["Servers"].as_object().into_iter().flatten() {
        console.bytes(shown(id, server).as_bytes())?;
    }
    Ok(())
}

fn shown(id: &str, server: &Value) -> String {
    let mut shown = format!("   {id}\n");
    for name in [
        "Name",
        "Address",
        "Version",
        "Status",
        "NodeType",
        "NodeStatus",
        "Healthy",
        "LastContact",
        "LastTerm",
        "LastIndex",
    ] {
        writeln!(shown, "      {:<17}{}", spaced(name) + ":", text(server, name))
            .expect("a String takes all text");
    }
    let meta = server["Meta"].as_object().filter(|meta| !meta.is_empty());
    if let Some(meta) = meta {
        shown.push_str("      Meta\n");
        for (key, value) in meta {
            let value = value.as_str().unwrap_or_default();
            writeln!(shown, "         {key:?}: {value:?}").expect("a String takes all text");
        }
    }
    shown
}

/// `NodeType` as `Node Type`.
fn spaced(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter);
    }
    words
}
