//! An agent that runs nothing: the other two traits of the door over a [`Bench`].
//!
//! What is declared to it goes into its list and into the catalog in the same moment. Checks keep
//! the word they were given; the machine, the members and the log are the same every time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use muster_model::check::{CheckExtras, INSTANCE_MAINTENANCE_PREFIX, NODE_MAINTENANCE_ID};
use muster_model::command::{Registration, Target};
use muster_model::node::Origin;
use muster_model::{Check, Command, Node, Status, Text};
use muster_registry::local::{
    EVENTS_KEPT, Event, Identity, LocalCheck, LocalCheckRegistration, LocalInstance,
    LocalRegistration, NewEvent, Vouched,
};
use muster_registry::operator::{
    HostFacts, LogLine, Member, MemberStatus, Metric, MetricValue, RaftServer, RaftView, Saved,
    SettingValue,
};
use muster_registry::{Call, Door, Freshness, LocalAgent, Operator, Pending, Refusal, Standing};
use tokio::sync::{broadcast, mpsc, watch};

use crate::Bench;

/// An agent that runs nothing.
pub struct Agent {
    bench: Arc<Bench>,
    identity: Identity,
    vouched: watch::Sender<Arc<Vouched>>,
    events: watch::Sender<Arc<[Arc<Event>]>>,
    log: broadcast::Sender<Arc<LogLine>>,
    /// What the operator asked for, in order.
    asked: Mutex<Vec<String>>,
}

impl Agent {
    /// The agent of node `n1` in datacenter `dc1`, which is in the catalog already.
    pub fn new(bench: &Arc<Bench>) -> Arc<Agent> {
        let identity = Identity {
            node: "n1".into(),
            node_id: "11111111-2222-3333-4444-555555555555".into(),
            datacenter: "dc1".into(),
            primary_datacenter: "dc1".into(),
            is_server: true,
            address: "127.0.0.1".into(),
            tagged_addresses: [("lan", "127.0.0.1"), ("wan", "127.0.0.1")].into_iter().collect(),
            node_meta: [("consul-network-segment", "")].into_iter().collect(),
            version: "0.0.0-test",
            ..Identity::default()
        };
        let agent = Agent {
            bench: bench.clone(),
            identity,
            vouched: watch::Sender::new(Arc::default()),
            events: watch::Sender::new(Vec::new().into()),
            log: broadcast::Sender::new(64),
            asked: Mutex::default(),
        };
        let node = agent.node();
        agent.bench.apply(Command::Register(Registration { node, ..Registration::default() }));
        Arc::new(agent)
    }

    /// A whole door over a bench.
    pub fn door(bench: &Arc<Bench>) -> Door {
        let agent = Agent::new(bench);
        Door { registry: bench.clone(), local: agent.clone(), operator: agent }
    }

    /// Writes a line of the log.
    pub fn log(&self, line: LogLine) {
        // Nobody may be listening.
        let _ = self.log.send(Arc::new(line));
    }

    /// What the operator asked for, in order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn node(&self) -> Node {
        Node {
            name: self.identity.node.clone(),
            id: self.identity.node_id.clone(),
            address: self.identity.address.clone(),
            tagged_addresses: self.identity.tagged_addresses.clone(),
            meta: self.identity.node_meta.clone(),
            origin: Origin::Agent,
            ..Node::default()
        }
    }

    /// Changes the list, and gives what `change` gives.
    fn change<T>(&self, change: impl FnOnce(&mut Vouched) -> T) -> T {
        let mut vouched = Vouched::clone(&self.vouched.borrow());
        let result = change(&mut vouched);
        self.vouched.send_replace(Arc::new(vouched));
        result
    }

    /// Writes a check into the list and the catalog; one that is there keeps its word.
    fn put_check(&self, registration: LocalCheckRegistration) {
        let LocalCheckRegistration { mut check, definition, source, .. } = registration;
        check.origin = Origin::Agent;
        if let Some(own) = self.vouched.borrow().check(&check.id) {
            check.status = own.check.status;
            check.output = own.check.output.clone();
        }
        let definition = Arc::new(definition);
        self.change(|all| {
            all.put_check(LocalCheck { check: check.clone(), definition, source });
        });
        self.push(Registration { checks: vec![check], ..Registration::default() });
    }

    fn push(&self, registration: Registration) {
        let node = self.node();
        self.bench.apply(Command::Register(Registration { node, ..registration }));
    }

    fn withdraw(&self, target: Target) {
        let node = self.identity.node.clone();
        self.bench.apply(Command::Deregister { node, target });
    }

    fn note(&self, what: String) -> Pending<'static, Result<(), Refusal>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(what);
        granted()
    }
}

fn granted() -> Pending<'static, Result<(), Refusal>> {
    Box::pin(std::future::ready(Ok(())))
}

impl LocalAgent for Agent {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn vouched(&self) -> watch::Receiver<Arc<Vouched>> {
        self.vouched.subscribe()
    }

    fn register<'a>(
        &'a self,
        _: &'a Call,
        registration: LocalRegistration,
    ) -> Pending<'a, Result<(), Refusal>> {
        let LocalRegistration { mut instance, checks, replace_checks, source, .. } = registration;
        instance.origin = Origin::Agent;
        let dropped: Vec<Text> = self
            .vouched
            .borrow()
            .checks_about(&instance.id)
            .map(|own| own.check.id.clone())
            .filter(|id| replace_checks && !checks.iter().any(|check| check.check.id == *id))
            .collect();
        self.change(|all| all.put_instance(LocalInstance { instance: instance.clone(), source }));
        self.push(Registration { instance: Some(instance), ..Registration::default() });
        for check in checks {
            self.put_check(check);
        }
        for id in dropped {
            self.change(|all| all.remove_check(&id));
            self.withdraw(Target::Check(id));
        }
        granted()
    }

    fn deregister<'a>(
        &'a self,
        _: &'a Call,
        instance_id: &'a Text,
    ) -> Pending<'a, Result<(), Refusal>> {
        self.change(|all| {
            let checks: Vec<Text> =
                all.checks_about(instance_id).map(|own| own.check.id.clone()).collect();
            checks.iter().for_each(|id| all.remove_check(id));
            all.remove_instance(instance_id);
        });
        self.withdraw(Target::Instance(instance_id.clone()));
        granted()
    }

    fn register_check<'a>(
        &'a self,
        _: &'a Call,
        check: LocalCheckRegistration,
    ) -> Pending<'a, Result<(), Refusal>> {
        self.put_check(check);
        granted()
    }

    fn deregister_check<'a>(
        &'a self,
        _: &'a Call,
        check_id: &'a Text,
    ) -> Pending<'a, Result<(), Refusal>> {
        self.change(|all| all.remove_check(check_id));
        self.withdraw(Target::Check(check_id.clone()));
        granted()
    }

    fn renew_check<'a>(
        &'a self,
        _: &'a Call,
        check_id: &'a Text,
        status: Status,
        output: Text,
    ) -> Pending<'a, Result<(), Refusal>> {
        let Some(own) = self.vouched.borrow().check(check_id).cloned() else {
            let refusal = Refusal::Unknown(format!("check {check_id:?} is not vouched for"));
            return Box::pin(std::future::ready(Err(refusal)));
        };
        let check = Check { status, output: output.clone(), ..own.check.clone() };
        let (definition, source) = (own.definition.clone(), own.source);
        self.change(|all| all.put_check(LocalCheck { check, definition, source }));
        let (node, id) = (self.identity.node.clone(), check_id.clone());
        self.bench.apply(Command::UpdateCheck { node, id, status, output });
        granted()
    }

    fn maintain<'a>(
        &'a self,
        _: &'a Call,
        instance_id: Option<&'a Text>,
        off: Option<Text>,
    ) -> Pending<'a, Result<(), Refusal>> {
        let id: Text = match instance_id {
            Some(instance_id) => format!("{INSTANCE_MAINTENANCE_PREFIX}{instance_id}").into(),
            None => NODE_MAINTENANCE_ID.into(),
        };
        let Some(notes) = off else {
            self.change(|all| all.remove_check(&id));
            self.withdraw(Target::Check(id));
            return granted();
        };
        let check = Check {
            id,
            name: "Maintenance Mode".into(),
            notes,
            instance_id: instance_id.cloned().unwrap_or_default(),
            kind: "maintenance".into(),
            ..Check::default()
        };
        let check = check.with_extras(CheckExtras::default());
        let registration = LocalCheckRegistration { check, ..LocalCheckRegistration::default() };
        self.put_check(registration);
        granted()
    }

    fn fire<'a>(
        &'a self,
        _: &'a Call,
        fired: NewEvent,
    ) -> Pending<'a, Result<Arc<Event>, Refusal>> {
        let mut kept = self.events.borrow().to_vec();
        let lamport_time = kept.last().map_or(1, |last| last.lamport_time + 1);
        let id = format!("00000000-0000-4000-8000-{lamport_time:012}").into();
        let event = Arc::new(Event { id, fired, lamport_time });
        kept.push(event.clone());
        let surplus = kept.len().saturating_sub(EVENTS_KEPT);
        self.events.send_replace(kept.split_off(surplus).into());
        Box::pin(std::future::ready(Ok(event)))
    }

    fn events(&self) -> watch::Receiver<Arc<[Arc<Event>]>> {
        self.events.subscribe()
    }
}

impl Operator for Agent {
    fn members(&self) -> Vec<Member> {
        let tag = |key: &str, value: &str| (Text::from(key), Text::from(value));
        vec![Member {
            name: self.identity.node.clone(),
            address: self.identity.address.clone(),
            port: 8301,
            tags: vec![tag("role", "consul"), tag("dc", "dc1"), tag("id", &self.identity.node_id)],
            status: MemberStatus::Alive,
        }]
    }

    fn join<'a>(
        &'a self,
        _: &'a Call,
        address: &'a str,
        is_wan: bool,
    ) -> Pending<'a, Result<(), Refusal>> {
        self.note(format!("join {address} wan={is_wan}"))
    }

    fn force_leave<'a>(
        &'a self,
        _: &'a Call,
        node: &'a str,
        prune: bool,
    ) -> Pending<'a, Result<(), Refusal>> {
        if *node != *self.identity.node {
            let refusal = Refusal::Unknown(format!("no member is called {node:?}"));
            return Box::pin(std::future::ready(Err(refusal)));
        }
        self.note(format!("force-leave {node} prune={prune}"))
    }

    fn leave<'a>(&'a self, _: &'a Call) -> Pending<'a, Result<(), Refusal>> {
        self.note("leave".to_owned())
    }

    fn reload<'a>(&'a self, _: &'a Call) -> Pending<'a, Result<(), Refusal>> {
        self.note("reload".to_owned())
    }

    fn raft(&self) -> RaftView {
        let index = self.bench.state().index();
        RaftView {
            servers: vec![RaftServer {
                id: self.identity.node_id.clone(),
                node: self.identity.node.clone(),
                address: "127.0.0.1:8300".into(),
                is_leader: true,
                is_voter: true,
                last_index: index,
            }],
            leader_address: Some("127.0.0.1:8300".into()),
            term: 1,
            last_index: index,
            commit_index: index,
            applied_index: index,
            ..RaftView::default()
        }
    }

    fn save<'a>(
        &'a self,
        _: &'a Call,
        freshness: Freshness,
    ) -> Pending<'a, Result<Saved, Refusal>> {
        let state = self.bench.state();
        let saved: Vec<Bytes> = state.save().collect();
        let (sender, blocks) = mpsc::channel(saved.len().max(1));
        for block in saved {
            sender.try_send(Ok(block)).expect("the channel has room for every block");
        }
        let standing = Standing { knows_leader: true, last_contact: Duration::ZERO, freshness };
        let saved = Saved { index: state.index(), standing, blocks };
        Box::pin(std::future::ready(Ok(saved)))
    }

    fn restore<'a>(
        &'a self,
        _: &'a Call,
        mut blocks: mpsc::Receiver<Result<Bytes, std::io::Error>>,
    ) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(async move {
            let mut n_bytes = 0;
            while let Some(block) = blocks.recv().await {
                let block = block.map_err(|error| Refusal::Invalid(error.to_string()))?;
                n_bytes += block.len();
            }
            self.note(format!("restore {n_bytes} bytes")).await
        })
    }

    fn log_lines(&self) -> broadcast::Receiver<Arc<LogLine>> {
        self.log.subscribe()
    }

    fn metrics(&self) -> Vec<Metric> {
        let metric = |name: &str, value| Metric { name: name.into(), labels: vec![], value };
        vec![
            metric("runtime.alloc_bytes", MetricValue::Gauge(1024.0)),
            metric("rpc.request", MetricValue::Counter(3)),
            metric(
                "raft.commitTime",
                MetricValue::Sample { count: 2, sum: 3.0, min: 1.0, max: 2.0 },
            ),
        ]
    }

    fn host(&self) -> HostFacts {
        HostFacts {
            collected_at: 1_795_461_360_000_000_000,
            hostname: "host".into(),
            os: "linux".into(),
            n_processors: 1,
            ..HostFacts::default()
        }
    }

    fn settings(&self) -> SettingValue {
        SettingValue::Map(vec![("log_level".into(), SettingValue::Text("info".into()))])
    }

    fn uptime(&self) -> Duration {
        Duration::from_secs(1)
    }
}
