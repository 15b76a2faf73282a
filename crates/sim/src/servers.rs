//! Servers: whole agents on simulated hosts, as the binary would put them together.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use muster_agent::agent::Stop;
use muster_agent::local::{LocalSetup, Voucher};
use muster_agent::setup::Declared;
use muster_agent::{Agent, CheckSettings, ConsensusSettings, Folder, Setup, checks, telemetry};
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

/// What a server is told: alone in its cluster.
#[must_use]
pub fn setup_of(server: HostNumber, consensus: ConsensusSettings) -> Setup {
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
        server_address: format!("{address}:{SERVER_PORT}").into(),
        gossip_port: GOSSIP_PORT,
        // Its keys are made by a library with dice of its own.
        authority: None,
        write_timeout: Duration::from_secs(7),
        reload: Arc::new(|| Box::pin(std::future::ready(Ok(())))),
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
    let local = LocalSetup {
        identity: setup.identity.clone(),
        folder: setup.data_folder.join("local"),
        settings: CheckSettings::default(),
        allowed: checks::Allowed::default(),
    };
    let agent = Agent::start(world.clone(), logs, folder, setup).await;
    let agent = agent.map_err(|error| error.to_string())?;
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
    let first_half = setup.identity.node_id.get(..8).unwrap_or_default();
    let id = u64::from_str_radix(first_half, 16).map_err(|error| error.to_string())?;
    let opened = blocking(&**world, move || Folder::open(inside, &path, Some(id))).await;
    let opened = opened.ok_or("the data folder could not be looked at")?;
    opened.map_err(|error| error.to_string())
}
