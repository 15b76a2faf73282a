//! An agent, seen being built: every part named in order.
//!
//! What a part is told comes from the configuration in `translate`; who the agent is, from
//! `identity`. A server and a client differ in the agent alone ([`Mode`]): what stands before it is the
//! same. [`Running`] is what `life` keeps until the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use muster_agent::local::Voucher;
use muster_agent::membership::GossipSockets;
use muster_agent::ports::PortSetup;
use muster_agent::setup::Setup;
use muster_agent::telemetry::{self, Logs};
use muster_agent::{Agent, Client, Folder, Mode, Ports};
use muster_front_consul::Front;
use muster_front_dns as dns;
use muster_front_eureka as eureka;
use muster_listen::{Census, Handler, Limits};
use muster_registry::Door;
use muster_world::{Address, Memory, Permit, Real, World};
use serde_json::json;
use tracing::{info, warn};

use crate::cli::Launch;
use crate::config::Config;
use crate::config::listeners::ListenAddress;
use crate::identity;
use crate::reload::{Reload, Told};
use crate::sockets;
use crate::translate;
use crate::watches::Watches;
use crate::web::Web;

/// A running agent with all its parts.
pub struct Running {
    /// The agent.
    pub agent: Mode,
    /// The world of the agent's data: in memory for `--dev`.
    pub world: Arc<dyn World>,
    /// The machine, for files that people asked for by path.
    pub host: Arc<dyn World>,
    /// Bound addresses by listener.
    pub bound: serde_json::Value,
    /// Where the bound addresses are to be written; empty: nowhere.
    pub ready_file: String,
    /// Where the process id is to be written; empty: nowhere.
    pub pid_file: String,
    /// Whether SIGINT means to leave.
    pub leaves_on_interrupt: bool,
    /// Whether SIGTERM means to leave.
    pub leaves_on_terminate: bool,
    front: Arc<Front>,
    web: Vec<muster_listen::Running>,
    dns: tokio::task::JoinHandle<()>,
    watches: Arc<Watches>,
}

/// Builds and starts an agent.
///
/// # Errors
/// Says what stands in the way and what to do; nothing is left behind.
pub async fn assemble(launch: Launch) -> Result<Running, String> {
    let config = &launch.loaded.config;
    let host: Arc<dyn World> = Arc::new(Real::new());
    let world = world_of_data(&host, &launch);
    let (level, style) = translate::logging(config)?;
    let logs = telemetry::start(host.clone(), level, style);
    for warning in &launch.loaded.warnings {
        warn!("{warning}");
    }

    let data_folder = translate::data_folder(config);
    let (folder, identity) = identity::open(&world, &data_folder, config).await?;
    let permit = sockets::permit(&*host, &config.unix_sockets)?;
    let http = bind_http("HTTP", config.http_listeners(), permit, &*host)?;
    let eureka_at = bind_http("Eureka", config.eureka_listeners(), permit, &*host)?;
    let sockets = bind_dns(config, &*host)?;
    let ports = Bound::bind(&*host, identity.is_server, &translate::ports(config, &identity)?)?;

    let reload = Arc::new(Reload::new(&launch));
    let names_at = sockets.udp.first().and_then(|socket| socket.local_address().ok());
    let (own, data) = (identity.clone(), data_folder.clone());
    let setup = translate::agent(config, own, data, names_at, reload.clone());
    let bound = addresses(&http, &eureka_at, &sockets, &ports);
    let agent = start_agent(world.clone(), logs, folder, setup, ports).await?;
    let spread = agent.lan().clone();
    let (local, declared) = translate::local(config, identity.clone(), data_folder, spread)?;
    let mut voucher = Voucher::start(world.clone(), agent.registry(), local, declared)
        .await
        .map_err(|error| error.to_string())?;
    voucher.follow_leaders(agent.n_leaders());
    let voucher = Arc::new(voucher);
    let (registry, operator) = (agent.registry(), agent.operator());
    let door = Door { registry, local: voucher.clone(), operator };

    let front = Front::new(door.clone(), translate::front_consul(config)?, seed(&*host));
    let limits = Arc::new(translate::http_limits(config));
    let apps = start_eureka(door, &agent, limits.clone(), host.clone());
    let web = Arc::new(Web { consul: front.clone(), eureka: apps.clone() });
    let census = Census::new(Limits::clone(&limits));
    let settings = translate::front_dns(config)?;
    let names = dns::Server::new(agent.registry(), &identity, settings, host.clone(), &sockets)
        .map_err(|error| error.to_string())?;
    let own_address = http.first().and_then(|listener| listener.local_address().ok());
    let watches = Arc::new(Watches::new(host.clone(), own_address));
    reload.arm(&Told {
        logs: agent.logs(),
        voucher: &voucher,
        front: &front,
        names: &names,
        watches: &watches,
    });

    let mut listeners = serve(http, &web, &census)?;
    listeners.extend(serve(eureka_at, &Arc::new(eureka::Service(apps)), &census)?);
    let dns = tokio::spawn(names.run(sockets));
    watches.replace(&config.watches);
    info!(node = %identity.node, datacenter = %identity.datacenter, %bound, "serves");
    Ok(Running {
        agent,
        world,
        host,
        bound,
        ready_file: config.ready_file.clone(),
        pid_file: config.pid_file.clone(),
        leaves_on_interrupt: !config.skips_leave_on_interrupt(),
        leaves_on_terminate: config.leaves_on_terminate(),
        front,
        web: listeners,
        dns,
        watches,
    })
}

/// The agent itself, in its mode.
async fn start_agent(
    world: Arc<dyn World>,
    logs: Logs,
    folder: Folder,
    setup: Setup,
    ports: Bound,
) -> Result<Mode, String> {
    let started = match ports {
        Bound::Server(at) => Agent::start(world, logs, folder, setup, at).await.map(Mode::Server),
        Bound::Client(at) => Client::start(world, logs, folder, setup, at).await.map(Mode::Client),
    };
    started.map_err(|error| error.to_string())
}

/// Eureka's front-end, which keeps up with what changes from now on.
fn start_eureka(
    door: Door,
    agent: &Mode,
    limits: Arc<Limits>,
    host: Arc<dyn World>,
) -> Arc<eureka::Front> {
    let front = eureka::Front::new(door, limits, Box::new(move || host.wall_clock()));
    tokio::spawn(eureka::Front::keep_up(Arc::downgrade(&front)));
    let numbers = Arc::downgrade(&front);
    let metrics = move || numbers.upgrade().map(|front| front.metrics()).unwrap_or_default();
    agent.add_metrics(Box::new(metrics));
    front
}

/// Puts a front-end behind listeners.
fn serve<H: Handler>(
    listeners: Vec<Box<dyn muster_listen::Listener>>,
    handler: &Arc<H>,
    census: &Arc<Census>,
) -> Result<Vec<muster_listen::Running>, String> {
    let started = listeners
        .into_iter()
        .map(|listener| muster_listen::serve(listener, handler.clone(), census.clone()));
    started
        .collect::<Result<_, _>>()
        .map_err(|error| format!("an HTTP listener does not start: {error}"))
}

impl Running {
    /// Stops everything, against the order in which it was started.
    pub async fn stop(self, drain: Duration) {
        self.watches.stop();
        self.dns.abort();
        self.front.close();
        for listener in self.web {
            listener.stop(drain).await;
        }
        self.agent.shutdown().await;
    }
}

/// The bound ports of an agent towards other agents.
enum Bound {
    Server(Ports),
    /// Gossip alone: nobody asks a client.
    Client(GossipSockets),
}

impl Bound {
    fn bind(host: &dyn World, is_server: bool, at: &PortSetup) -> Result<Bound, String> {
        if is_server {
            let bound = Ports::bind(host, at);
            return bound
                .map(Bound::Server)
                .map_err(|failed| cannot_bind(failed.what, &failed.at.to_string(), &failed.error));
        }
        let bound = GossipSockets::bind(host, at.lan);
        bound.map(Bound::Client).map_err(|error| {
            cannot_bind("LAN gossip (ports.serf_lan)", &at.lan.to_string(), &error)
        })
    }

    /// For servers, the LAN pool, the WAN pool.
    fn addresses(&self) -> [Option<String>; 3] {
        match self {
            Bound::Server(ports) => match ports.addresses() {
                Ok((server, lan, wan)) => {
                    let wan = wan.map(|at| at.to_string());
                    [Some(server.to_string()), Some(lan.to_string()), wan]
                }
                Err(_) => [None, None, None],
            },
            Bound::Client(sockets) => {
                [None, sockets.local_address().ok().map(|at| at.to_string()), None]
            }
        }
    }
}

/// `--dev` keeps its files in memory and everything else on the machine; so nothing outlives it.
fn world_of_data(host: &Arc<dyn World>, launch: &Launch) -> Arc<dyn World> {
    let is_in_memory = launch.flags.is_dev && launch.loaded.config.data_dir.is_empty();
    if is_in_memory { Arc::new(Real::with_files(Arc::new(Memory::new()))) } else { host.clone() }
}

fn bind_http(
    what: &str,
    at: Vec<ListenAddress>,
    permit: Permit,
    host: &dyn World,
) -> Result<Vec<Box<dyn muster_listen::Listener>>, String> {
    let bind = |at: ListenAddress| {
        let address = match at {
            ListenAddress::Tcp(address) => Address::Inet(address),
            ListenAddress::Unix(path) => Address::Unix(path),
        };
        let bound = host.listen(&address);
        let bound = bound.map_err(|error| cannot_bind(what, &address.to_string(), &error))?;
        if let Address::Unix(path) = &address {
            host.permit(path, permit).map_err(|error| {
                let path = path.display();
                format!("unix_sockets: {path} cannot be given its owner or mode: {error}")
            })?;
        }
        Ok(bound)
    };
    at.into_iter().map(bind).collect()
}

/// Ports that are tried where any free one will do: free for streams, it may be taken for datagrams.
const FREE_PORTS_TRIED: usize = 32;

fn bind_dns(config: &Config, host: &dyn World) -> Result<dns::Sockets, String> {
    let mut sockets = dns::Sockets::default();
    for at in config.dns_listeners() {
        let tries = if at.port() == 0 { FREE_PORTS_TRIED } else { 1 };
        let mut bound = bind_both(at, host);
        for _ in 1..tries {
            if bound.is_ok() {
                break;
            }
            bound = bind_both(at, host);
        }
        let (tcp, udp) = bound.map_err(|error| cannot_bind("DNS", &at.to_string(), &error))?;
        sockets.udp.push(udp);
        sockets.tcp.push(tcp);
    }
    Ok(sockets)
}

/// Sockets for streams and for datagrams on one port.
fn bind_both(
    at: SocketAddr,
    host: &dyn World,
) -> std::io::Result<(Box<dyn muster_listen::Listener>, Box<dyn muster_listen::Datagram>)> {
    let listener = host.listen(&Address::Inet(at))?;
    let bound = match listener.local_address()? {
        Address::Inet(bound) => bound,
        Address::Unix(_) => at,
    };
    let datagrams = host.bind(bound, false)?;
    Ok((listener, datagrams))
}

fn cannot_bind(what: &str, at: &str, error: &std::io::Error) -> String {
    let advice = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "another process holds it, perhaps another agent: stop that one, or choose another \
             port (0 takes any free one)"
        }
        std::io::ErrorKind::PermissionDenied => {
            "ports below 1024 need a privilege: choose another port"
        }
        std::io::ErrorKind::AddrNotAvailable => "no interface of this machine has that address",
        _ => "choose another address or port",
    };
    format!("{what} cannot listen at {at}: {error}; {advice}")
}

/// What was bound, by listener, as `--ready-file` tells it.
fn addresses(
    http: &[Box<dyn muster_listen::Listener>],
    eureka: &[Box<dyn muster_listen::Listener>],
    sockets: &dns::Sockets,
    ports: &Bound,
) -> serde_json::Value {
    let told = |listeners: &[Box<dyn muster_listen::Listener>]| {
        let addresses = listeners.iter().filter_map(|listener| listener.local_address().ok());
        addresses.map(|address| address.to_string()).next()
    };
    let [server, lan, wan] = ports.addresses();
    json!({
        "http": told(http),
        "eureka": told(eureka),
        "dns": told(&sockets.tcp),
        "server": server,
        "serf_lan": lan,
        "serf_wan": wan,
    })
}

fn seed(world: &dyn World) -> u64 {
    let seed = world.seed();
    u64::from_le_bytes(*seed.first_chunk().expect("a seed has 32 bytes"))
}
