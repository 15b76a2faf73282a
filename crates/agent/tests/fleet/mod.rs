//! Whole agents in one process over real sockets on loopback: servers, and clients that find them by
//! gossip.

#![allow(dead_code, reason = "each test file uses its part")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use muster_agent::checks::CheckTerms;
use muster_agent::local::{LocalSetup, Voucher};
use muster_agent::membership::GossipSockets;
use muster_agent::ports::PortSetup;
use muster_agent::setup::Declared;
use muster_agent::telemetry::Logs;
use muster_agent::{
    Agent, Client, ConsensusSettings, Folder, GossipSettings, GossipSetup, GuardSettings, Joins,
    Ports, Setup, short_id, telemetry,
};
use muster_model::answer::Body;
use muster_model::command::PutTerms;
use muster_model::pair::Blob;
use muster_model::query::InstanceFilter;
use muster_model::server_care::ServerCare;
use muster_model::{Command, Query, Text};
use muster_registry::local::Identity;
use muster_registry::operator::{LogLevel, SettingValue};
use muster_registry::{Answered, Call, Freshness, Refusal, Registry};
use muster_world::{Address, Memory, Real, World};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};

/// How long anything may take here before it counts as never.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const GLANCE: Duration = Duration::from_millis(10);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Asks again and again until something holds.
pub(crate) async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            sleep(GLANCE).await;
        }
    };
    timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("{what}: not in {PATIENCE:?}"))
}

/// The id of the server, or other agent, of that number.
pub(crate) fn node_id(number: u8) -> Text {
    format!("{number:02}000000-0000-4000-8000-000000000000").into()
}

fn identity(node: &str, number: u8, is_server: bool) -> Identity {
    Identity {
        node: node.into(),
        node_id: node_id(number),
        datacenter: "dc1".into(),
        primary_datacenter: "dc1".into(),
        is_server,
        address: "127.0.0.1".into(),
        version: "test",
        ..Identity::default()
    }
}

fn setup(identity: Identity, expects: usize, join: Option<SocketAddr>) -> Setup {
    let quick = |settings: GossipSettings| GossipSettings {
        probe_interval: Duration::from_millis(200),
        probe_timeout: Duration::from_millis(100),
        ..settings
    };
    let joins = Joins {
        addresses: join.iter().map(ToString::to_string).collect(),
        interval: Duration::from_millis(500),
        tries_max: 0,
    };
    Setup {
        identity,
        data_folder: PathBuf::from("/data"),
        consensus: ConsensusSettings { reserve_bytes: 0, ..ConsensusSettings::default() },
        expects,
        care: ServerCare { stabilization: Duration::from_millis(200), ..ServerCare::default() },
        gossip: GossipSetup {
            lan: quick(GossipSettings::lan()),
            lan_joins: joins,
            ..GossipSetup::default()
        },
        guard: GuardSettings::default(),
        authority: None,
        write_timeout: Duration::from_secs(7),
        reload: Arc::new(|| Box::pin(std::future::ready(Ok(Vec::new())))),
        settings: SettingValue::Absent,
        api_version: "1.22.6".into(),
    }
}

async fn folder(world: &Arc<dyn World>, identity: &Identity) -> Folder {
    let id = uuid::Uuid::parse_str(&identity.node_id).expect("an id");
    let inside = world.clone();
    let opened = tokio::task::spawn_blocking(move || {
        Folder::open(inside, Path::new("/data"), Some(short_id(id.as_bytes())))
    });
    opened.await.expect("it runs").expect("an empty folder, or an own one")
}

fn logs(world: &Arc<dyn World>) -> Logs {
    telemetry::start(world.clone(), LogLevel::Error, telemetry::Style::Plain)
}

// ------------------------------------------------------------------------------------------------
// Servers
// ------------------------------------------------------------------------------------------------

/// A server on a runtime of its own, as in a process of its own, and what outlives it.
pub(crate) struct Server {
    pub(crate) agent: Arc<Agent>,
    runtime: Option<Runtime>,
    number: u8,
    disk: Arc<Memory>,
    at: PortSetup,
}

/// A server that is gone, as it may come back.
pub(crate) struct Gone {
    number: u8,
    disk: Arc<Memory>,
    at: PortSetup,
}

impl Server {
    /// A server at any free ports.
    pub(crate) async fn start(number: u8, expects: usize, join: Option<SocketAddr>) -> Server {
        let free = SocketAddr::new(LOOPBACK, 0);
        let at = PortSetup { server: free, lan: free, wan: Some(free) };
        let gone = Gone { number, disk: Arc::new(Memory::new()), at };
        gone.come_back(expects, join).await
    }

    pub(crate) fn gossip_address(&self) -> SocketAddr {
        self.at.lan
    }

    pub(crate) fn leads(&self) -> bool {
        self.agent.leadership().borrow().is_leader
    }

    /// Takes it away from the others without a word: its tasks end where they are.
    pub(crate) async fn die(mut self) -> Gone {
        let gone = Gone { number: self.number, disk: self.disk.clone(), at: self.at };
        let agent = Arc::downgrade(&self.agent);
        self.end();
        drop(self);
        until("its tasks have ended", async || (agent.strong_count() == 0).then_some(())).await;
        gone
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

impl Gone {
    /// Starts it where it was, with what it had.
    pub(crate) async fn come_back(self, expects: usize, join: Option<SocketAddr>) -> Server {
        let world: Arc<dyn World> = Arc::new(Real::with_files(self.disk.clone()));
        let setup = setup(identity(&format!("s{}", self.number), self.number, true), expects, join);
        // What it held may take a moment to be let go.
        let ports = until("its ports are free", async || Ports::bind(&*world, &self.at).ok()).await;
        let (server, lan, wan) = ports.addresses().expect("bound");
        let Address::Inet(server) = server else { panic!("not over TCP") };
        let built = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = built.expect("a runtime can be had");
        let starting = runtime.spawn(async move {
            let folder = folder(&world, &setup.identity).await;
            Agent::start(world.clone(), logs(&world), folder, setup, ports).await
        });
        let agent = starting.await.expect("it runs").expect("a server starts");
        let at = PortSetup { server, lan, wan };
        Server { agent, runtime: Some(runtime), number: self.number, disk: self.disk, at }
    }
}

/// Three servers that found a group together.
pub(crate) async fn three() -> Vec<Server> {
    let first = Server::start(1, 3, None).await;
    let join = Some(first.gossip_address());
    let servers = vec![first, Server::start(2, 3, join).await, Server::start(3, 3, join).await];
    for server in &servers {
        until("a leader", async || server.agent.leadership().borrow().leader.clone()).await;
    }
    servers
}

/// Which of them leads.
pub(crate) async fn leader(servers: &[Server]) -> usize {
    until("who leads", async || servers.iter().position(Server::leads)).await
}

// ------------------------------------------------------------------------------------------------
// Clients
// ------------------------------------------------------------------------------------------------

/// A client with what it vouches for.
pub(crate) struct House {
    pub(crate) client: Arc<Client>,
    pub(crate) voucher: Voucher,
    pub(crate) gossip: SocketAddr,
}

impl House {
    /// A client that joins by the agent at an address, and has heard of a server.
    pub(crate) async fn start(number: u8, join: SocketAddr) -> House {
        let world: Arc<dyn World> = Arc::new(Real::with_files(Arc::new(Memory::new())));
        let identity = identity(&format!("c{number}"), 50 + number, false);
        let setup = setup(identity.clone(), 0, Some(join));
        let sockets = GossipSockets::bind(&*world, SocketAddr::new(LOOPBACK, 0)).expect("free");
        let gossip = sockets.local_address().expect("bound");
        let folder = folder(&world, &identity).await;
        let client = Client::start(world.clone(), logs(&world), folder, setup, sockets).await;
        let client = client.expect("a client starts");
        let local = LocalSetup {
            identity,
            folder: PathBuf::from("/data/local"),
            terms: CheckTerms::default(),
            spread: Some(client.lan().clone()),
        };
        let registry = client.registry().clone();
        let voucher = Voucher::start(world, registry, local, Declared::default()).await;
        let mut voucher = voucher.expect("an empty disk is taken up");
        voucher.follow_leaders(client.registry().n_leaders());
        let house = House { client, voucher, gossip };
        house.in_contact().await;
        house
    }

    /// Waits until a server tells it of changes.
    pub(crate) async fn in_contact(&self) {
        until("a server tells of changes", async || {
            self.client.registry().is_in_contact().then_some(())
        })
        .await;
    }
}

// ------------------------------------------------------------------------------------------------
// Speaking through the door
// ------------------------------------------------------------------------------------------------

pub(crate) async fn put(registry: &dyn Registry, key: &str) -> Result<(), Refusal> {
    let (key, value) = (key.into(), Blob::from(key.as_bytes()));
    let command = Command::PutPair { key, value, flags: 0, terms: PutTerms::Always };
    registry.submit(&Call::default(), command).await.map(drop)
}

/// Whether a pair is there, by an answer that has all that was acknowledged.
pub(crate) async fn has(registry: &dyn Registry, key: &str) -> bool {
    let query = Query::Pair { key: key.into() };
    let answered = registry.ask(&Call::default(), &query, Freshness::Default).await;
    answered.is_ok_and(|answered| matches!(&answered.answer.body, Body::Pair(Some(_))))
}

/// A question for the instances of a service.
pub(crate) fn service(name: &str) -> Query {
    Query::Instances(InstanceFilter { service: name.into(), ..InstanceFilter::default() })
}

pub(crate) async fn ask(
    registry: &dyn Registry,
    query: &Query,
    freshness: Freshness,
) -> Result<Answered, Refusal> {
    registry.ask(&Call::default(), query, freshness).await
}

/// The instances of an answer with the worst of their checks, in the order of their nodes.
pub(crate) fn instances(answered: &Answered) -> Vec<(Text, Text, muster_model::Status)> {
    let Body::Instances(rows) = &answered.answer.body else { panic!("not instances") };
    let mut found: Vec<_> = rows
        .iter()
        .map(|row| (row.node.name.clone(), row.instance.id.clone(), row.status()))
        .collect();
    found.sort();
    found
}
