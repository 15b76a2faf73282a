//! A running agent, in whichever mode: what everything around it needs of either.

use std::sync::Arc;

use muster_registry::{Operator, Registry};
use tokio::sync::watch;

use crate::agent::{Agent, MetricSource, Stop};
use crate::client::Client;
use crate::membership::Membership;
use crate::telemetry::Logs;

/// A running agent.
#[derive(Clone)]
pub enum Mode {
    /// It keeps the state, with others.
    Server(Arc<Agent>),
    /// It asks those who do.
    Client(Arc<Client>),
}

impl Mode {
    /// The door to the catalog.
    pub fn registry(&self) -> Arc<dyn Registry> {
        match self {
            Mode::Server(agent) => agent.clone(),
            Mode::Client(client) => client.registry().clone(),
        }
    }

    /// For those who run it.
    pub fn operator(&self) -> Arc<dyn Operator> {
        match self {
            Mode::Server(agent) => agent.clone(),
            Mode::Client(client) => client.clone(),
        }
    }

    /// The pool of the datacenter.
    pub fn lan(&self) -> &Arc<Membership> {
        match self {
            Mode::Server(agent) => agent.lan(),
            Mode::Client(client) => client.lan(),
        }
    }

    /// The logs of this process.
    pub fn logs(&self) -> &Logs {
        match self {
            Mode::Server(agent) => agent.logs(),
            Mode::Client(client) => client.logs(),
        }
    }

    /// Counts the leaders that came, and on a client the times that servers came back: what the agent
    /// vouches for has to be compared then.
    pub fn n_leaders(&self) -> watch::Receiver<u64> {
        match self {
            Mode::Server(agent) => agent.n_leaders(),
            Mode::Client(client) => client.registry().n_leaders(),
        }
    }

    /// Adds numbers of another part of the process to this agent's metrics.
    pub fn add_metrics(&self, source: MetricSource) {
        match self {
            Mode::Server(agent) => agent.add_metrics(source),
            Mode::Client(client) => client.add_metrics(source),
        }
    }

    /// Wakes when the agent shall stop.
    pub fn stopping(&self) -> watch::Receiver<Stop> {
        match self {
            Mode::Server(agent) => agent.stopping(),
            Mode::Client(client) => client.stopping(),
        }
    }

    /// Ends the agent in order. What is submitted from now on is refused.
    pub async fn shutdown(&self) {
        match self {
            Mode::Server(agent) => agent.shutdown().await,
            Mode::Client(client) => client.shutdown(),
        }
    }
}
