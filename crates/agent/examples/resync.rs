//! How a fleet comes back after a fail-over: every agent compares what it vouches for with the catalog,
//! and puts right what is missing there.
//!
//! `cargo run --release -p muster-agent --example resync -- 10000` starts three servers and so many
//! clients in one process over loopback, without gossip among the clients, which share some hundred
//! connections. Once all of them are registered, all instances are taken out of the catalog and the
//! leader is killed. What is told: when another led, when the catalog was whole again, whether there was
//! another election, and how much waited at the servers at most.

#![allow(clippy::print_stdout, reason = "a drill is for people to read")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use muster_agent::checks::CheckTerms;
use muster_agent::client::{ClientAgent, ClientSettings};
use muster_agent::local::{LocalSetup, Voucher};
use muster_agent::setup::Declared;
use muster_model::answer::Body;
use muster_model::command::Target;
use muster_model::{Command, Instance, Query, Text};
use muster_registry::local::{Identity, LocalRegistration};
use muster_registry::operator::MetricValue;
use muster_registry::{Call, Freshness, Operator, Registry};
use muster_rpc::{Hello, Limits, Plain, Pool};
use muster_world::{Memory, Real, World};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

#[path = "../tests/fleet/mod.rs"]
mod fleet;

use fleet::{Server, leader, three, until};

/// Agents that share one connection to each server.
const AGENTS_PER_POOL: usize = 100;
/// Commands that travel as one.
const BATCH: usize = 250;
/// How often it is looked.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// What the catalog may take to be whole again.
const DRAINED_AFTER_MAX: Duration = Duration::from_secs(60);

/// An agent of the fleet.
struct Member {
    _voucher: Voucher,
}

fn name(number: usize) -> Text {
    format!("fleet-{number:05}").into()
}

async fn member(number: usize, pool: &Arc<Pool>, known: &[SocketAddr]) -> Member {
    let world: Arc<dyn World> = Arc::new(Real::with_files(Arc::new(Memory::new())));
    let (_, known) = watch::channel(Arc::from(known));
    let settings = ClientSettings {
        datacenter: "dc1".into(),
        seed: world.seed(),
        ..ClientSettings::default()
    };
    let client = ClientAgent::start(pool.clone(), known, settings);
    let identity = Identity {
        node: name(number),
        node_id: format!("{number:08x}-0000-4000-9000-000000000000").into(),
        datacenter: "dc1".into(),
        address: "127.0.0.1".into(),
        ..Identity::default()
    };
    let setup = LocalSetup {
        identity,
        folder: PathBuf::from("/data/local"),
        terms: CheckTerms::default(),
        spread: None,
    };
    let instance = Instance {
        id: "web".into(),
        service: format!("web-{}", number % 100).into(),
        port: 80,
        ..Instance::default()
    };
    let instances = vec![LocalRegistration { instance, ..LocalRegistration::default() }];
    let declared = Declared { instances, ..Declared::default() };
    let voucher = Voucher::start(world, client.clone(), setup, declared).await;
    let mut voucher = voucher.expect("an empty disk is taken up");
    voucher.follow_leaders(client.n_leaders());
    Member { _voucher: voucher }
}

fn pool() -> Arc<Pool> {
    let hello = Hello {
        datacenter: "dc1".to_owned(),
        node_id: 1,
        node: "fleet".to_owned(),
        is_server: false,
        extra: bytes::Bytes::new(),
    };
    Pool::new(Arc::new(Real::new()), hello, Limits::default(), Arc::new(Plain))
}

/// How many instances of the fleet there are, as one server has it.
async fn n_instances(server: &Server) -> Option<u64> {
    let asked = server.agent.ask(&Call::default(), &Query::Usage, Freshness::Stale).await.ok()?;
    match &asked.answer.body {
        // Each server is an instance itself.
        Body::Usage(usage) => Some(usage.n_instances.saturating_sub(3)),
        _ => None,
    }
}

fn metric(server: &Server, name: &str) -> f64 {
    let metrics = server.agent.metrics();
    let found = metrics.iter().find(|metric| &*metric.name == name);
    match found.map(|metric| metric.value) {
        Some(MetricValue::Gauge(value)) => value,
        Some(MetricValue::Counter(value)) => value as f64,
        _ => 0.0,
    }
}

/// The most that was seen of some metrics.
#[derive(Default)]
struct Most {
    waiting: f64,
    in_hand: f64,
    followers: f64,
}

impl Most {
    fn look(&mut self, servers: &[Server]) {
        for server in servers {
            self.waiting = self.waiting.max(metric(server, "raft.proposals_waiting"));
            self.in_hand = self.in_hand.max(metric(server, "rpc.in_hand"));
            self.followers = self.followers.max(metric(server, "rpc.followers"));
        }
    }
}

/// Waits until a server has so many instances; gives how long that took.
async fn until_whole(servers: &[Server], n: usize, most: &mut Most) -> Duration {
    let began_at = Instant::now();
    loop {
        most.look(servers);
        if n_instances(&servers[0]).await == Some(n as u64) {
            return began_at.elapsed();
        }
        sleep(LOOK_INTERVAL).await;
    }
}

async fn take_out_all(server: &Server, n: usize) {
    let all: Vec<Command> = (0..n)
        .map(|number| Command::Deregister {
            node: name(number),
            target: Target::Instance("web".into()),
        })
        .collect();
    for commands in all.chunks(BATCH) {
        let command = Command::Batch { commands: commands.to_vec() };
        let submitted = server.agent.submit(&Call::default(), command).await;
        submitted.expect("there is a leader");
    }
}

async fn drill(n: usize) -> bool {
    let mut servers = three().await;
    let known: Vec<SocketAddr> = servers
        .iter()
        .map(|server| server.agent.server_address().parse().expect("an address"))
        .collect();
    let mut members = Vec::new();
    let mut shared = pool();
    for number in 0..n {
        if number % AGENTS_PER_POOL == 0 {
            shared = pool();
        }
        members.push(member(number, &shared, &known).await);
    }
    let mut most = Most::default();
    let took = until_whole(&servers, n, &mut most).await;
    println!("{n} agents registered themselves within {took:.1?} of the last one's start");

    let number = leader(&servers).await;
    take_out_all(&servers[number], n).await;
    let gone = servers.remove(number).die().await;
    let began_at = Instant::now();
    let number = until("another leads", async || servers.iter().position(Server::leads)).await;
    let led_after = began_at.elapsed();
    let term = servers[number].agent.leadership().borrow().term;
    let mut most = Most::default();
    until_whole(&servers, n, &mut most).await;
    let drained_after = began_at.elapsed();
    let term_then = servers[0].agent.leadership().borrow().term;
    drop(gone);
    println!("another led after {led_after:.1?}, in term {term}");
    println!("the catalog was whole after {drained_after:.1?}, in term {term_then}");
    println!(
        "at one server at most: {} proposals waiting, {} requests in hand, {} followers",
        most.waiting, most.in_hand, most.followers
    );
    term == term_then && drained_after <= DRAINED_AFTER_MAX
}

#[tokio::main]
async fn main() -> ExitCode {
    let n = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000);
    let is_well = drill(n).await;
    println!("{}", if is_well { "well" } else { "not well" });
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
