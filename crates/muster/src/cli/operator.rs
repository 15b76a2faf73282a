//! `muster operator`: the servers of the Raft group, how much there is. Autopilot has a file of its
//! own.

use clap::Subcommand;
use http::Method;
use serde_json::Value;

use super::Failure;
use super::autopilot::Autopilot;
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
    /// Make the stopped server of a data folder the only voter, when the others are lost for good.
    ///
    /// Everything in its log takes effect, whether it was known to be decided or not. The lost
    /// servers must never be started again with their old data folders. Afterwards start the agent
    /// as usual, and let new servers join it.
    Rescue {
        /// The data folder of the server that is left; its agent must be stopped.
        #[arg(long)]
        data_dir: std::path::PathBuf,
    },
    /// Have another server lead.
    TransferLeader {
        /// Which; any if not given.
        #[arg(long)]
        id: Option<String>,
    },
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
                let done = console.client.done(ask).await;
                done.map_err(|failure| failure.within("Error removing peer"))?;
                console.line(format!("Removed peer with {kind} {peer:?}"))
            }
            Raft::Rescue { data_dir } => {
                let last = crate::identity::rescue(&data_dir).await.map_err(Failure::new)?;
                console.line(format!(
                    "The server of {} is the only voter now, with everything up to index {last}. \
                     Start it, and let new servers join it; never start the lost ones with their \
                     old data folders.",
                    data_dir.display()
                ))
            }
            Raft::TransferLeader { id } => {
                let ask = Ask::new(Method::POST, "/v1/operator/raft/transfer-leader");
                let done = console.client.done(ask.with_some("id", id)).await;
                done.map_err(|failure| failure.within("Error transfering leadership"))?;
                console.line("Success")
            }
        }
    }
}

async fn list_peers(console: &mut Console<'_>) -> Result<(), Failure> {
    let group = console.client.json(Ask::get("/v1/operator/raft/configuration")).await;
    let group = group.map_err(|failure| failure.within("Error getting peers"))?;
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
