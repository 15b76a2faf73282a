//! `muster dev-cluster`: a whole cluster on this machine's loopback interface, for trying things
//! out.
//!
//! Each agent is a process of its own, with any free ports, its data in a folder of its own, and its
//! log shown here behind its name. The first server is started alone and tells in its ready file
//! where gossip reaches it; the others join it there. The cluster lives until it is interrupted, or
//! until one of its agents ends by itself; then all are stopped, those that are no servers first.
//!
//! It is not kept for another time: its ports are free ones and would be others then.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use clap::Args;
use muster_world::Address;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::child::{Child, Output, Start};
use super::client::{Ask, Client, ClientFlags};
use super::console::{Console, ShapeFlag, text};
use super::{Failure, files};

/// Servers at most: more voters make writes slower and survive little more.
const SERVERS_MAX: i64 = 7;
/// Other agents at most: each is a process.
const CLIENTS_MAX: i64 = 64;
/// Bytes of a log line that are shown at once.
const LINE_BYTES_MAX: u64 = 16 * 1024;
/// Log lines that wait to be shown; more than these hold up who writes them.
const LINES_WAITING_MAX: usize = 1024;
/// Bytes of a ready file.
const READY_BYTES_MAX: u64 = 64 * 1024;
/// How long the agents may take to be ready, and then to have a leader.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How often it is looked whether they are.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long the first server may take to say who leads.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// Flags of `dev-cluster`.
#[derive(Debug, Args)]
pub struct DevCluster {
    /// Servers, 1 to 7; of an odd number more may fail.
    #[arg(long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(i64).range(1..=SERVERS_MAX))]
    servers: i64,
    /// Agents that are no servers, at most 64.
    #[arg(long, value_name = "N", default_value_t = 0,
        value_parser = clap::value_parser!(i64).range(0..=CLIENTS_MAX))]
    clients: i64,
    /// An empty or new folder for the agents' data; if not given, one that goes with the cluster.
    #[arg(long, value_name = "DIR")]
    base_dir: Option<PathBuf>,
    /// A file that tells where every agent is reached, as JSON, written once a server leads.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// The least severe lines of the agents' logs that are shown.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
    /// For whom to write how the agents are reached.
    #[command(flatten)]
    pub shape: ShapeFlag,
}

impl DevCluster {
    /// Starts the cluster, and stops it once it is interrupted.
    pub async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let base = Base::open(self.base_dir.clone())?;
        let mut cluster = Cluster::new(self, base.path.clone())?;
        let over = cluster.live(console).await;
        cluster.stop(console).await;
        match over {
            Err(Over::Failed(failure)) => Err(failure),
            Err(Over::Interrupted) | Ok(()) => console.line("The cluster is stopped."),
        }
    }
}

/// The folder of all data; one that was not asked for is removed in the end.
struct Base {
    path: PathBuf,
    is_asked_for: bool,
}

impl Base {
    fn open(asked_for: Option<PathBuf>) -> Result<Base, Failure> {
        let is_asked_for = asked_for.is_some();
        let path = asked_for.unwrap_or_else(|| {
            std::env::temp_dir().join(format!("muster-dev-cluster-{}", std::process::id()))
        });
        files::make_empty_folder(&path)?;
        // Agents are told paths that mean the same wherever they run.
        let path = std::path::absolute(&path).map_err(|error| files::failure(&path, &error))?;
        Ok(Base { path, is_asked_for })
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        if !self.is_asked_for {
            files::remove_folder(&self.path);
        }
    }
}

/// Why a cluster no longer lives.
enum Over {
    Interrupted,
    Failed(Failure),
}

impl From<Failure> for Over {
    fn from(failure: Failure) -> Over {
        Over::Failed(failure)
    }
}

/// How far the agents are to be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Running,
    StopClients,
    StopServers,
}

/// An agent of the cluster.
struct Member {
    name: String,
    is_server: bool,
    process_id: u32,
    /// Where its files are.
    folder: PathBuf,
    /// What its ready file tells, once it is there.
    ready: Option<Value>,
}

impl Member {
    fn ready_file(&self) -> PathBuf {
        self.folder.join("ready.json")
    }

    /// Where one of its listeners is, if it has told.
    fn address(&self, listener: &str) -> Option<String> {
        let told = text(self.ready.as_ref()?, listener);
        Some(told).filter(|address| !address.is_empty())
    }
}

/// How an agent ended.
struct End {
    name: String,
    is_server: bool,
    status: Result<ExitStatus, Failure>,
}

/// The running agents.
struct Cluster {
    plan: DevCluster,
    base: PathBuf,
    members: Vec<Member>,
    lives: JoinSet<End>,
    n_clients: usize,
    stage: watch::Sender<Stage>,
    said: mpsc::Sender<String>,
    lines: mpsc::Receiver<String>,
    interrupt: Signal,
    terminate: Signal,
}

// ------------------------------------------------------------------------------------------------
// Living
// ------------------------------------------------------------------------------------------------

impl Cluster {
    fn new(plan: DevCluster, base: PathBuf) -> Result<Cluster, Failure> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Failure::new(format!("signals cannot be received: {error}")))
        };
        let (said, lines) = mpsc::channel(LINES_WAITING_MAX);
        Ok(Cluster {
            plan,
            base,
            members: Vec::new(),
            lives: JoinSet::new(),
            n_clients: 0,
            stage: watch::Sender::new(Stage::Running),
            said,
            lines,
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Starts everything and shows the logs until it is over.
    async fn live(&mut self, console: &mut Console<'_>) -> Result<(), Over> {
        self.start("server-1".to_owned(), true, None).await?;
        self.until_ready(console).await?;
        let n_others = self.plan.servers - 1 + self.plan.clients;
        let join = self.members[0].address("serf_lan");
        if n_others > 0 && join.is_none() {
            return Err(Failure::new(
                "server-1 is ready but does not tell where gossip reaches it (serf_lan in its \
                 ready file): this program cannot form a cluster; try --servers 1",
            )
            .into());
        }
        for n in 2..=self.plan.servers {
            self.start(format!("server-{n}"), true, join.as_deref()).await?;
        }
        for n in 1..=self.plan.clients {
            self.start(format!("client-{n}"), false, join.as_deref()).await?;
        }
        self.until_ready(console).await?;
        let leader = self.until_led(console).await?;
        self.show(&leader, console)?;
        loop {
            self.step(console, false).await?;
        }
    }

    /// Starts an agent that joins the one at `join`.
    async fn start(
        &mut self,
        name: String,
        is_server: bool,
        join: Option<&str>,
    ) -> Result<(), Failure> {
        let folder = self.base.join(&name);
        files::make_empty_folder(&folder)?;
        let mut args = vec![program()?];
        args.extend(self.arguments(&name, is_server, &folder));
        if let Some(address) = join {
            args.extend(["-retry-join", address, "-retry-interval", "1s"].map(str::to_owned));
        }
        let start = Start {
            args: &args,
            is_shell: false,
            input: Some(b""),
            environment: &[],
            is_captured: true,
        };
        let mut child = Child::start(start).await?;
        for output in child.output() {
            tokio::spawn(tell(name.clone(), output, self.said.clone()));
        }
        let process_id = child.id().unwrap_or(0);
        self.n_clients += usize::from(!is_server);
        self.lives.spawn(life(name.clone(), is_server, child, self.stage.subscribe()));
        self.members.push(Member { name, is_server, process_id, folder, ready: None });
        Ok(())
    }

    fn arguments(&self, name: &str, is_server: bool, folder: &Path) -> Vec<String> {
        let at = |file: &str| folder.join(file).display().to_string();
        let mut pairs = vec![
            ("-node", name.to_owned()),
            ("-bind", "127.0.0.1".to_owned()),
            ("-client", "127.0.0.1".to_owned()),
            ("-data-dir", at("data")),
            ("-ready-file", at("ready.json")),
            ("-log-level", self.plan.log_level.clone()),
        ];
        for port in ["-http-port", "-dns-port", "-server-port", "-serf-lan-port", "-serf-wan-port"]
        {
            pairs.push((port, "0".to_owned()));
        }
        if is_server {
            pairs.push(("-bootstrap-expect", self.plan.servers.to_string()));
        }
        let pairs = pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        ["agent".to_owned(), format!("-server={is_server}")].into_iter().chain(pairs).collect()
    }

    /// One thing that happens. While `is_starting`, also the time to look again.
    async fn step(&mut self, console: &mut Console<'_>, is_starting: bool) -> Result<(), Over> {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Err(Over::Interrupted),
            _ = self.terminate.recv() => Err(Over::Interrupted),
            Some(line) = self.lines.recv() => {
                console.line(line)?;
                Ok(console.flush()?)
            }
            Some(ended) = self.lives.join_next() => {
                let end = ended.map_err(|error| Failure::new(format!("an agent is lost: {error}")))?;
                self.n_clients -= usize::from(!end.is_server);
                let how = match &end.status {
                    Ok(status) => status.to_string(),
                    Err(failure) => failure.to_string(),
                };
                Err(Failure::new(format!(
                    "{} ended by itself ({how}); its last words stand above. The others are stopped.",
                    end.name
                ))
                .into())
            }
            () = sleep(LOOK_INTERVAL), if is_starting => Ok(()),
        }
    }

    /// Waits until every agent that was started has told where it is reached.
    async fn until_ready(&mut self, console: &mut Console<'_>) -> Result<(), Over> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            for member in self.members.iter_mut().filter(|member| member.ready.is_none()) {
                let path = member.ready_file();
                if path.exists() {
                    let told = files::read(&path, READY_BYTES_MAX)?;
                    member.ready = Some(serde_json::from_slice(&told).map_err(|error| {
                        Failure::new(format!("{}: not JSON: {error}", path.display()))
                    })?);
                }
            }
            let Some(late) = self.members.iter().find(|member| member.ready.is_none()) else {
                return Ok(());
            };
            if Instant::now() > deadline {
                let seconds = START_TIMEOUT.as_secs();
                let text = format!("{} is not ready after {seconds} s", late.name);
                return Err(Failure::new(text).into());
            }
            self.step(console, true).await?;
        }
    }

    /// Waits until a server leads, and gives its address.
    async fn until_led(&mut self, console: &mut Console<'_>) -> Result<String, Over> {
        let http = self.members[0].address("http").and_then(|address| address.parse().ok());
        let http = http.ok_or_else(|| Failure::new("server-1 does not tell its HTTP address"))?;
        let client = Client::bound(&Address::Inet(http), ClientFlags::default());
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let asked = timeout(ASK_TIMEOUT, client.json(Ask::get("/v1/status/leader"))).await;
            match asked {
                Ok(Ok(Value::String(leader))) if !leader.is_empty() => return Ok(leader),
                _ if Instant::now() > deadline => {
                    let seconds = START_TIMEOUT.as_secs();
                    let text = format!("no server leads after {seconds} s");
                    return Err(Failure::new(text).into());
                }
                _ => self.step(console, true).await?,
            }
        }
    }
}

// ------------------------------------------------------------------------------------------------
// Showing
// ------------------------------------------------------------------------------------------------

impl Cluster {
    /// Writes the ready file, and shows how to reach every agent.
    fn show(&self, leader: &str, console: &mut Console<'_>) -> Result<(), Failure> {
        let at = |member: &Member, listener: &str| member.address(listener).unwrap_or_default();
        let whole = json!({
            "leader": leader,
            "agents": self.members.iter().map(told).collect::<Vec<_>>(),
        });
        if let Some(path) = &self.plan.ready_file {
            files::write(path, whole.to_string().as_bytes())?;
        }
        if console.is_json() {
            console.line(whole.to_string())?;
        } else {
            let row = |member: &Member| {
                let is_leader = member.is_server && at(member, "server") == leader;
                let role = match (member.is_server, is_leader) {
                    (true, true) => "leader",
                    (true, false) => "server",
                    (false, _) => "client",
                };
                vec![member.name.clone(), role.to_owned(), at(member, "http"), at(member, "dns")]
            };
            let rows = self.members.iter().map(row).collect();
            console.line("")?;
            console.table(&["Agent", "Role", "HTTP", "DNS"], rows)?;
            console.line("")?;
            console.line(format!("Data lies in {}.", self.base.display()))?;
            let http = at(&self.members[0], "http");
            console.line(format!("Try: muster members -http-addr {http}"))?;
            console.line(format!("The cluster is led by {leader}; Ctrl-C stops it.\n"))?;
        }
        console.flush()
    }
}

/// What the ready file tells of an agent: beside its name what its own ready file tells.
fn told(member: &Member) -> Value {
    let mut told = member.ready.clone().unwrap_or_else(|| json!({}));
    told["name"] = json!(member.name);
    told["is_server"] = json!(member.is_server);
    told["pid"] = json!(member.process_id);
    told
}

/// Hands on what an agent prints, line by line, behind its name.
async fn tell(name: String, output: Output, lines: mpsc::Sender<String>) {
    let mut reader = BufReader::new(output);
    loop {
        let mut line = Vec::new();
        let read = (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await;
        if !matches!(read, Ok(1..)) {
            return;
        }
        let line = format!("{name} | {}", String::from_utf8_lossy(&line).trim_end());
        if lines.send(line).await.is_err() {
            return;
        }
    }
}

// ------------------------------------------------------------------------------------------------
// Stopping
// ------------------------------------------------------------------------------------------------

impl Cluster {
    /// Stops all agents, those that are no servers first, so that they can still leave.
    async fn stop(&mut self, console: &mut Console<'_>) {
        self.stage.send_replace(Stage::StopClients);
        while self.n_clients > 0 && self.ending(console).await {}
        self.stage.send_replace(Stage::StopServers);
        while self.ending(console).await {}
        // What they said last.
        while let Ok(line) = self.lines.try_recv() {
            let _ = console.line(line);
        }
    }

    /// One thing that happens while agents are stopped; whether there are any left.
    async fn ending(&mut self, console: &mut Console<'_>) -> bool {
        tokio::select! {
            Some(line) = self.lines.recv() => {
                // That nobody reads any more is no reason to let agents run.
                let _ = console.line(line);
                true
            }
            ended = self.lives.join_next() => {
                if let Some(Ok(end)) = &ended {
                    self.n_clients -= usize::from(!end.is_server);
                }
                ended.is_some()
            }
        }
    }
}

/// The life of an agent's process, until it ends or its turn to be stopped comes.
async fn life(
    name: String,
    is_server: bool,
    mut child: Child,
    mut stage: watch::Receiver<Stage>,
) -> End {
    let last = if is_server { Stage::StopServers } else { Stage::StopClients };
    let ended = tokio::select! {
        status = child.wait() => Some(status),
        _ = stage.wait_for(|stage| *stage >= last) => None,
    };
    let status = match ended {
        Some(status) => status,
        None => match child.stop().await {
            Ok(()) => child.wait().await,
            Err(failure) => Err(failure),
        },
    };
    End { name, is_server, status }
}

/// This program, which the agents are.
fn program() -> Result<String, Failure> {
    let path = std::env::current_exe()
        .map_err(|error| Failure::new(format!("this program's file is not known: {error}")))?;
    Ok(path.display().to_string())
}
