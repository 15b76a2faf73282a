//! One server for one case: started in memory on ports of its own, gone when the case is over.
//!
//! Our binary is told to take any free port and to write what it bound into a ready file. A real
//! Consul knows neither, so it is given ports that were free a moment ago and is asked over HTTP
//! until it has a leader.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{self, Group};

/// How long a server may take to be ready; a real Consul takes some seconds, and a busy machine more.
const READY_WITHIN: Duration = Duration::from_secs(90);
const GLANCE: Duration = Duration::from_millis(20);
/// The file in which our binary says where it listens, and that of its words.
const READY: &str = "ready.json";
const LOG: &str = "server.log";
/// The ports that an agent binds, as its flags name them.
const PORTS: &[&str] = &["http", "dns", "grpc", "grpc-tls", "server", "serf-lan", "serf-wan"];

/// A running server; it ends when this is dropped.
pub(crate) struct Server {
    /// Address of its HTTP API, `127.0.0.1:PORT`.
    pub(crate) http: String,
    /// Address of its DNS server.
    pub(super) dns: String,
    /// Address of Eureka's own port; empty where there is none.
    pub(super) eureka: String,
    /// Where gossip reaches it; empty where it does not say.
    pub(super) gossip: String,
    group: Group,
}

impl Server {
    /// Starts the binary in memory and waits until it serves; `scratch` is a folder of its own.
    pub(super) fn start(binary: &Path, scratch: &Path) -> Result<Self, String> {
        if is_consul(binary) {
            Self::start_consul(binary, scratch)
        } else {
            Self::start_muster(binary, scratch)
        }
    }

    fn start_muster(binary: &Path, scratch: &Path) -> Result<Self, String> {
        let arguments = ["agent", "--dev", "--enable-script-checks"].map(str::to_owned);
        Self::start_with(binary, &arguments, scratch)
    }

    /// Starts our binary with these arguments, on any free ports, and waits until it serves.
    pub(crate) fn start_with(
        binary: &Path,
        arguments: &[String],
        scratch: &Path,
    ) -> Result<Self, String> {
        let (ready, log) = (scratch.join(READY), scratch.join(LOG));
        let mut group = Self::launch(binary, arguments, scratch)?;
        let text = wait_for(&mut group, &log, || {
            let text = std::fs::read_to_string(&ready).ok()?;
            serde_json::from_str::<Value>(&text).ok()
        })?;
        let address = |name: &str| {
            let found = text[name].as_str().map(str::to_owned);
            found.ok_or_else(|| format!("the ready file names no {name} address: {text}"))
        };
        let eureka = address("eureka").unwrap_or_default();
        let gossip = address("serf_lan").unwrap_or_default();
        Ok(Self { http: address("http")?, dns: address("dns")?, eureka, gossip, group })
    }

    /// Starts our binary with these arguments, and does not wait until it serves.
    pub(crate) fn launch(
        binary: &Path,
        arguments: &[String],
        scratch: &Path,
    ) -> Result<Group, String> {
        let ready = scratch.join(READY);
        // What a killed server left would say that this one serves already.
        let _was_not_there = std::fs::remove_file(&ready);
        let mut command = Command::new(binary);
        command.args(arguments).arg("--ready-file").arg(&ready);
        for flag in PORTS.iter().chain(&["eureka"]) {
            command.arg(format!("--{flag}-port=0"));
        }
        Group::start(&mut command, &scratch.join(LOG)).map_err(|error| error.to_string())
    }

    fn start_consul(binary: &Path, scratch: &Path) -> Result<Self, String> {
        let ports = free_ports(PORTS.len())?;
        let log = scratch.join(LOG);
        let mut command = Command::new(binary);
        command.args(["agent", "-dev", "-node", "muster-test", "-enable-script-checks"]);
        command.args(["-bind", "127.0.0.1", "-hcl", "performance { raft_multiplier = 1 }"]);
        for (flag, port) in PORTS.iter().zip(&ports) {
            command.arg(format!("-{flag}-port={port}"));
        }
        let mut group = Group::start(&mut command, &log).map_err(|error| error.to_string())?;
        let http = format!("127.0.0.1:{}", ports[0]);
        wait_for(&mut group, &log, || {
            ask(&http, "/v1/catalog/nodes").filter(|answer| answer.contains("muster-test"))
        })?;
        let dns = format!("127.0.0.1:{}", ports[1]);
        Ok(Self { http, dns, eureka: String::new(), gossip: String::new(), group })
    }

    /// Whether the server is still there: a client may not bring it down.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.group.ended(), Ok(None))
    }

    /// The id of its process.
    pub(super) fn process_id(&self) -> u32 {
        self.group.id()
    }

    /// Ends the server with SIGKILL, and waits until it is gone.
    pub(crate) fn kill(self) {
        drop(self.group);
    }

    /// Ends the server as a person would.
    pub(super) fn stop(self) -> Result<(), String> {
        match self.group.interrupt() {
            Ok(process::Ending::Exited(_)) => Ok(()),
            Ok(process::Ending::TimedOut) => Err("the server does not end on SIGINT".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Whether the binary says of itself that it is Consul.
fn is_consul(binary: &Path) -> bool {
    let said = Command::new(binary).arg("version").output();
    said.is_ok_and(|said| said.stdout.starts_with(b"Consul v"))
}

fn wait_for<T>(
    group: &mut Group,
    log: &Path,
    mut ready: impl FnMut() -> Option<T>,
) -> Result<T, String> {
    let started_at = Instant::now();
    while started_at.elapsed() < READY_WITHIN {
        if let Some(found) = ready() {
            return Ok(found);
        }
        if let Ok(Some(status)) = group.ended() {
            let said = process::tail(log, 20);
            return Err(format!("the server ended before it was ready ({status}):\n{said}"));
        }
        std::thread::sleep(GLANCE);
    }
    let said = process::tail(log, 20);
    Err(format!("the server was not ready within {} s:\n{said}", READY_WITHIN.as_secs()))
}

/// Ports that nobody listens on, held together while they are chosen so that they differ.
fn free_ports(n_ports: usize) -> Result<Vec<u16>, String> {
    let held: Result<Vec<TcpListener>, _> =
        (0..n_ports).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
    let held = held.map_err(|error| error.to_string())?;
    held.iter()
        .map(|listener| listener.local_addr().map(|address| address.port()))
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())
}

/// The whole answer to a GET, or nothing if there is no server yet.
pub(super) fn ask(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(READY_WITHIN)).ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn chosen_ports_differ() {
        let mut ports = free_ports(PORTS.len()).expect("loopback has ports");
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), PORTS.len());
    }

    fn scratch(name: &str) -> PathBuf {
        let scratch = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&scratch).expect("a scratch folder");
        scratch
    }

    #[test]
    fn a_server_is_ready_when_its_ready_file_says_where_it_listens() {
        let scratch = scratch("ready");
        let stand_in = Path::new(env!("CARGO_MANIFEST_DIR"));
        let stand_in = stand_in.join("src/conformance/launch/stand-in.sh");
        let mut server = Server::start(&stand_in, &scratch).expect("the stand-in is ready");
        assert_eq!((server.http.as_str(), server.dns.as_str()), ("127.0.0.1:1", "127.0.0.1:2"));
        assert!(server.is_running());
        server.stop().expect("it ends when interrupted");
        std::fs::remove_dir_all(&scratch).expect("the scratch folder is there");
    }

    #[test]
    fn a_server_that_ends_early_is_reported_with_its_words() {
        let scratch = scratch("early");
        let failed = Server::start(Path::new("/bin/false"), &scratch).err();
        assert!(failed.expect("false is no server").contains("ended before it was ready"));
        std::fs::remove_dir_all(&scratch).expect("the scratch folder is there");
    }
}
