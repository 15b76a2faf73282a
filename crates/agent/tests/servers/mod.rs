//! A few servers on the loopback interface, each a registry without a log behind a real port, and
//! client agents that speak to them.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_agent::clerk::Clerk;
use muster_agent::client::{ClientAgent, ClientSettings};
use muster_agent::wire;
use muster_model::query::InstanceFilter;
use muster_model::{Command, Index, LeaseId, Query, Scope};
use muster_registry::{
    Answered, Asking, Call, Changes, Committed, Freshness, Pending, Refusal, Registry,
};
use muster_rpc::{Handler, Hello, Limits, Opened, Peer, Plain, Pool, Running, Serving, serve};
use muster_testkit::Bench;
use muster_testkit::catalog::instance;
use muster_world::{Address, Real, World};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn soon() -> Instant {
    Instant::now() + PATIENCE
}

pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it happens in time")
}

/// Waits until something is so.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    within(async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A registry that may lag behind others: it answers from its own bench, and does nothing that
/// takes a leader while `has_leader` is off.
pub(crate) struct Replica {
    pub(crate) bench: Arc<Bench>,
    pub(crate) has_leader: AtomicBool,
}

impl Replica {
    pub(crate) fn of(bench: &Arc<Bench>) -> Arc<Replica> {
        Arc::new(Replica { bench: bench.clone(), has_leader: AtomicBool::new(true) })
    }

    fn has_leader(&self) -> bool {
        self.has_leader.load(Ordering::SeqCst)
    }

    fn as_it_stands(&self, mut answered: Answered) -> Answered {
        answered.standing.knows_leader = self.has_leader();
        answered
    }
}

impl Registry for Replica {
    fn submit<'a>(
        &'a self,
        call: &'a Call,
        command: Command,
    ) -> Pending<'a, Result<Committed, Refusal>> {
        match self.has_leader() {
            true => self.bench.submit(call, command),
            false => Box::pin(std::future::ready(Err(Refusal::NoLeader))),
        }
    }

    fn ask<'a>(&'a self, call: &'a Call, query: &'a Query, freshness: Freshness) -> Asking<'a> {
        if freshness != Freshness::Stale && !self.has_leader() {
            return Asking::ready(Err(Refusal::NoLeader));
        }
        let asking = self.bench.ask(call, query, freshness);
        Asking::Waiting(Box::pin(async move { Ok(self.as_it_stands(asking.await?)) }))
    }

    fn peek(&self, call: &Call, query: &Query) -> Option<Answered> {
        self.bench.peek(call, query).map(|answered| self.as_it_stands(answered))
    }

    fn changes(&self, call: &Call, scopes: &[Scope], after: Index) -> Changes {
        self.bench.changes(call, scopes, after)
    }

    fn renew<'a>(&'a self, call: &'a Call, lease: &'a LeaseId) -> Pending<'a, Result<(), Refusal>> {
        self.bench.renew(call, lease)
    }
}

/// What a port does: it counts, and lets the clerk work.
struct Desk {
    clerk: Arc<Clerk>,
    n_served: Arc<Mutex<BTreeMap<u16, usize>>>,
    /// Whoever submits is left without an answer.
    forgets: Arc<AtomicBool>,
}

impl Handler for Desk {
    fn admit(&self, _: &Peer) -> Result<(), String> {
        Ok(())
    }

    fn serve(self: Arc<Self>, _: Arc<Peer>, opened: Opened) -> Serving {
        *self.n_served.lock().expect("whole").entry(opened.method).or_default() += 1;
        if opened.method == wire::SUBMIT && self.forgets.load(Ordering::SeqCst) {
            return Box::pin(async move { drop(opened) });
        }
        assert!(Clerk::serves(opened.method), "nobody asks for {}", opened.method);
        self.clerk.clone().serve(opened)
    }
}

/// A server.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) term: watch::Sender<u64>,
    pub(crate) forgets: Arc<AtomicBool>,
    pub(crate) clerk: Arc<Clerk>,
    n_served: Arc<Mutex<BTreeMap<u16, usize>>>,
    running: Running,
    /// Clerks do not keep it.
    _registry: Arc<dyn Registry>,
}

fn hello(node: &str, is_server: bool) -> Hello {
    let (datacenter, node) = ("dc1".to_owned(), node.to_owned());
    Hello { datacenter, node_id: 1, node, is_server, extra: bytes::Bytes::new() }
}

impl Site {
    pub(crate) fn start(registry: Arc<dyn Registry>) -> Site {
        let (term, forgets) = (watch::Sender::new(1), Arc::new(AtomicBool::new(false)));
        let n_served = Arc::default();
        let clerk = Clerk::new(Arc::downgrade(&registry), term.subscribe());
        let desk = Desk {
            clerk: clerk.clone(),
            n_served: Arc::clone(&n_served),
            forgets: forgets.clone(),
        };
        let at: SocketAddr = ([127, 0, 0, 1], 0).into();
        let listener = Real::new().listen(&at.into()).expect("a free port");
        let hello = hello("server", true);
        let running = serve(listener, Arc::new(desk), hello, Limits::default(), Arc::new(Plain));
        let running = running.expect("a listener with an address");
        let Address::Inet(address) = *running.local_address() else { panic!("not over TCP") };
        Site { address, term, forgets, clerk, n_served, running, _registry: registry }
    }

    /// How often a method was served.
    pub(crate) fn n_served(&self, method: u16) -> usize {
        self.n_served.lock().expect("whole").get(&method).copied().unwrap_or_default()
    }

    /// Closes everything at once.
    pub(crate) async fn die(self) {
        self.running.stop(Duration::ZERO).await;
    }
}

/// Connections that a client agent opens.
pub(crate) fn pool() -> Arc<Pool> {
    let world = Arc::new(Real::new());
    Pool::new(world, hello("client", false), Limits::default(), Arc::new(Plain))
}

/// A client agent and what it is told of servers.
pub(crate) struct House {
    pub(crate) client: Arc<ClientAgent>,
    pub(crate) known: watch::Sender<Arc<[SocketAddr]>>,
    pub(crate) call: Call,
}

/// Settings for tests that wait for real sockets.
pub(crate) fn settings() -> ClientSettings {
    ClientSettings {
        datacenter: "dc1".into(),
        follow_again_max: Duration::from_millis(500),
        refresh_spread: Duration::from_millis(50),
        ..ClientSettings::default()
    }
}

impl House {
    pub(crate) fn with(sites: &[&Site], settings: ClientSettings) -> House {
        let list: Arc<[SocketAddr]> = sites.iter().map(|site| site.address).collect();
        let (known, receiver) = watch::channel(list);
        let client = ClientAgent::start(pool(), receiver, settings);
        House { client, known, call: Call::default() }
    }

    pub(crate) fn new(sites: &[&Site]) -> House {
        House::with(sites, settings())
    }

    /// Waits until a server tells of changes.
    pub(crate) async fn in_contact(self) -> House {
        until(|| self.client.is_in_contact()).await;
        self
    }

    pub(crate) async fn ask(
        &self,
        query: &Query,
        freshness: Freshness,
    ) -> Result<Answered, Refusal> {
        within(self.client.ask(&self.call, query, freshness)).await
    }

    pub(crate) fn peek(&self, query: &Query) -> Option<Answered> {
        self.client.peek(&self.call, query)
    }

    /// The newest answer after `seen` that the client has.
    pub(crate) async fn next(&self, query: &Query, freshness: Freshness, seen: Index) -> Answered {
        let waiting =
            muster_registry::watch(&*self.client, &self.call, query, freshness, seen, soon());
        within(waiting).await.expect("an answer")
    }
}

/// The instances of a service.
pub(crate) fn service(name: &str) -> Query {
    Query::Instances(InstanceFilter { service: name.into(), ..InstanceFilter::default() })
}

/// Registers one more instance of a service.
pub(crate) fn add_instance(bench: &Bench, name: &str, id: &str) -> Index {
    bench.register("n1", instance(id, name, 80), Vec::new())
}
