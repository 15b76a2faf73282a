//! The workloads, one file each, and what they share.

mod discover;
mod dns;
mod fleet;
mod idle;
mod start;
mod wake;
mod write;

use std::path::PathBuf;
use std::pin::Pin;

use crate::report::Row;
use crate::server::Server;
use crate::{Result, server};

/// What a run is told.
pub(crate) struct Setting {
    /// The binary of muster.
    pub(crate) muster: PathBuf,
    /// Rounds of each contestant.
    pub(crate) rounds: usize,
}

impl Default for Setting {
    fn default() -> Setting {
        Setting { muster: "target/release/muster".into(), rounds: 5 }
    }
}

/// A workload by its name.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) says: &'static str,
    pub(crate) run: for<'a> fn(&'a Setting) -> Running<'a>,
}

/// A workload under way.
pub(crate) type Running<'a> = Pin<Box<dyn Future<Output = Result<Vec<Row>>> + 'a>>;

/// All of them, in the order of the table.
pub(crate) const ALL: &[Workload] = &[
    Workload { name: "start", says: start::SAYS, run: |setting| Box::pin(start::run(setting)) },
    Workload { name: "idle", says: idle::SAYS, run: |setting| Box::pin(idle::run(setting)) },
    Workload {
        name: "discover",
        says: discover::SAYS,
        run: |setting| Box::pin(discover::run(setting)),
    },
    Workload { name: "dns", says: dns::SAYS, run: |setting| Box::pin(dns::run(setting)) },
    Workload { name: "write", says: write::SAYS, run: |setting| Box::pin(write::run(setting)) },
    Workload { name: "wake", says: wake::SAYS, run: |setting| Box::pin(wake::run(setting)) },
    Workload { name: "fleet", says: fleet::SAYS, run: |setting| Box::pin(fleet::run(setting)) },
];

impl Setting {
    /// Starts muster with its state on disk in a new folder.
    pub(crate) async fn start_muster(&self) -> Result<Server> {
        self.start_muster_on(server::data_folder()?).await
    }

    /// Starts muster on a folder.
    pub(crate) async fn start_muster_on(&self, folder: PathBuf) -> Result<Server> {
        let mut arguments: Vec<String> = vec!["agent".into()];
        let options = [
            ("--data-dir", folder.display().to_string()),
            ("--http-port", "0".into()),
            ("--dns-port", "0".into()),
            ("--server-port", "0".into()),
            ("--serf-lan-port", "0".into()),
            ("--serf-wan-port", "0".into()),
            ("--log-level", "warn".into()),
            ("--node", "bench".into()),
            ("--bind", "127.0.0.1".into()),
            // All watchers of a bench come from one address.
            ("--hcl", "limits { http_max_conns_per_client = 100000 }".into()),
        ];
        arguments.push("--bootstrap".into());
        for (name, value) in options {
            arguments.extend([name.into(), value]);
        }
        Server::start(&self.muster, &arguments, Some(folder)).await
    }

    /// Starts a floor of this bench.
    pub(crate) async fn start_floor(&self, arguments: &[&str]) -> Result<Server> {
        let own = std::env::current_exe()?;
        let mut words = vec!["floor".to_string()];
        words.extend(arguments.iter().map(ToString::to_string));
        Server::start(&own, &words, None).await
    }
}

/// The catalog registration of instance `number` of `service`, on a node of its own.
pub(crate) fn registration(service: &str, number: usize) -> String {
    serde_json::json!({
        "Node": format!("node-{number}"),
        "Address": format!("10.{}.{}.{}", number / 65_536, number / 256 % 256, number % 256),
        "Service": {
            "ID": format!("{service}-{number}"),
            "Service": service,
            "Tags": ["v1", "primary"],
            "Meta": { "version": "1.0", "zone": "a" },
            "Port": 8000 + number % 1000,
        },
        "Check": {
            "Node": format!("node-{number}"),
            "CheckID": format!("service:{service}-{number}"),
            "Name": format!("Service '{service}' check"),
            "Status": "passing",
            "ServiceID": format!("{service}-{number}"),
            "Output": "HTTP GET http://127.0.0.1:8000/health: 200 OK Output: well.....",
        },
    })
    .to_string()
}
