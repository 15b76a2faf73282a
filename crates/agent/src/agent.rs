//! The parts of an agent, assembled in order.

use std::sync::{Arc, PoisonError, RwLock};

use muster_consensus::{
    Consensus, Fatal, Folder, Founding, Leadership, OnFatal, Settings, StartError,
};
use muster_model::Index;
use muster_registry::operator::Metric;
use muster_rpc::Pool;
use muster_world::World;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::{error, info, warn};

use crate::belonging::{self, Belonging};
use crate::care::Care;
use crate::conflicts::Conflicts;
use crate::doubts::Doubts;
use crate::group::{Reception, Way};
use crate::leases::MeasuredLeases;
use crate::machine::{Shared, StateMachine};
use crate::membership::Membership;
use crate::ports::Ports;
use crate::reconciler::FailureGuard;
use crate::setup::Setup;
use crate::telemetry::Logs;
use crate::{founding, group, leader, placing, pools};

/// Numbers that another part of the process adds to the agent's metrics.
pub type MetricSource = Box<dyn Fn() -> Vec<Metric> + Send + Sync>;

/// One running agent: a server of its datacenter.
pub struct Agent {
    pub(crate) setup: Setup,
    pub(crate) world: Arc<dyn World>,
    pub(crate) logs: Logs,
    pub(crate) shared: Arc<Shared>,
    /// Connections to other agents.
    pub(crate) pool: Arc<Pool>,
    pub(crate) consensus: Consensus,
    pub(crate) leases: MeasuredLeases,
    /// The pool of the datacenter.
    pub(crate) lan: Arc<Membership>,
    /// The pool of the servers of all datacenters, if this one takes part.
    pub(crate) wan: Option<Arc<Membership>>,
    pub(crate) care: Care,
    pub(crate) belonging: Belonging,
    pub(crate) guard: FailureGuard,
    pub(crate) conflicts: Conflicts,
    pub(crate) doubts: Doubts,
    /// `ip:port` under which other servers reach this one.
    pub(crate) server_address: String,
    pub(crate) metric_sources: RwLock<Vec<MetricSource>>,
    pub(crate) started_at: Instant,
    reception: Arc<Reception>,
    /// Served as long as the agent runs.
    serving: muster_rpc::Running,
    n_leaders: watch::Sender<u64>,
    led_term: watch::Sender<u64>,
    stopping: watch::Sender<Stop>,
}

/// Why an agent does not start. What it was given is as it was.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] StartError),
    /// What it says of itself does not fit, or its keys cannot be read.
    #[error("{0}")]
    Gossip(String),
    /// It cannot serve other agents.
    #[error("other agents cannot be served: {0}")]
    Ports(#[from] std::io::Error),
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

impl Stop {
    /// Asks an agent to stop, unless it shall already.
    pub(crate) fn ask(stopping: &watch::Sender<Stop>) {
        stopping.send_if_modified(|stop| {
            let is_first = matches!(stop, Stop::No);
            if is_first {
                *stop = Stop::Asked;
            }
            is_first
        });
    }
}

impl Agent {
    /// Starts an agent on a data folder that it has locked, at ports that are bound. Returns once
    /// everything that was on disk is in the state; a cluster of one leads then.
    ///
    /// # Errors
    /// Where the folder cannot be used; it is left as it was.
    pub async fn start(
        world: Arc<dyn World>,
        logs: Logs,
        folder: Folder,
        setup: Setup,
        ports: Ports,
    ) -> Result<Arc<Agent>, AgentError> {
        let (stopping, _) = watch::channel(Stop::No);
        let shared = Shared::new();
        let identity = &setup.identity;
        let server_port = ports.server_port()?;
        let server_address = pools::address(identity, server_port)?.to_string();
        let hello = pools::hello(identity, folder.node());
        let limits = group::limits();
        let plain = Arc::new(muster_rpc::Plain);
        let pool = Pool::new(world.clone(), hello.clone(), limits.clone(), plain.clone());
        let settings = Settings {
            address: server_address.clone(),
            founding: if setup.expects == 1 { Founding::Alone } else { Founding::Wait },
            ..setup.consensus.clone()
        };
        let machine = Box::new(StateMachine::new(shared.clone()));
        let way = Arc::new(Way(pool.clone()));
        let on_fatal = tell_fatal(stopping.clone());
        let consensus = Consensus::start(settings, folder, machine, way, on_fatal).await?;
        let pools = pools::start(&world, &setup, ports.gossip, server_port).await?;
        let reception = Reception::new(&identity.datacenter);
        let serving = muster_rpc::serve(ports.server, reception.clone(), hello, limits, plain)?;
        let belonging = Belonging::open(&*world, setup.data_folder.join("cluster"));
        let agent = Arc::new(Agent {
            belonging,
            guard: FailureGuard::new(setup.guard),
            conflicts: Conflicts::default(),
            doubts: Doubts::default(),
            setup,
            world,
            logs,
            shared,
            pool,
            consensus,
            leases: MeasuredLeases::new(),
            lan: pools.lan,
            wan: pools.wan,
            care: Care::new(),
            server_address,
            metric_sources: RwLock::default(),
            started_at: Instant::now(),
            reception,
            serving,
            n_leaders: watch::Sender::new(0),
            led_term: watch::Sender::new(0),
            stopping,
        });
        agent.reception.open(&agent);
        agent.begin();
        Ok(agent)
    }

    /// Begins what the agent does by itself.
    fn begin(self: &Arc<Agent>) {
        let setup = &self.setup;
        // What was on disk came at a time that this process did not see.
        self.shared.hub.begin_timeline();
        tokio::spawn(leader::run(Arc::downgrade(self)));
        tokio::spawn(belonging::keep(Arc::downgrade(self)));
        if setup.expects > 1 {
            tokio::spawn(founding::run(Arc::downgrade(self), setup.expects));
        }
        let node = setup.identity.node.clone();
        let lan = Arc::downgrade(&self.lan);
        tokio::spawn(placing::run(placing::registry_of(self), lan, node));
        let (n_leaders, led_term) = (self.n_leaders.clone(), self.led_term.clone());
        tokio::spawn(count_leaders(self.leadership(), n_leaders, led_term));
        pools::begin(&self.world, setup, &self.lan, self.wan.as_ref());
    }

    /// The pool of the datacenter.
    pub fn lan(&self) -> &Arc<Membership> {
        &self.lan
    }

    /// Where other servers reach this one.
    pub fn server_address(&self) -> &str {
        &self.server_address
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
        Stop::ask(&self.stopping);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        !matches!(*self.stopping.borrow(), Stop::No)
    }

    /// What the port of other agents has counted.
    pub(crate) fn served(&self) -> muster_rpc::Counters {
        self.serving.counters()
    }

    /// Hands the leadership over, if it is here and another can have it: the others need not find out
    /// by themselves that their leader is gone.
    pub(crate) async fn hand_over(&self, deadline: Instant) {
        let n_voters = self.consensus.servers().iter().filter(|server| server.is_voter).count();
        if n_voters < 2 || !self.consensus.leadership().borrow().is_leader {
            return;
        }
        match self.consensus.transfer(None, deadline).await {
            Ok(()) => info!("handed the leadership over"),
            Err(error) => warn!(%error, "the leadership is not handed over"),
        }
    }

    /// What is done here for other agents: verbs in hand, and readers that follow changes.
    pub(crate) fn n_served_now(&self) -> (usize, usize) {
        self.reception.clerk().map_or((0, 0), |clerk| (clerk.n_in_hand(), clerk.n_followers()))
    }

    /// The last term of which a leader is known here.
    pub(crate) fn led_term(&self) -> watch::Receiver<u64> {
        self.led_term.subscribe()
    }

    /// Counts the leaders that came: what this agent vouches for has to be compared then.
    pub fn n_leaders(&self) -> watch::Receiver<u64> {
        self.n_leaders.subscribe()
    }

    /// Hands over what it leads, sends other agents elsewhere, and closes the log in order. What is
    /// submitted after that is refused.
    pub async fn shutdown(&self) {
        let is_fatal = matches!(*self.stopping.borrow(), Stop::Fatal(_));
        if !is_fatal {
            self.hand_over(Instant::now() + HAND_OVER_TIMEOUT).await;
        }
        self.stop();
        self.reception.close();
        if timeout(SHUTDOWN_TIMEOUT, self.consensus.shutdown()).await.is_err() {
            error!("the log was not closed in time; the next start repairs it");
        }
        info!("stopped");
    }

    /// Who leads, as this server knows, and news of it.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.consensus.leadership()
    }

    /// The index at which the state stands here, and its hash: servers that stand at the same index
    /// have the same. Walks through the whole state.
    pub fn state_hash(&self) -> (Index, u64) {
        let state = self.shared.state.load();
        (state.index(), state.hash())
    }

    /// The logs of this process.
    pub fn logs(&self) -> &Logs {
        &self.logs
    }
}

/// How long another server may take to lead in the place of this one.
const HAND_OVER_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);
/// How long the log may take to close.
const SHUTDOWN_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// Counts each leader that another did not precede in the same term.
async fn count_leaders(
    mut leadership: watch::Receiver<Leadership>,
    n_leaders: watch::Sender<u64>,
    led_term: watch::Sender<u64>,
) {
    let mut last = None;
    loop {
        let now = {
            let seen = leadership.borrow_and_update();
            seen.leader.as_ref().map(|leader| (seen.term, leader.id))
        };
        if now.is_some() && now != last {
            last = now;
            n_leaders.send_modify(|n| *n += 1);
            led_term.send_replace(now.map_or(0, |(term, _)| term));
        }
        if leadership.changed().await.is_err() {
            return;
        }
    }
}

fn tell_fatal(stopping: watch::Sender<Stop>) -> OnFatal {
    Arc::new(move |fatal| {
        error!(%fatal, "must end");
        stopping.send_replace(Stop::Fatal(fatal));
    })
}
