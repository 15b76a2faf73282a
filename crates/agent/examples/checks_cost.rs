//! What checks cost: 5,000 HTTP checks of 10 s interval, a new connection each, against a server in
//! a process of its own whose work is not counted.
//!
//! ```text
//! cargo run --release -p muster-agent --example checks_cost [CHECKS [INTERVAL_S [SECONDS]]]
//! ```
//! Prints the share of a core that this process used, and microseconds of CPU per run.
#![allow(clippy::print_stdout, reason = "a measurement is for people to read")]

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use muster_agent::checks::{CheckTerms, Runner};
use muster_model::definition::{CheckDefinition, Rule, Source, TlsOptions};
use muster_model::{Status, Text};
use muster_registry::local::Vouched;
use muster_testkit::Bench;
use muster_world::Real;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|first| first == "serve") {
        return serve().await;
    }
    let number = |at: usize, usual| args.get(at).and_then(|arg| arg.parse().ok()).unwrap_or(usual);
    measure(number(0, 5_000), number(1, 10), number(2, 30)).await
}

async fn serve() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (mut stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut request = [0; 1_024];
            if stream.read(&mut request).await.is_ok() {
                // A client that is gone needs no answer.
                let _ = stream.write_all(ANSWER).await;
            }
        });
    }
}

async fn measure(n_checks: u64, interval_s: u64, seconds: u64) -> std::io::Result<()> {
    let mut server = Command::new(std::env::current_exe()?)
        .arg("serve")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut address = String::new();
    let out = server.stdout.take().expect("it was asked for");
    BufReader::new(out).read_line(&mut address).await?;
    let url: Text = format!("http://{}/health", address.trim()).into();
    let (observed, mut observations) = mpsc::channel(4_096);
    let vouched = watch::Sender::new(Arc::new(Vouched::default()));
    let terms = CheckTerms::default();
    let world = Arc::new(Real::new());
    let runner =
        Runner::new(world, Bench::new(), terms, "n1".into(), vouched.subscribe(), observed);
    for number in 0..n_checks {
        let rule = Rule::Http {
            url: url.clone(),
            method: Text::default(),
            headers: Vec::new(),
            body: Text::default(),
            disable_redirects: false,
            tls: TlsOptions::default(),
        };
        let interval = Duration::from_secs(interval_s);
        let definition = CheckDefinition { rule, interval, ..CheckDefinition::default() };
        let rule = (Arc::new(definition), Source::File);
        runner.set(format!("c{number}").into(), Some(rule));
    }
    let (cpu_before, began_at) = (cpu_seconds(), Instant::now());
    let until = began_at + Duration::from_secs(seconds);
    let (mut n_runs, mut n_bad) = (0_u64, 0_u64);
    while let Ok(Some((_, observation))) = timeout_at(until, observations.recv()).await {
        n_runs += 1;
        n_bad += u64::from(observation.status != Status::Passing);
    }
    let (cpu, wall) = (cpu_seconds() - cpu_before, began_at.elapsed().as_secs_f64());
    println!(
        "{n_runs} runs in {wall:.1} s ({:.0}/s), {n_bad} not passing: {:.1} % of a core, \
         {:.0} us of CPU per run",
        n_runs as f64 / wall,
        100.0 * cpu / wall,
        1e6 * cpu / n_runs as f64,
    );
    Ok(())
}

/// CPU time of this process so far.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
