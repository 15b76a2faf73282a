//! Clients: each asks one server for one thing at a time, waits, and notes what it hears.
//!
//! A client outlives servers. What it asks for is done by a task on the server's host; if that host
//! dies, or the answer does not come in time, the client does not know what came of it and goes on
//! with another server.

use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;

use crate::cluster::Cluster;
use crate::history::{Action, History, Operation, OperationResult};
use crate::perform::{Asker, perform};
use crate::servers::node_name;
use crate::simulation::Promise;
use crate::trace::HostNumber;
use crate::workload::{Values, Workload};

/// How long a client waits at most.
const PATIENCE_MAX: Duration = Duration::from_secs(4);

/// Clients and what they have heard so far.
pub struct Clients {
    clients: Vec<Client>,
    values: Values,
    chance: SmallRng,
    /// The longest pause between two actions of a client.
    pause_max: Duration,
}

struct Client {
    number: u32,
    workload: Workload,
    pending: Option<Pending>,
    next_at: Duration,
}

struct Pending {
    /// Its place in the history.
    operation: usize,
    gives_up_at: Duration,
    promise: Promise<OperationResult>,
}

impl Clients {
    /// So many clients, with all kinds of workloads in turn.
    #[must_use]
    pub fn new(n_clients: u32, pause_max: Duration, chance: SmallRng) -> Clients {
        let client = |number| Client {
            number,
            workload: Workload::of_client(number),
            pending: None,
            next_at: Duration::ZERO,
        };
        let clients = (0..n_clients).map(client).collect();
        Clients { clients, values: Values::default(), chance, pause_max }
    }

    /// Lets every client do what it does between two steps. They begin nothing new if told so.
    pub fn step(&mut self, cluster: &Cluster, history: &mut History, may_begin: bool) {
        let now = cluster.simulation.now();
        for client in &mut self.clients {
            if let Some(pending) = &client.pending
                && let Some(result) = pending.result(now)
            {
                let operation = &mut history.operations[pending.operation];
                operation.returned_at = now;
                operation.result = result;
                client.workload.hear(&operation.action, &operation.result);
                let told = format!("{operation:?}");
                cluster.simulation.trace().take_in(told.as_bytes());
                client.pending = None;
                client.next_at = now + self.pause_max.mul_f64(self.chance.random_range(0.0..1.0));
            }
            if client.pending.is_none() && may_begin && client.next_at <= now {
                let server = self.chance.random_range(0..cluster.n_servers());
                let action = client.workload.next(&mut self.chance, &mut self.values);
                client.begin(cluster, server, action, history);
            }
        }
    }

    /// Whether nobody waits for anything.
    #[must_use]
    pub fn are_idle(&self) -> bool {
        self.clients.iter().all(|client| client.pending.is_none())
    }
}

impl Client {
    fn begin(
        &mut self,
        cluster: &Cluster,
        server: HostNumber,
        action: Action,
        history: &mut History,
    ) {
        let now = cluster.simulation.now();
        let Some(promise) = ask(cluster, server, action.clone()) else {
            // Nobody answers there: certainly nothing happened, and nothing is worth noting.
            let nothing = OperationResult::Failed("no server there".to_owned());
            self.workload.hear(&action, &nothing);
            self.next_at = now + PATIENCE_MAX / 40;
            return;
        };
        let unknown = OperationResult::Unknown("never heard".to_owned());
        history.operations.push(Operation {
            client: self.number,
            server,
            action,
            invoked_at: now,
            returned_at: Duration::MAX,
            result: unknown,
        });
        let operation = history.operations.len() - 1;
        self.pending = Some(Pending { operation, gives_up_at: now + PATIENCE_MAX, promise });
    }
}

impl Pending {
    fn result(&self, now: Duration) -> Option<OperationResult> {
        if let Some(result) = self.promise.take() {
            return Some(result);
        }
        if self.promise.is_broken() {
            return Some(OperationResult::Unknown("the server is gone".to_owned()));
        }
        (now >= self.gives_up_at).then(|| OperationResult::Unknown("no answer in time".to_owned()))
    }
}

/// Asks a server for something. `None` where none is up.
pub fn ask(
    cluster: &Cluster,
    server: HostNumber,
    action: Action,
) -> Option<Promise<OperationResult>> {
    let running = cluster.server(server)?;
    let plant = cluster.planted();
    cluster.simulation.spawn(server, async move {
        let asker = Asker { patience: PATIENCE_MAX / 2, session_node: node_name(server), plant };
        perform(&*running.agent, &action, &asker).await
    })
}
