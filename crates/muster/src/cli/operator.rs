//! `muster operator`: the servers of the Raft group, autopilot, how much there is.

use clap::{Args, Subcommand};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::Failure;
use super::client::Ask;
use super::console::{Console, items, text};

/// Tools for the people who run the servers.
#[derive(Debug, Subcommand)]
pub enum Operator {
    /// The Raft group.
    #[command(subcommand)]
    Raft(Raft),
    /// The automatic care of the servers.
    #[command(subcommand)]
    Autopilot(Autopilot),
    /// How much is registered.
    #[command(subcommand)]
    Usage(Usage),
}

/// The Raft group.
#[derive(Debug, Subcommand)]
pub enum Raft {
    /// Its servers.
    ListPeers,
    /// Take a server that is gone out of it.
    RemovePeer {
        /// The server's id.
        #[arg(long, conflicts_with = "address")]
        id: Option<String>,
        /// The server's address, host:port.
        #[arg(long, required_unless_present = "id")]
        address: Option<String>,
    },
    /// Have another server lead.
    TransferLeader {
        /// Which; any if not given.
        #[arg(long)]
        id: Option<String>,
    },
}

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
    #[arg(long)]
    cleanup_dead_servers: Option<bool>,
    /// How long a server may go without contact to the leader.
    #[arg(long)]
    last_contact_threshold: Option<String>,
    /// How many entries a server may lag.
    #[arg(long)]
    max_trailing_logs: Option<u64>,
    /// The fewest voters that cleaning up leaves.
    #[arg(long)]
    min_quorum: Option<u64>,
    /// How long a new server must be healthy before it votes.
    #[arg(long)]
    server_stabilization_time: Option<String>,
}

/// How much is registered.
#[derive(Debug, Subcommand)]
pub enum Usage {
    /// Nodes, services and instances.
    Instances {
        /// In all datacenters.
        #[arg(long)]
        all_datacenters: bool,
    },
}

impl Operator {
    /// Does what was asked.
    pub async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        match self {
            Operator::Raft(raft) => raft.run(console).await,
            Operator::Autopilot(autopilot) => autopilot.run(console).await,
            Operator::Usage(Usage::Instances { all_datacenters }) => {
                usage(all_datacenters, console).await
            }
        }
    }
}

impl Raft {
    async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        match self {
            Raft::ListPeers => list_peers(console).await,
            Raft::RemovePeer { id, address } => {
                let (kind, peer) = match (id, address) {
                    (Some(id), _) => ("id", id),
                    (None, address) => ("address", address.unwrap_or_default()),
                };
                let ask = Ask::new(Method::DELETE, "/v1/operator/raft/peer").with(kind, &peer);
                console.client.done(ask).await?;
                console.line(format!("Removed peer with {kind} {peer:?}"))
            }
            Raft::TransferLeader { id } => {
                let ask = Ask::new(Method::POST, "/v1/operator/raft/transfer-leader");
                console.client.done(ask.with_some("id", id)).await?;
                console.line("Success")
            }
        }
    }
}

async fn list_peers(console: &mut Console<'_>) -> Result<(), Failure> {
    let group = console.client.json(Ask::get("/v1/operator/raft/configuration")).await?;
    if console.is_json() {
        return console.json(&group["Servers"]);
    }
    let servers = items(&group["Servers"]);
    let index = |server: &Value| server["LastIndex"].as_u64().unwrap_or(0);
    let leader = servers.iter().find(|server| server["Leader"] == true).map_or(0, index);
    let row = |server: &Value| {
        let is_leader = server["Leader"] == true;
        let trails = match (is_leader, leader.saturating_sub(index(server))) {
            (true, _) => "-".to_owned(),
            (false, 1) => "1 commit".to_owned(),
            (false, n) => format!("{n} commits"),
        };
        vec![
            text(server, "Node"),
            text(server, "ID"),
            text(server, "Address"),
            if is_leader { "leader" } else { "follower" }.to_owned(),
            text(server, "Voter"),
            text(server, "ProtocolVersion"),
            index(server).to_string(),
            trails,
        ]
    };
    let head = [
        "Node",
        "ID",
        "Address",
        "State",
        "Voter",
        "RaftProtocol",
        "Commit Index",
        "Trails Leader By",
    ];
    console.table(&head, servers.iter().map(row).collect())
}

impl Autopilot {
    async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let path = "/v1/operator/autopilot/configuration";
        match self {
            Autopilot::GetConfig => {
                let told = console.client.json(Ask::get(path)).await?;
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
                Ok(())
            }
            Autopilot::SetConfig(config) => {
                let told = console.client.json(Ask::get(path)).await?;
                let index = text(&told, "ModifyIndex");
                let mut told = told.as_object().cloned().unwrap_or_default();
                config.overrule(&mut told);
                let body = Value::Object(told).to_string();
                let ask = Ask::put(path).with("cas", index).body(body);
                if console.client.json(ask).await?.as_bool().unwrap_or(true) {
                    console.line("Configuration updated!")
                } else {
                    Err(Failure::new(
                        "Configuration could not be atomically updated, please try again",
                    ))
                }
            }
            Autopilot::State => autopilot_state(console).await,
        }
    }
}

impl SetConfig {
    fn overrule(self, told: &mut Map<String, Value>) {
        let given = [
            ("CleanupDeadServers", self.cleanup_dead_servers.map(|value| json!(value))),
            ("LastContactThreshold", self.last_contact_threshold.map(|value| json!(value))),
            ("MaxTrailingLogs", self.max_trailing_logs.map(|value| json!(value))),
            ("MinQuorum", self.min_quorum.map(|value| json!(value))),
            ("ServerStabilizationTime", self.server_stabilization_time.map(|value| json!(value))),
        ];
        for (name, value) in given {
            if let Some(value) = value {
                told.insert(name.to_owned(), value);
            }
        }
    }
}

async fn autopilot_state(console: &mut Console<'_>) -> Result<(), Failure> {
    let reply = console.client.send(Ask::get("/v1/operator/autopilot/state")).await?;
    // 429 says that it is not healthy, with the state all the same.
    if !reply.status.is_success() && reply.status != StatusCode::TOO_MANY_REQUESTS {
        return Err(console.client.refused(&reply));
    }
    let state = reply.json()?;
    if console.is_json() {
        return console.json(&state);
    }
    console.line(format!("Healthy:                      {}", text(&state, "Healthy")))?;
    console.line(format!("Failure Tolerance:            {}", text(&state, "FailureTolerance")))?;
    console.line(format!("Leader:                       {}", text(&state, "Leader")))?;
    console.line("Voters:")?;
    for voter in items(&state["Voters"]) {
        console.line(format!("   {}", voter.as_str().unwrap_or_default()))?;
    }
    console.line("Servers:")?;
    for (id, server) in state["Servers"].as_object().into_iter().flatten() {
        console.line(format!("   {id}"))?;
        for name in ["Name", "Address", "Version", "Status", "NodeStatus", "Healthy", "LastIndex"] {
            console.line(format!("      {:<17}{}", format!("{name}:"), text(server, name)))?;
        }
    }
    Ok(())
}

async fn usage(is_global: bool, console: &mut Console<'_>) -> Result<(), Failure> {
    let ask = Ask::get("/v1/operator/usage").flag("global", is_global);
    let usage = console.client.json(ask).await?;
    if console.is_json() {
        return console.json(&usage["Usage"]);
    }
    let row = |(datacenter, counts): (&String, &Value)| {
        let count = |name| text(counts, name);
        vec![datacenter.clone(), count("Nodes"), count("Services"), count("ServiceInstances")]
    };
    let rows = usage["Usage"].as_object().into_iter().flatten().map(row).collect();
    console.table(&["Datacenter", "Nodes", "Services", "Instances"], rows)
}
