//! Servers: whole agents on simulated hosts, as the binary would put them together.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use muster_agent::agent::Stop;
use muster_agent::checks::CheckTerms;
use muster_agent::local::{LocalSetup, Voucher};
use muster_agent::ports::PortSetup;
use muster_agent::setup::Declared;
use muster_agent::{
    Agent, ConsensusSettings, Folder, GossipSetup, GuardSettings, Joins, Ports, Setup, telemetry,
};
use muster_model::server_care::ServerCare;
use muster_registry::local::Identity;
use muster_registry::operator::{LogLevel, SettingValue};
use muster_world::{World, blocking};
use rand::Rng;
use rand::rngs::SmallRng;

use crate::host::Program;
use crate::network::ip_of;
use crate::sim_world::SimWorld;
use crate::trace::HostNumber;

/// Where a server keeps its data.
pub const DATA_FOLDER: &str = "/data";

/// The port under which servers reach each other.
const SERVER_PORT: u16 = 8300;
/// The port under which members reach each other.
const GOSSIP_PORT: u16 = 8301;

/// A running server.
#[derive(Clone)]
pub struct Server {
    /// The agent.
    pub agent: Arc<Agent>,
    /// What it vouches for.
    pub voucher: Arc<Voucher>,
}

/// Where a server is found while it runs.
#[derive(Clone, Default)]
pub struct Seat(Arc<Mutex<Option<Server>>>);

impl Seat {
    /// The server, if it has come up.
    #[must_use]
    pub fn server(&self) -> Option<Server> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn clear(&self) {
        let server = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(server);
    }

    fn take(&self, server: Server) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
    }
}

/// The sizes of servers: small, so that a minute fills segments, makes snapshots and purges.
#[must_use]
pub fn draw_settings(chance: &mut SmallRng) -> ConsensusSettings {
    ConsensusSettings {
        snapshot_after: chance.random_range(100..1_500),
        entries_kept: chance.random_range(0..200),
        reserve_bytes: 64 << 10,
        cache_bytes: chance.random_range(0..64) << 10,
        segment_bytes: chance.random_range(32..256) << 10,
        ..ConsensusSettings::default()
    }
}

/// The name of a server's node.
#[must_use]
pub fn node_name(server: HostNumber) -> String {
    format!("server-{server}")
}

/// What a server of a cluster of `n_servers` is told.
#[must_use]
pub fn setup_of(server: HostNumber, n_servers: usize, consensus: ConsensusSettings) -> Setup {
    let address = ip_of(server);
    let identity = Identity {
        node: node_name(server).into(),
        node_id: format!("{:08x}-0000-4000-8000-000000000000", server + 1).into(),
        datacenter: "dc1".into(),
        primary_datacenter: "dc1".into(),
        is_server: true,
        address: address.to_string().into(),
        version: "simulated",
        ..Identity::default()
    };
    Setup {
        identity,
        data_folder: PathBuf::from(DATA_FOLDER),
        consensus,
        expects: n_servers,
        care: ServerCare { stabilization: Duration::from_secs(2), ..ServerCare::default() },
        gossip: GossipSetup {
            lan_joins: Joins {
                addresses: (0..n_servers).map(|other| ip_of(other).to_string()).collect(),
                interval: Duration::from_secs(2),
                tries_max: 0,
            },
            usual_ports: (GOSSIP_PORT, 0),
            ..GossipSetup::default()
        },
        guard: GuardSettings::default(),
        // Its keys are made by a library with dice of its own.
        authority: None,
        write_timeout: Duration::from_secs(7),
        reload: Arc::new(|| Box::pin(std::future::ready(Ok(Vec::new())))),
        settings: SettingValue::Absent,
        api_version: "simulated".into(),
    }
}

/// The program that is a server. `setup` is asked at every start.
pub fn server_program(seat: Seat, setup: impl Fn() -> Setup + Send + Sync + 'static) -> Program {
    Arc::new(move |world| {
        let (seat, setup) = (seat.clone(), setup());
        Box::pin(async move {
            match serve(world, seat, setup).await {
                Ok(why) => why,
                Err(why) => format!("cannot start: {why}"),
            }
        })
    })
}

/// Starts a server and runs it until it must end; says why it ended.
async fn serve(world: Arc<SimWorld>, seat: Seat, setup: Setup) -> Result<String, String> {
    let world: Arc<dyn World> = world;
    let logs = telemetry::start(world.clone(), LogLevel::Error, telemetry::Style::Plain);
    let folder = open_folder(&world, &setup).await?;
    let identity = setup.identity.clone();
    let address: IpAddr = identity.address.parse().map_err(|_| "its address is none")?;
    let at = |port| SocketAddr::new(address, port);
    let ports = PortSetup { server: at(SERVER_PORT), lan: at(GOSSIP_PORT), wan: None };
    let ports = Ports::bind(&*world, &ports).map_err(|error| error.to_string())?;
    let local_folder = setup.data_folder.join("local");
    let agent = Agent::start(world.clone(), logs, folder, setup, ports).await;
    let agent = agent.map_err(|error| error.to_string())?;
    let local = LocalSetup {
        identity,
        folder: local_folder,
        terms: CheckTerms::default(),
        spread: Some(agent.lan().clone()),
    };
    let voucher = Voucher::start(world, agent.clone(), local, Declared::default()).await;
    let voucher = Arc::new(voucher.map_err(|error| error.to_string())?);
    let mut stopping = agent.stopping();
    seat.take(Server { agent: agent.clone(), voucher });
    let stop = stopping.wait_for(|stop| !matches!(stop, Stop::No)).await;
    match stop.map(|stop| stop.clone()) {
        Ok(Stop::Fatal(fatal)) => Ok(fatal.to_string()),
        Ok(_) => {
            agent.shutdown().await;
            Ok("it was asked to stop".to_owned())
        }
        Err(_) => Ok("the agent is gone".to_owned()),
    }
}

async fn open_folder(world: &Arc<dyn World>, setup: &Setup) -> Result<Folder, String> {
    let (inside, path) = (world.clone(), setup.data_folder.clone());
    let digits = setup.identity.node_id.replace('-', "");
    let id = u64::from_str_radix(digits.get(..16).unwrap_or_default(), 16);
    let id = id.map_err(|error| error.to_string())?;
    let opened = blocking(&**world, move || Folder::open(inside, &path, Some(id))).await;
    let opened = opened.ok_or("the data folder could not be looked at")?;
    opened.map_err(|error| error.to_string())
}
