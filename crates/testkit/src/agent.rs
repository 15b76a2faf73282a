//! An agent that runs nothing: what it vouches for, over a [`Bench`].
//!
//! What is declared to it goes into its list and into the catalog in the same moment. Checks keep
//! the word they were given. What it has for those who run it is in [`crate::operator`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use muster_model::check::{CheckExtras, INSTANCE_MAINTENANCE_PREFIX, NODE_MAINTENANCE_ID};
use muster_model::command::{Registration, Target};
use muster_model::node::Origin;
use muster_model::{Check, Command, Node, Status, Text};
use muster_registry::local::{
    CheckTimes, EVENTS_KEPT, Event, Identity, LocalCheck, LocalCheckRegistration, LocalInstance,
    LocalRegistration, NewEvent, Vouched,
};
use muster_registry::operator::LogLine;
use muster_registry::{Call, Door, LocalAgent, Pending, Refusal};
use tokio::sync::{broadcast, watch};

use crate::{Bench, Cluster};

/// An agent that runs nothing.
pub struct Agent {
    pub(crate) bench: Arc<Bench>,
    identity: Identity,
    vouched: watch::Sender<Arc<Vouched>>,
    events: watch::Sender<Arc<[Arc<Event>]>>,
    pub(crate) log: broadcast::Sender<Arc<LogLine>>,
    cluster: Mutex<Cluster>,
    /// What the operator asked for, in order.
    asked: Mutex<Vec<String>>,
    /// The times that every check has.
    times: Mutex<CheckTimes>,
    /// What is said at a reload.
    remarks: Mutex<Vec<Text>>,
}

impl Agent {
    /// The server of node `n1` in datacenter `dc1`, which is in the catalog already. It is alone.
    pub fn new(bench: &Arc<Bench>) -> Arc<Agent> {
        let identity = identity();
        let cluster = Cluster::alone(&identity);
        Agent::start(bench, identity, cluster)
    }

    /// The same as a follower among three servers: [`Cluster::of_three`].
    pub fn follower(bench: &Arc<Bench>) -> Arc<Agent> {
        let identity = identity();
        let cluster = Cluster::of_three(&identity);
        Agent::start(bench, identity, cluster)
    }

    /// The same as an agent that is no server, beside the same three. It knows no WAN pool.
    pub fn client(bench: &Arc<Bench>) -> Arc<Agent> {
        let identity = Identity { is_server: false, ..identity() };
        let cluster = Cluster { wan: Vec::new(), ..Cluster::of_three(&identity) };
        Agent::start(bench, identity, cluster)
    }

    fn start(bench: &Arc<Bench>, identity: Identity, cluster: Cluster) -> Arc<Agent> {
        let agent = Agent {
            bench: bench.clone(),
            identity,
            vouched: watch::Sender::new(Arc::default()),
            events: watch::Sender::new(Vec::new().into()),
            log: broadcast::Sender::new(64),
            cluster: Mutex::new(cluster),
            asked: Mutex::default(),
            times: Mutex::default(),
            remarks: Mutex::default(),
        };
        let node = agent.node();
        agent.bench.apply(Command::Register(Registration { node, ..Registration::default() }));
        Arc::new(agent)
    }

    /// A whole door over a bench.
    pub fn door(bench: &Arc<Bench>) -> Door {
        Agent::new(bench).into_door()
    }

    /// A whole door with this agent in it.
    pub fn into_door(self: Arc<Agent>) -> Door {
        Door { registry: self.bench.clone(), local: self.clone(), operator: self }
    }

    /// The cluster that it belongs to; a test may change it.
    pub fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line of the log.
    pub fn log(&self, line: LogLine) {
        // Nobody may be listening.
        let _ = self.log.send(Arc::new(line));
    }

    /// From now on every check that is declared here has these times.
    pub fn set_times(&self, times: CheckTimes) {
        *self.times.lock().unwrap_or_else(PoisonError::into_inner) = times;
    }

    /// From now on this is said at a reload.
    pub fn set_remarks(&self, remarks: Vec<Text>) {
        *self.remarks.lock().unwrap_or_else(PoisonError::into_inner) = remarks;
    }

    pub(crate) fn remarks(&self) -> Vec<Text> {
        self.remarks.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

    /// Notes what the operator asked for, and grants it.
    pub(crate) fn note(&self, what: String) -> Pending<'static, Result<(), Refusal>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(what);
        granted()
    }
}

fn identity() -> Identity {
    Identity {
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

    fn check_times(&self, check_id: &str) -> Option<CheckTimes> {
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        self.vouched.borrow().check(check_id).map(|_| *times)
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
