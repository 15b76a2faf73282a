//! What a fleet of Eureka's clients costs one server: instances that renew every 30 s, and the lists
//! that their clients fetch.
//!
//! ```text
//! cargo build --release -p muster
//! cargo run --release -p muster --example eureka_cost [INSTANCES [SECONDS]]
//! ```
//! The server is the program beside this one, with its log on disk, in a process of its own; only its
//! work is counted. Each instance is on a host of its own. Prints the share of a core and the memory
//! that it takes, what it writes, and milliseconds and bytes of each list after a change.
//!
//! On a busy machine the renewals come later than they should; what one costs is told too. Left out: a
//! connection for each client. The renewals come over 32 of them.
#![allow(clippy::print_stdout, reason = "a measurement is for people to read")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::try_join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, sleep_until};

/// Connections over which instances are renewed, and over which they are registered: together, so
/// that many share one sync of the log.
const CONNECTIONS: usize = 32;
const REGISTERING: usize = 128;
const APPLICATIONS: usize = 200;
/// How often an instance renews.
const INTERVAL: Duration = Duration::from_secs(30);
/// How long deltas tell a change; after it they hold only what is changed here.
const TOLD_FOR: Duration = Duration::from_secs(200);
/// How long a list may be given though there is a newer one.
const GIVEN_FOR: Duration = Duration::from_secs(6);
/// How long the server may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(60);

type Failed = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, usual| args.get(at).and_then(|arg| arg.parse().ok()).unwrap_or(usual);
    let (n_instances, seconds) = (number(0, 100_000), number(1, 60));
    let folder = std::env::temp_dir().join(format!("eureka-cost-{}", std::process::id()));
    let server = Server::start(&folder).await?;
    let measured = measure(&server, n_instances, seconds as u64).await;
    drop(server);
    std::fs::remove_dir_all(&folder)?;
    measured
}

async fn measure(server: &Server, n_instances: usize, seconds: u64) -> Result<(), Failed> {
    let (began, cpu) = (Instant::now(), server.cpu()?);
    let share = n_instances.div_ceil(REGISTERING);
    let shares = (0..REGISTERING).map(|at| at * share..n_instances.min((at + 1) * share));
    try_join_all(shares.map(|numbers| register(server, numbers))).await?;
    println!(
        "registered {n_instances} in {:.1} s, {} us of CPU each; {} MB",
        began.elapsed().as_secs_f64(),
        (server.cpu()? - cpu).as_micros() / n_instances as u128,
        server.memory_mb()?
    );
    let told_until = Instant::now() + TOLD_FOR;
    measure_renewals(server, n_instances, seconds).await?;
    sleep_until(told_until).await;
    measure_lists(server).await
}

async fn measure_renewals(server: &Server, n_all: usize, seconds: u64) -> Result<(), Failed> {
    let before = (server.cpu()?, server.written()?, server.index().await?);
    let began = Instant::now();
    let end = began + Duration::from_secs(seconds);
    let renewals = (0..CONNECTIONS).map(|at| renew(server, at, n_all, end));
    let n_renewals: usize = try_join_all(renewals).await?.into_iter().sum();
    let (cpu, seconds) = (server.cpu()? - before.0, began.elapsed().as_secs_f64());
    let (written, index) = (server.written()? - before.1, server.index().await? - before.2);
    let each = cpu.as_secs_f64() / n_renewals as f64;
    println!(
        "renewed {n_renewals} in {seconds:.0} s with {:.1} % of a core, {:.0} us of CPU each: \
         {:.1} % for all each {} s; {} MB, {index} log entries, {written} bytes written",
        cpu.as_secs_f64() / seconds * 100.0,
        each * 1e6,
        each * n_all as f64 / INTERVAL.as_secs_f64() * 100.0,
        INTERVAL.as_secs(),
        server.memory_mb()?
    );
    Ok(())
}

/// What each list costs that is asked for after one change, and what the same list costs then.
async fn measure_lists(server: &Server) -> Result<(), Failed> {
    let mut client = Client::open(&server.address).await?;
    for (name, path, coding) in [
        ("whole", "apps", "identity"),
        ("whole, gzip", "apps", "gzip"),
        ("delta", "apps/delta", "identity"),
        ("delta, gzip", "apps/delta", "gzip"),
    ] {
        sleep(GIVEN_FOR).await;
        client.ask("POST", "apps/ONE", "identity", &instance("one", "ONE")).await?;
        let (cpu, began) = (server.cpu()?, Instant::now());
        let n_bytes = client.ask("GET", path, coding, "").await?;
        let (cpu, took) = (server.cpu()? - cpu, began.elapsed());
        let again = Instant::now();
        client.ask("GET", path, coding, "").await?;
        println!(
            "{name}: {} ms, {} ms of CPU, {n_bytes} bytes; the same again {:.1} ms",
            took.as_millis(),
            cpu.as_millis(),
            again.elapsed().as_secs_f64() * 1000.0
        );
    }
    Ok(())
}

async fn register(server: &Server, numbers: std::ops::Range<usize>) -> Result<(), Failed> {
    let mut client = Client::open(&server.address).await?;
    for number in numbers {
        let app = app(number);
        let body = instance(&format!("h{number}"), &app);
        let target = format!("apps/{app}");
        // As clients do, where a busy disk makes it too late.
        while let Err(error) = client.ask("POST", &target, "identity", &body).await {
            if !error.to_string().contains(" 503 ") {
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Renews this connection's part of all instances, one after another, evenly, until `end`; gives how
/// often.
async fn renew(server: &Server, at: usize, n_all: usize, end: Instant) -> Result<usize, Failed> {
    let mut client = Client::open(&server.address).await?;
    let pause = INTERVAL * CONNECTIONS as u32 / u32::try_from(n_all)?;
    let mut due = Instant::now() + pause * at as u32 / CONNECTIONS as u32;
    let (mut number, mut n_renewals) = (at, 0);
    while Instant::now() < end {
        let target = format!("apps/{}/h{number}:80?status=UP", app(number));
        client.ask("PUT", &target, "identity", "").await?;
        n_renewals += 1;
        number = if number + CONNECTIONS < n_all { number + CONNECTIONS } else { at };
        due += pause;
        sleep_until(due).await;
    }
    Ok(n_renewals)
}

fn app(number: usize) -> String {
    format!("APP-{}", number % APPLICATIONS)
}

fn instance(host: &str, app: &str) -> String {
    json!({ "instance": {
        "instanceId": format!("{host}:80"), "hostName": host, "app": app, "ipAddr": "10.1.2.3",
        "status": "UP", "port": {"$": 80, "@enabled": "true"},
        "securePort": {"$": 443, "@enabled": "false"}, "countryId": 1,
        "dataCenterInfo": {
            "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
        "leaseInfo": {"renewalIntervalInSecs": 30, "durationInSecs": 3_600},
        "metadata": {"management.port": "81"}, "homePageUrl": format!("http://{host}:80/"),
        "statusPageUrl": format!("http://{host}:80/actuator/info"),
        "healthCheckUrl": format!("http://{host}:80/actuator/health"),
        "vipAddress": app.to_lowercase(), "secureVipAddress": app.to_lowercase(),
        "isCoordinatingDiscoveryServer": "false", "lastDirtyTimestamp": "1700000000000",
    }})
    .to_string()
}

// ------------------------------------------------------------------------------------------------
// The server
// ------------------------------------------------------------------------------------------------

struct Server {
    process: Child,
    address: String,
}

impl Server {
    async fn start(folder: &Path) -> Result<Server, Failed> {
        std::fs::create_dir_all(folder)?;
        let ready = folder.join("ready.json");
        let mut command = Command::new(program()?);
        command.args(["agent", "--server", "--bootstrap-expect", "1", "--bind", "127.0.0.1"]);
        for flag in ["http", "dns", "server", "serf-lan", "serf-wan"] {
            command.arg(format!("--{flag}-port=0"));
        }
        command.args(["--log-level", "warn", "--data-dir"]).arg(folder.join("data"));
        command.arg("--ready-file").arg(&ready).stdin(Stdio::null()).kill_on_drop(true);
        let process = command.spawn()?;
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            let told = std::fs::read(&ready).unwrap_or_default();
            if let Ok(told) = serde_json::from_slice::<Value>(&told) {
                let address = told["http"].as_str().unwrap_or_default().to_owned();
                return Ok(Server { process, address });
            }
            sleep(Duration::from_millis(50)).await;
        }
        Err("the server is not ready in time".into())
    }

    fn proc(&self, file: &str) -> Result<String, Failed> {
        let id = self.process.id().ok_or("the server ended")?;
        Ok(std::fs::read_to_string(format!("/proc/{id}/{file}"))?)
    }

    /// Processor time so far, in steps of 10 ms.
    fn cpu(&self) -> Result<Duration, Failed> {
        let stat = self.proc("stat")?;
        let rest = stat.rsplit_once(')').ok_or("stat is odd")?.1;
        let ticks = rest.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
        Ok(Duration::from_millis(ticks.sum::<Result<u64, _>>()? * 10))
    }

    fn memory_mb(&self) -> Result<u64, Failed> {
        Ok(word_after(&self.proc("status")?, "VmRSS:")? / 1024)
    }

    /// Bytes that it made the machine write to disk.
    fn written(&self) -> Result<u64, Failed> {
        word_after(&self.proc("io")?, "\nwrite_bytes:")
    }

    /// The last entry of its log.
    async fn index(&self) -> Result<u64, Failed> {
        let mut client = Client::open(&self.address).await?;
        let told = client.body("GET", "/v1/agent/self", "identity", "").await?;
        let told: Value = serde_json::from_slice(&told)?;
        Ok(told["Stats"]["raft"]["last_log_index"].as_str().ok_or("no index")?.parse()?)
    }
}

/// The program that was built beside this one.
fn program() -> Result<PathBuf, Failed> {
    let own = std::env::current_exe()?;
    let folder = own.parent().and_then(Path::parent).ok_or("this program is nowhere")?;
    let program = folder.join("muster");
    if !program.exists() {
        return Err("build the program first: cargo build --release -p muster".into());
    }
    Ok(program)
}

fn word_after(text: &str, mark: &str) -> Result<u64, Failed> {
    let rest = text.split_once(mark).ok_or_else(|| format!("there is no {mark}"))?.1;
    Ok(rest.split_whitespace().next().unwrap_or_default().parse()?)
}

// ------------------------------------------------------------------------------------------------
// A client
// ------------------------------------------------------------------------------------------------

struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    async fn open(address: &str) -> Result<Client, Failed> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Client { stream: BufReader::new(stream) })
    }

    /// The bytes of the reply under Eureka's prefix.
    async fn ask(
        &mut self,
        verb: &str,
        at: &str,
        coding: &str,
        body: &str,
    ) -> Result<usize, Failed> {
        Ok(self.body(verb, &format!("/eureka/{at}"), coding, body).await?.len())
    }

    async fn body(
        &mut self,
        verb: &str,
        target: &str,
        coding: &str,
        body: &str,
    ) -> Result<Vec<u8>, Failed> {
        let request = format!(
            "{verb} {target} HTTP/1.1\r\nhost: muster\r\naccept: application/json\r\n\
             accept-encoding: {coding}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        let (mut n_bytes, mut line, mut status) = (0, String::new(), String::new());
        loop {
            line.clear();
            if self.stream.read_line(&mut line).await? == 0 {
                return Err("the server closed the connection".into());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if status.is_empty() {
                status = line;
            } else if let Some(value) = line.strip_prefix("content-length: ") {
                n_bytes = value.parse()?;
            } else if line.is_empty() {
                break;
            }
        }
        let mut reply = vec![0; n_bytes];
        self.stream.read_exact(&mut reply).await?;
        if status.split(' ').nth(1).is_some_and(|code| code.starts_with('2')) {
            Ok(reply)
        } else {
            Err(format!("{verb} {target}: {status}: {}", String::from_utf8_lossy(&reply)).into())
        }
    }
}
