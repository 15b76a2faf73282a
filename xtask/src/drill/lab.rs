//! The servers of one cluster, each a process of its own, as a drill starts and ends them.
//!
//! Every server has a loopback address of its own (127.64.0.0/10, told apart by the process of the
//! drill), takes any free ports there at its first start, and the same ports at every later one:
//! nobody else listens or dials on that address, so they are still free. To clients a server is a
//! [`Door`], which the drill closes before it does something to the server, and opens again when
//! the server has caught up and votes.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::connection::Connection;
use super::fleet::{items, told};
use crate::process::{self, Group};

/// How long a server may take until it listens.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long a cluster may take until all its servers vote and have caught up.
const WHOLE_WITHIN: Duration = Duration::from_secs(90);
/// How long a server may take to end when it was asked to.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
/// How long the drill's own questions may go without an answer.
const SILENCE_MAX: Duration = Duration::from_secs(10);
const GLANCE: Duration = Duration::from_millis(10);
/// The listeners of a server: the names of their flags and of their lines in the ready file.
const LISTENERS: [(&str, &str); 5] = [
    ("http", "http"),
    ("dns", "dns"),
    ("server", "server"),
    ("serf-lan", "serf_lan"),
    ("serf-wan", "serf_wan"),
];

/// Where clients find a server.
pub(super) struct Door {
    pub(super) http: String,
    pub(super) dns: String,
    /// Odd while clients may count on the server; moves with every opening and closing.
    epoch: AtomicU64,
}

impl Door {
    pub(super) fn is_open(&self) -> bool {
        !self.epoch().is_multiple_of(2)
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    fn set_open(&self, opens: bool) {
        if self.is_open() != opens {
            self.epoch.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// An address of this machine from which the server is reached.
    pub(super) fn local_host(&self) -> &str {
        if self.dns.starts_with("127.") { "127.0.0.1" } else { "0.0.0.0" }
    }
}

/// How the servers of a lab are started.
pub(super) struct Plan {
    /// The address that each server binds; as many as there are servers.
    pub(super) hosts: Vec<String>,
    /// The address at which each serves clients.
    pub(super) client_hosts: Vec<String>,
    /// What stands before the binary on each command line; nothing for most.
    pub(super) prefixes: Vec<Vec<String>>,
    /// Where each server keeps its data.
    pub(super) data: Vec<PathBuf>,
    /// Further flags of all.
    pub(super) flags: Vec<String>,
}

impl Plan {
    /// Three servers with default settings.
    pub(super) fn usual(scratch: &Path) -> Self {
        let drill = std::process::id();
        let (high, low) = (64 + (drill >> 8) % 64, drill % 256);
        let hosts: Vec<String> = (1..=3).map(|n| format!("127.{high}.{low}.{n}")).collect();
        Self {
            prefixes: vec![Vec::new(); hosts.len()],
            data: (1..=hosts.len()).map(|n| scratch.join(format!("data-{n}"))).collect(),
            client_hosts: hosts.clone(),
            hosts,
            flags: Vec::new(),
        }
    }
}

/// A cluster of servers.
pub(super) struct Lab {
    pub(super) doors: Arc<Vec<Door>>,
    binary: PathBuf,
    scratch: PathBuf,
    plan: Plan,
    seats: Vec<Seat>,
}

/// A server, running or not.
#[derive(Default)]
struct Seat {
    /// The addresses it bound at its first start, in the order of [`LISTENERS`].
    bound: Vec<String>,
    process: Option<Group>,
    n_starts: usize,
}

// ------------------------------------------------------------------------------------------------
// Starting and ending
// ------------------------------------------------------------------------------------------------

impl Lab {
    /// Starts all servers and waits until they are one cluster.
    pub(super) fn found(binary: &Path, scratch: &Path, plan: Plan) -> Result<Self, String> {
        let seats = plan.hosts.iter().map(|_| Seat::default()).collect();
        let mut lab = Self {
            doors: Arc::default(),
            binary: binary.to_owned(),
            scratch: scratch.to_owned(),
            plan,
            seats,
        };
        let mut doors = Vec::new();
        for at in 0..lab.seats.len() {
            lab.start_unopened(at)?;
            let bound = &lab.seats[at].bound;
            let (http, dns) = (bound[0].clone(), bound[1].clone());
            doors.push(Door { http, dns, epoch: AtomicU64::new(0) });
        }
        lab.doors = Arc::new(doors);
        lab.until_whole()?;
        Ok(lab)
    }

    /// Starts a server that is not running, and waits until it listens. Its door stays closed until
    /// the cluster is whole.
    pub(super) fn start_unopened(&mut self, at: usize) -> Result<(), String> {
        self.launch(at)?;
        let started_at = Instant::now();
        let ready = self.ready_file(at);
        loop {
            if let Ok(text) = std::fs::read_to_string(&ready)
                && let Ok(told) = serde_json::from_str::<Value>(&text)
            {
                let address = |name: &str| told[name].as_str().map(str::to_owned);
                let bound = LISTENERS.iter().map(|(_, name)| address(name)).collect();
                let bound: Option<Vec<String>> = bound;
                self.seats[at].bound =
                    bound.ok_or_else(|| format!("the ready file lacks an address: {text}"))?;
                return Ok(());
            }
            if let Some(status) = self.ended(at)? {
                let words = self.words(at);
                return Err(format!("server {} did not start ({status}):\n{words}", at + 1));
            }
            if started_at.elapsed() > READY_WITHIN {
                let words = self.words(at);
                return Err(format!(
                    "server {} is not ready in {READY_WITHIN:?}:\n{words}",
                    at + 1
                ));
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Starts a server and does not wait.
    pub(super) fn launch(&mut self, at: usize) -> Result<(), String> {
        let ready = self.ready_file(at);
        // What an ended server left would say that this one serves already.
        let _was_not_there = std::fs::remove_file(&ready);
        self.seats[at].n_starts += 1;
        let line: Vec<String> = self.plan.prefixes[at]
            .iter()
            .cloned()
            .chain([self.binary.display().to_string()])
            .chain(self.arguments(at))
            .chain(["--ready-file".to_owned(), ready.display().to_string()])
            .collect();
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]);
        let started = Group::start(&mut command, &self.log(at));
        self.seats[at].process = Some(started.map_err(|error| format!("{}: {error}", line[0]))?);
        Ok(())
    }

    fn arguments(&self, at: usize) -> Vec<String> {
        let (seat, host) = (&self.seats[at], &self.plan.hosts[at]);
        let n_servers = self.seats.len();
        let mut line = vec![
            "agent".to_owned(),
            "--server".to_owned(),
            format!("--bootstrap-expect={n_servers}"),
            format!("--node=server-{}", at + 1),
            format!("--bind={host}"),
            format!("--client={}", self.plan.client_hosts[at]),
            format!("--data-dir={}", self.plan.data[at].display()),
            "--grpc-port=-1".to_owned(),
            "--retry-interval=1s".to_owned(),
        ];
        for (place, (flag, _)) in LISTENERS.iter().enumerate() {
            let port = seat.bound.get(place).and_then(|bound| bound.rsplit_once(':'));
            line.push(format!("--{flag}-port={}", port.map_or("0", |(_, port)| port)));
        }
        let others = self.seats.iter().enumerate().filter(|(other, _)| *other != at);
        let joined = others.filter_map(|(_, other)| other.bound.get(3));
        line.extend(joined.map(|address| format!("--retry-join={address}")));
        line.extend(self.plan.flags.iter().cloned());
        line
    }

    /// Ends a server with SIGKILL, and waits until it is gone.
    pub(super) fn kill(&mut self, at: usize) {
        self.close(at);
        self.seats[at].process = None;
    }

    /// Asks a server to end by SIGTERM and waits for it.
    pub(super) fn terminate(&mut self, at: usize) -> Result<ExitStatus, String> {
        self.close(at);
        self.signal(at, Signal::TERM);
        self.until_ended(at)
    }

    /// Waits until a server that is about to end has ended.
    pub(super) fn until_ended(&mut self, at: usize) -> Result<ExitStatus, String> {
        let mut process =
            self.seats[at].process.take().ok_or_else(|| format!("server {} is down", at + 1))?;
        let ended = process.ends_within(ENDS_WITHIN).map_err(|error| error.to_string())?;
        let words = self.words(at);
        ended.ok_or_else(|| format!("server {} does not end:\n{words}", at + 1))
    }

    /// How a server ended, if it has.
    pub(super) fn ended(&mut self, at: usize) -> Result<Option<ExitStatus>, String> {
        match &mut self.seats[at].process {
            Some(process) => process.ended().map_err(|error| error.to_string()),
            None => Ok(None),
        }
    }

    pub(super) fn signal(&self, at: usize, signal: Signal) {
        if let Some(process) = &self.seats[at].process {
            process.signal(signal);
        }
    }

    /// From now on clients leave the server alone.
    pub(super) fn close(&self, at: usize) {
        if let Some(door) = self.doors.get(at) {
            door.set_open(false);
        }
    }

    /// From now on clients count on the server.
    pub(super) fn open(&self, at: usize) {
        self.doors[at].set_open(true);
    }

    pub(super) fn data(&self, at: usize) -> &Path {
        &self.plan.data[at]
    }

    /// The last words of a server.
    pub(super) fn words(&self, at: usize) -> String {
        process::tail(&self.log(at), 20)
    }

    /// Servers that were started and have not been ended.
    pub(super) fn running(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.seats.len()).filter(|at| self.seats[*at].process.is_some())
    }

    pub(super) fn n_servers(&self) -> usize {
        self.seats.len()
    }

    fn ready_file(&self, at: usize) -> PathBuf {
        self.scratch.join(format!("ready-{}.json", at + 1))
    }

    /// Every start has a log of its own.
    fn log(&self, at: usize) -> PathBuf {
        self.scratch.join(format!("server-{}.{}.log", at + 1, self.seats[at].n_starts))
    }
}

// ------------------------------------------------------------------------------------------------
// Asking
// ------------------------------------------------------------------------------------------------

impl Lab {
    pub(super) fn connect(&self, at: usize) -> Result<Connection, String> {
        let http = &self.doors[at].http;
        let opened = Connection::open_within(http, SILENCE_MAX);
        opened.map_err(|error| format!("server {} at {http} does not listen: {error}", at + 1))
    }

    /// Asks one server.
    pub(super) fn read(&self, at: usize, path: &str) -> Result<Value, String> {
        let answer = self.connect(at)?.ask("GET", path, b"");
        let answer = answer.map_err(|error| format!("server {}: GET {path}: {error}", at + 1))?;
        // The health of servers that are not all well is told with 429.
        if !matches!(answer.status, 200 | 429) {
            return Err(format!("server {}: GET {path}: {}", at + 1, told(&answer)));
        }
        serde_json::from_slice(&answer.body).map_err(|error| format!("{path}: {error}"))
    }

    /// Writes at any server that is open, until one acknowledges it.
    pub(super) fn put(&self, path: &str, body: &[u8]) -> Result<(), String> {
        self.until(&format!("PUT {path} is acknowledged"), || {
            let at = self.an_open_one()?;
            let answer = self.connect(at)?.ask("PUT", path, body);
            let answer = answer.map_err(|error| error.to_string())?;
            if answer.status == 200 { Ok(()) } else { Err(told(&answer)) }
        })
    }

    fn an_open_one(&self) -> Result<usize, String> {
        let open = self.running().find(|at| self.doors[*at].is_open());
        open.ok_or_else(|| "no server is open".to_owned())
    }

    /// The server that all open ones take for their leader.
    pub(super) fn leader(&self) -> Result<usize, String> {
        self.until("all servers know one leader", || {
            let mut named = Vec::new();
            for at in self.running().filter(|at| self.doors[*at].is_open()) {
                named.push(self.read(at, "/v1/status/leader")?.as_str().unwrap_or("").to_owned());
            }
            let address = named.first().ok_or("no server is open")?;
            let leader = self.seats.iter().position(|seat| seat.bound.get(2) == Some(address));
            match leader {
                Some(leader) if named.iter().all(|other| other == address) => Ok(leader),
                _ => Err(format!("they name {named:?}")),
            }
        })
    }

    /// The highest term that an open server is in.
    pub(super) fn term(&self) -> Result<u64, String> {
        let mut highest = 0;
        for at in self.running().filter(|at| self.doors[*at].is_open()) {
            let told = self.read(at, "/v1/agent/self")?;
            let term = told["Stats"]["raft"]["term"].as_str().and_then(|term| term.parse().ok());
            highest = highest.max(term.ok_or("the agent tells no term")?);
        }
        Ok(highest)
    }

    /// Waits until every server runs, votes, is well and has what was written just now; then all
    /// doors are open.
    pub(super) fn until_whole(&self) -> Result<(), String> {
        self.until("all servers vote and are well", || {
            let health = self.read(0, "/v1/operator/autopilot/health")?;
            let servers = items(&health["Servers"]);
            let is_well = |server: &&Value| server["Voter"] == true && server["Healthy"] == true;
            let n_well = servers.iter().filter(is_well).count();
            if n_well == self.n_servers() && servers.len() == n_well {
                return Ok(());
            }
            Err(health.to_string())
        })?;
        let mark = format!("{:?}", Instant::now());
        self.until("a mark is written", || {
            let answer = self.connect(0)?.ask("PUT", "/v1/kv/mark", mark.as_bytes());
            let answer = answer.map_err(|error| error.to_string())?;
            if answer.status == 200 { Ok(()) } else { Err(told(&answer)) }
        })?;
        for at in 0..self.n_servers() {
            self.until_has(at, &mark)?;
            self.open(at);
        }
        Ok(())
    }

    fn until_has(&self, at: usize, mark: &str) -> Result<(), String> {
        self.until("all servers have caught up", || {
            let answer = self.connect(at)?.ask("GET", "/v1/kv/mark?raw&stale", b"");
            let answer = answer.map_err(|error| error.to_string())?;
            if answer.body == mark.as_bytes() { Ok(()) } else { Err(told(&answer)) }
        })
    }

    /// Tries until it comes out.
    pub(super) fn until<T>(
        &self,
        what: &str,
        mut come: impl FnMut() -> Result<T, String>,
    ) -> Result<T, String> {
        let started_at = Instant::now();
        loop {
            match come() {
                Ok(come) => return Ok(come),
                Err(why) if started_at.elapsed() > WHOLE_WITHIN => {
                    return Err(format!("waited {WHOLE_WITHIN:?} in vain until {what}: {why}"));
                }
                Err(_) => std::thread::sleep(GLANCE),
            }
        }
    }
}
