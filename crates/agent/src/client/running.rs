//! One running agent that is no server: the parts of a client, assembled in order.
//!
//! It takes part in gossip, where it learns who the servers are, and speaks to them as a [`ClientAgent`].
//! It keeps no state and no log; what lies in its folder is what it vouches for, its keys and whom it
//! knew. What of it is the same as on a server is in the parts themselves.

use std::sync::{Arc, PoisonError, RwLock};

use muster_consensus::Folder;
use muster_registry::operator::Metric;
use muster_rpc::Pool;
use muster_world::World;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::info;

use super::{ClientAgent, ClientSettings, known};
use crate::agent::{AgentError, MetricSource, Stop};
use crate::membership::{GossipSockets, Membership};
use crate::operator::figures;
use crate::ports::GossipPorts;
use crate::setup::Setup;
use crate::telemetry::Logs;
use crate::{group, placing, pools};

/// One running agent: a client of its datacenter's servers.
pub struct Client {
    pub(super) setup: Setup,
    pub(super) world: Arc<dyn World>,
    pub(super) logs: Logs,
    pub(super) registry: Arc<ClientAgent>,
    /// The pool of the datacenter.
    pub(super) lan: Arc<Membership>,
    pub(super) started_at: Instant,
    metric_sources: RwLock<Vec<MetricSource>>,
    stopping: watch::Sender<Stop>,
    following: AbortHandle,
    /// Locked as long as the agent runs.
    _folder: Folder,
}

impl Client {
    /// Starts a client on a data folder that it has locked, at a port of gossip that is bound. It need
    /// not know a server yet.
    ///
    /// # Errors
    /// Where its keys cannot be read, or what it says of itself does not fit.
    pub async fn start(
        world: Arc<dyn World>,
        logs: Logs,
        folder: Folder,
        setup: Setup,
        sockets: GossipSockets,
    ) -> Result<Arc<Client>, AgentError> {
        let hello = pools::hello(&setup.identity, folder.node());
        let plain = Arc::new(muster_rpc::Plain);
        let pool = Pool::new(world.clone(), hello, group::limits(), plain);
        let ports = GossipPorts { lan: sockets, wan: None };
        let lan = pools::start(&world, &setup, ports, 0).await?.lan;
        let (known, following) = known::follow(lan.members());
        let settings = ClientSettings {
            datacenter: setup.identity.datacenter.clone(),
            seed: world.seed(),
            patience: setup.write_timeout,
            ..ClientSettings::default()
        };
        let registry = ClientAgent::start(pool, known, settings);
        pools::begin(&world, &setup, &lan, None);
        let node = setup.identity.node.clone();
        let told = placing::registry_of(&registry);
        tokio::spawn(placing::run(told, Arc::downgrade(&lan), node));
        Ok(Arc::new(Client {
            setup,
            world,
            logs,
            registry,
            lan,
            started_at: Instant::now(),
            metric_sources: RwLock::default(),
            stopping: watch::Sender::new(Stop::No),
            following,
            _folder: folder,
        }))
    }

    /// The door to what the servers keep.
    pub fn registry(&self) -> &Arc<ClientAgent> {
        &self.registry
    }

    /// The pool of the datacenter.
    pub fn lan(&self) -> &Arc<Membership> {
        &self.lan
    }

    /// The logs of this process.
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// Adds numbers of another part of the process to this agent's metrics.
    pub fn add_metrics(&self, source: MetricSource) {
        self.metric_sources.write().unwrap_or_else(PoisonError::into_inner).push(source);
    }

    /// Wakes when the agent shall stop.
    pub fn stopping(&self) -> watch::Receiver<Stop> {
        self.stopping.subscribe()
    }

    /// Asks the agent to stop: whoever waits on [`Client::stopping`] takes it down.
    pub fn stop(&self) {
        Stop::ask(&self.stopping);
    }

    /// Ends the life of the agent: there is nothing to be closed.
    pub fn shutdown(&self) {
        self.stop();
        info!("stopped");
    }

    pub(super) fn gather_metrics(&self) -> Vec<Metric> {
        let mut metrics = figures::of_the_process(&*self.world);
        metrics.extend(self.registry.metrics());
        metrics.extend(figures::of_gossip("lan", self.lan.figures()));
        let dialed = self.registry.forward().pool().counters();
        metrics.extend(figures::of_the_protocol(muster_rpc::Counters::default(), dialed));
        let sources = self.metric_sources.read().unwrap_or_else(PoisonError::into_inner);
        metrics.extend(sources.iter().flat_map(|source| source()));
        metrics
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.following.abort();
    }
}
