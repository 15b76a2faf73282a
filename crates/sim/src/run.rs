//! One run: servers, clients and a nemesis from one seed; then everything is made whole, and the
//! cluster has to serve.

use std::time::Duration;

use crate::acknowledged;
use crate::checkers::{self, Clocks};
use crate::clients::{Clients, ask};
use crate::cluster::Cluster;
use crate::history::{Action, Freshness, History, Operation, OperationResult, StateSeen};
use crate::nemesis::{DRIFT_MAX, Nemesis, Range, draw};
use crate::network::Latency;
use crate::plant::{Plant, make_mistakes};
use crate::servers::{draw_settings, setup_of};
use crate::trace::{HostNumber, Telling, Work};
use crate::watchers::Watchers;

/// Clients of a run.
const N_CLIENTS: u32 = 10;
/// Watchers of a run.
const N_WATCHERS: u32 = 6;
/// The longest pause between two actions of a client.
const PAUSE_MAX: Duration = Duration::from_millis(300);
/// How long a cluster has to be well again after everything was made whole.
const RECOVERS_WITHIN: Duration = Duration::from_secs(10);
/// How often states are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How late a server may be with what is due: it may be paused, or wait for a disk, more than once.
const LATENESS_MAX: Duration = Duration::from_secs(30);
/// How often it is looked whether a demand is met.
const DEMAND_INTERVAL: Duration = Duration::from_millis(50);
/// What a run writes last, and reads back everywhere.
const LAST_KEY: &str = "last";

/// What a run shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// What everything is drawn from.
    pub seed: u64,
    /// Servers.
    pub n_servers: usize,
    /// How long clients work and things go wrong.
    pub time: Duration,
    /// How much is told.
    pub telling: Telling,
    /// A mistake that the servers shall seem to make.
    pub plant: Option<Plant>,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was asked for.
    pub order: Order,
    /// What clients saw.
    pub history: History,
    /// A hash over everything that happened.
    pub hash: u64,
    /// How much happened.
    pub work: Work,
    /// Faults.
    pub n_faults: usize,
    /// What is wrong; nothing, if all is well.
    pub wrong: Vec<String>,
    /// What happened, in words.
    pub story: Vec<String>,
}

impl Order {
    /// A minute of a server that is alone.
    #[must_use]
    pub fn minute(seed: u64) -> Order {
        let time = Duration::from_secs(60);
        Order { seed, n_servers: 1, time, telling: Telling::Little, plant: None }
    }
}

/// Runs a simulation to its end and judges it.
#[must_use]
pub fn run(order: Order) -> Report {
    let mut run = Run::begin(order);
    run.work();
    if !run.has_failed() {
        run.recover();
    }
    run.report()
}

struct Run {
    order: Order,
    cluster: Cluster,
    nemesis: Nemesis,
    clients: Clients,
    watchers: Watchers,
    history: History,
    wrong: Vec<String>,
}

impl Run {
    fn begin(order: Order) -> Run {
        let mut chance = crate::chance::chance_for(order.seed, "run");
        let settings = draw_settings(&mut chance);
        let setups = (0..order.n_servers)
            .map(|server| setup_of(server, order.n_servers, settings.clone()))
            .collect();
        let mut cluster = Cluster::start(order.seed, Latency::default(), order.telling, setups);
        if let Some(plant) = order.plant {
            cluster.plant(plant);
        }
        let range =
            Range { from: Duration::from_secs(2), to: order.time, n_servers: order.n_servers };
        let purpose = |name| cluster.simulation.chance_for(name);
        let nemesis = Nemesis::new(draw(range, &mut purpose("nemesis")));
        let clients = Clients::new(N_CLIENTS, PAUSE_MAX, purpose("clients"));
        let watchers = Watchers::new(N_WATCHERS, purpose("watchers"));
        let (history, wrong) = (History::default(), Vec::new());
        Run { order, cluster, nemesis, clients, watchers, history, wrong }
    }

    /// Clients work while things go wrong.
    fn work(&mut self) {
        while self.now() < self.order.time && !self.has_failed() {
            self.nemesis.step(&mut self.cluster);
            self.step(true);
        }
    }

    fn step(&mut self, may_begin: bool) {
        self.clients.step(&self.cluster, &mut self.history, may_begin);
        self.watchers.step(&self.cluster, &mut self.history);
        if let Some(plant) = self.order.plant {
            make_mistakes(plant, &self.cluster, &self.history);
        }
        self.cluster.step();
        if self.now().as_millis().is_multiple_of(LOOK_INTERVAL.as_millis()) {
            self.look();
        }
    }

    /// Whether code panicked: then the rest of the run would show nothing.
    fn has_failed(&self) -> bool {
        self.cluster.simulation.failure().is_some()
    }

    fn now(&self) -> Duration {
        self.cluster.simulation.now()
    }

    /// Notes the state of every server.
    fn look(&mut self) {
        for server in 0..self.cluster.n_servers() {
            let Some(running) = self.cluster.server(server) else { continue };
            let (index, hash) = running.agent.state_hash();
            let told = format!("{server} {index} {hash}");
            self.cluster.simulation.trace().take_in(told.as_bytes());
            let seen_at = self.now();
            self.history.states.push(StateSeen { server, seen_at, index, hash });
        }
    }
}

// ------------------------------------------------------------------------------------------------
// Afterwards
// ------------------------------------------------------------------------------------------------

impl Run {
    /// Makes everything whole and demands service.
    fn recover(&mut self) {
        self.nemesis.heal(&mut self.cluster);
        let until = self.now() + RECOVERS_WITHIN;
        self.demand(until, "no server leads, or several do", Run::has_one_leader);
        for server in 0..self.cluster.n_servers() {
            self.demand_writes(server, until);
        }
        self.demand(until, "the servers' states do not become equal", Run::has_equal_states);
        while !self.clients.are_idle() {
            self.step(false);
        }
        self.read_everything();
        self.look();
    }

    fn demand(&mut self, until: Duration, why: &str, holds: impl Fn(&Run) -> bool) {
        while !holds(self) {
            for _ in 0..DEMAND_INTERVAL.as_millis() {
                self.step(false);
            }
            if self.now() >= until {
                let within = format!("{RECOVERS_WITHIN:?} after everything was made whole: {why}");
                return self.wrong.push(within);
            }
        }
    }

    fn has_one_leader(&self) -> bool {
        let servers = (0..self.cluster.n_servers()).map(|number| self.cluster.server(number));
        let Some(servers) = servers.collect::<Option<Vec<_>>>() else { return false };
        let leading =
            |server: &crate::servers::Server| server.agent.leadership().borrow().is_leader;
        servers.iter().filter(|server| leading(server)).count() == 1
    }

    fn has_equal_states(&self) -> bool {
        let servers = (0..self.cluster.n_servers()).map(|number| self.cluster.server(number));
        let hashes = servers.map(|server| server.map(|server| server.agent.state_hash()));
        let Some(hashes) = hashes.collect::<Option<Vec<_>>>() else { return false };
        hashes.windows(2).all(|pair| pair[0] == pair[1])
    }

    /// A server has to take a write and to give it back.
    fn demand_writes(&mut self, server: HostNumber, until: Duration) {
        let value = u64::MAX - server as u64;
        let write = Action::Put { key: LAST_KEY.into(), value };
        let read = Action::Read { key: LAST_KEY.into(), freshness: Freshness::Default };
        for action in [write, read] {
            loop {
                if matches!(self.ask(server, action.clone()), OperationResult::Done { .. }) {
                    break;
                }
                if self.now() >= until {
                    let within = format!("{RECOVERS_WITHIN:?} after everything was made whole");
                    return self.wrong.push(format!("{within}: server {server} does not serve"));
                }
            }
        }
    }

    /// Asks a server and waits; notes it as what a client of its own heard.
    fn ask(&mut self, server: HostNumber, action: Action) -> OperationResult {
        let invoked_at = self.now();
        let promise = ask(&self.cluster, server, action.clone());
        let result = loop {
            self.step(false);
            match &promise {
                None => break OperationResult::Failed("no server there".to_owned()),
                Some(promise) => {
                    if let Some(result) = promise.take() {
                        break result;
                    }
                    if promise.is_broken() {
                        break OperationResult::Unknown("the server is gone".to_owned());
                    }
                }
            }
        };
        let (client, returned_at) = (N_CLIENTS, self.now());
        let asked =
            Operation { client, server, action, invoked_at, returned_at, result: result.clone() };
        self.history.operations.push(asked);
        result
    }

    /// Reads on every server all that was ever written: what was acknowledged must be there.
    fn read_everything(&mut self) {
        let mut subjects: Vec<Action> = Vec::new();
        for operation in &self.history.operations {
            let freshness = Freshness::Consistent;
            let reading = match &operation.action {
                Action::Put { key, .. }
                | Action::PutIf { key, .. }
                | Action::Append { key, .. }
                | Action::Acquire { key, .. }
                | Action::Delete { key } => Action::Read { key: key.clone(), freshness },
                Action::Register { service, .. } => {
                    Action::List { service: service.clone(), freshness }
                }
                _ => continue,
            };
            if !subjects.contains(&reading) {
                subjects.push(reading);
            }
        }
        for server in 0..self.cluster.n_servers() {
            for reading in &subjects {
                self.ask(server, reading.clone());
            }
        }
    }

    fn report(mut self) -> Report {
        self.history.leaderships = self.cluster.leaderships().to_vec();
        self.wrong.extend(judge(&self.history));
        self.wrong.extend(self.cluster.simulation.failure().map(str::to_owned));
        let trace = self.cluster.simulation.trace();
        Report {
            order: self.order,
            hash: trace.hash(),
            work: trace.work(),
            n_faults: self.nemesis.n_begun(),
            story: trace.story(),
            wrong: self.wrong,
            history: self.history,
        }
    }
}

/// What all judges find wrong with a history.
fn judge(history: &History) -> Vec<String> {
    let mut wrong = acknowledged::judge(history);
    let clocks = Clocks { drift: DRIFT_MAX, slack: LATENESS_MAX };
    wrong.extend(checkers::judge(history, &clocks).iter().map(ToString::to_string));
    wrong
}
