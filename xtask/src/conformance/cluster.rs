//! The servers of one case: one in memory, or three that elect a leader among them.
//!
//! Three are started as a person would start them: the first alone, the others joining it where it
//! says that gossip reaches it. A case may kill one of them (`cases/kill-leader.bash`); the others
//! have to be there when it is over.

use std::path::Path;
use std::time::{Duration, Instant};

use super::launch::{self, Server};

/// How long several servers may take to elect a leader.
const LED_WITHIN: Duration = Duration::from_secs(60);
const GLANCE: Duration = Duration::from_millis(50);

/// The servers; they end when this is dropped.
pub(super) struct Cluster {
    servers: Vec<Server>,
}

impl Cluster {
    /// Starts as many servers and waits until one leads; `scratch` is a folder of their own.
    pub(super) fn start(binary: &Path, scratch: &Path, n_servers: usize) -> Result<Self, String> {
        if n_servers == 1 {
            return Ok(Self { servers: vec![Server::start(binary, scratch)?] });
        }
        let mut servers: Vec<Server> = Vec::new();
        for at in 1..=n_servers {
            let name = format!("server-{at}");
            let folder = scratch.join(&name);
            std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
            let data = folder.join("data").display().to_string();
            let expected = n_servers.to_string();
            let mut arguments = vec!["agent", "--server", "--bootstrap-expect", &expected];
            arguments.extend(["--node", &name, "--data-dir", &data]);
            arguments.extend(["--bind", "127.0.0.1", "--client", "127.0.0.1"]);
            if let Some(first) = servers.first() {
                arguments.extend(["--retry-join", &first.gossip, "--retry-interval", "1s"]);
            }
            let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
            servers.push(Server::start_with(binary, &arguments, &folder)?);
        }
        let cluster = Self { servers };
        cluster.wait_until_led()?;
        Ok(cluster)
    }

    fn wait_until_led(&self) -> Result<(), String> {
        let started_at = Instant::now();
        let is_led = |server: &Server| {
            let answer = launch::ask(&server.http, "/v1/status/leader").unwrap_or_default();
            answer.contains(" 200 ") && !answer.trim_end().ends_with("\"\"")
        };
        while started_at.elapsed() < LED_WITHIN {
            if self.servers.iter().all(is_led) {
                return Ok(());
            }
            std::thread::sleep(GLANCE);
        }
        Err(format!("no server leads within {} s", LED_WITHIN.as_secs()))
    }

    /// The first server.
    pub(super) fn first(&self) -> &Server {
        &self.servers[0]
    }

    /// The addresses of all HTTP APIs, with spaces between.
    pub(super) fn addresses(&self) -> String {
        joined(self.servers.iter().map(|server| server.http.clone()))
    }

    /// The ids of all processes, in the same order.
    pub(super) fn processes(&self) -> String {
        joined(self.servers.iter().map(|server| server.process_id().to_string()))
    }

    /// Whether all are there that have to be: of several one may have been killed.
    pub(super) fn is_running(&mut self) -> bool {
        let n_servers = self.servers.len();
        let n_running =
            self.servers.iter_mut().filter_map(|own| own.is_running().then_some(())).count();
        n_running > n_servers / 2
    }

    /// Ends them as a person would.
    pub(super) fn stop(self) -> Result<(), String> {
        self.servers.into_iter().try_for_each(Server::stop)
    }
}

fn joined(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(" ")
}
