//! The parts of an agent, assembled in order.

use std::sync::{Arc, PoisonError, RwLock};

use muster_consensus::{Consensus, Fatal, Folder, NoPeers, OnFatal, Settings};
use muster_registry::operator::Metric;
use muster_world::World;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::{error, info};

use crate::leader;
use crate::leases::SessionLeases;
use crate::machine::{Shared, StateMachine};
use crate::setup::Setup;
use crate::telemetry::Logs;

pub use muster_consensus::StartError;

/// Numbers that another part of the process adds to the agent's metrics.
pub type MetricSource = Box<dyn Fn() -> Vec<Metric> + Send + Sync>;

/// One running agent: a server of its datacenter.
pub struct Agent {
    pub(crate) setup: Setup,
    pub(crate) world: Arc<dyn World>,
    pub(crate) logs: Logs,
    pub(crate) shared: Arc<Shared>,
    pub(crate) consensus: Consensus,
    pub(crate) leases: SessionLeases,
    pub(crate) metric_sources: RwLock<Vec<MetricSource>>,
    pub(crate) started_at: Instant,
    stopping: watch::Sender<Stop>,
}

/// Whether the agent shall go on.
#[derive(Clone, Debug, Default)]
pub enum Stop {
    /// It runs.
    #[default]
    No,
    /// Somebody asked it to leave.
    Asked,
    /// It must end: going on would risk what was acknowledged.
    Fatal(Fatal),
}

impl Agent {
    /// Starts an agent on a data folder that it has locked. Returns once everything that was on
    /// disk is in the state; a cluster of one leads then.
    ///
    /// # Errors
    /// Where the folder cannot be used; it is left as it was.
    pub async fn start(
        world: Arc<dyn World>,
        logs: Logs,
        folder: Folder,
        setup: Setup,
    ) -> Result<Arc<Agent>, StartError> {
        let (stopping, _) = watch::channel(Stop::No);
        let shared = Shared::new();
        let settings =
            Settings { address: setup.server_address.to_string(), ..setup.consensus.clone() };
        let machine = Box::new(StateMachine::new(shared.clone()));
        let consensus = Consensus::start(
            settings,
            folder,
            machine,
            Arc::new(NoPeers),
            tell_fatal(stopping.clone()),
        )
        .await?;
        let agent = Arc::new(Agent {
            setup,
            world,
            logs,
            shared,
            consensus,
            leases: SessionLeases::new(),
            metric_sources: RwLock::default(),
            started_at: Instant::now(),
            stopping,
        });
        tokio::spawn(leader::run(Arc::downgrade(&agent)));
        Ok(agent)
    }

    /// Adds numbers of another part of the process to this agent's metrics.
    pub fn add_metrics(&self, source: MetricSource) {
        self.metric_sources.write().unwrap_or_else(PoisonError::into_inner).push(source);
    }

    /// Wakes when the agent shall stop.
    pub fn stopping(&self) -> watch::Receiver<Stop> {
        self.stopping.subscribe()
    }

    /// Asks the agent to stop: whoever waits on [`Agent::stopping`] takes it down.
    pub fn stop(&self) {
        self.stopping.send_if_modified(|stop| {
            let is_first = matches!(stop, Stop::No);
            if is_first {
                *stop = Stop::Asked;
            }
            is_first
        });
    }

    /// Closes the log in order. What is submitted from now on is refused.
    pub async fn shutdown(&self) {
        self.stop();
        if timeout(SHUTDOWN_TIMEOUT, self.consensus.shutdown()).await.is_err() {
            error!("the log was not closed in time; the next start repairs it");
        }
        info!("stopped");
    }

    /// The logs of this process.
    pub fn logs(&self) -> &Logs {
        &self.logs
    }
}

/// How long the log may take to close.
const SHUTDOWN_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

fn tell_fatal(stopping: watch::Sender<Stop>) -> OnFatal {
    Arc::new(move |fatal| {
        error!(%fatal, "must end");
        stopping.send_replace(Stop::Fatal(fatal));
    })
}
