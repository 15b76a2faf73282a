//! What only a leader decides: that a lease expired, that a lock delay is over, that a deletion is
//! forgotten, and that its own node is well.
//!
//! The state knows no time. The leader watches what in the state has a duration, measures it with
//! its own clock, and tells the state what came due as commands. A new leader knows nothing of what
//! the last one had measured, so it grants every duration anew: what is due may come late by one
//! duration for each change of leader, and never early.

use std::collections::VecDeque;
use std::sync::Weak;
use std::time::Duration;

use muster_model::command::{Registration, TOMBSTONE_TTL};
use muster_model::node::Origin;
use muster_model::session::SessionEnd;
use muster_model::{Check, Command, Index, Instance, Meta, Scope, Status, Text, check};
use muster_registry::hub::Lost;
use muster_registry::{Call, Changes, Refusal, Registry};
use muster_state::State;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::agent::Agent;
use crate::authority;
use crate::local::voucher::node_of;

/// The service under which the servers themselves are found.
const OWN_SERVICE: &str = "consul";
/// How often the leader notes the index, to know later which deletions are old enough.
const REAP_INTERVAL: Duration = Duration::from_secs(60);
/// The pause before a chore that was refused is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Does a leader's chores whenever this agent leads, until the agent is gone.
pub(crate) async fn run(agent: Weak<Agent>) {
    let Some(mut leadership) = agent.upgrade().map(|agent| agent.consensus.leadership()) else {
        return;
    };
    loop {
        if leadership.wait_for(|now| now.is_leader).await.is_err() {
            return;
        }
        let Some(agent) = agent.upgrade() else { return };
        let term = leadership.borrow().term;
        info!(term, "leads");
        tokio::select! {
            () = lead(&agent) => {}
            gone = leadership.wait_for(|now| !now.is_leader) => {
                agent.leases.clear();
                if gone.is_err() {
                    return;
                }
                info!(term, "no longer leads");
            }
        }
    }
}

async fn lead(agent: &Agent) {
    while let Err(refusal) = establish(agent).await {
        warn!(%refusal, "cannot register its own node; tries again");
        tokio::time::sleep(RETRY_AFTER).await;
    }
    loop {
        let mut changes =
            agent.shared.hub.changes(&[Scope::Sessions], agent.shared.hub.published());
        agent.leases.take_over(&agent.shared);
        let Lost = measure(agent, &mut changes).await;
    }
}

/// Follows the state and tells it what came due, until the changes are lost.
async fn measure(agent: &Agent, changes: &mut Changes) -> Lost {
    let mut due = Due::default();
    loop {
        expire_sessions(agent).await;
        let commands = due.look(&agent.shared.state.load(), Instant::now());
        for command in commands {
            if let Err(refusal) = agent.submit(&Call::default(), command).await {
                warn!(%refusal, "a chore of the leader was refused; tries again");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
        let idle = Instant::now() + REAP_INTERVAL;
        let next = [due.next(), agent.leases.next_deadline()].into_iter().flatten().min();
        tokio::select! {
            batch = changes.next() => match batch {
                Ok((_, objects)) => agent.leases.follow(&agent.shared, &objects),
                Err(lost) => return lost,
            },
            () = tokio::time::sleep_until(next.unwrap_or(idle)) => {}
        }
    }
}

async fn expire_sessions(agent: &Agent) {
    for id in agent.leases.expired() {
        let command = Command::EndSession { id: id.clone(), why: SessionEnd::Expired };
        match agent.submit(&Call::default(), command).await {
            Ok(_) => info!(session = %id, "expired"),
            Err(refusal) => {
                warn!(session = %id, %refusal, "cannot expire; its lease runs another term");
                agent.leases.not_ended(&agent.shared, &id);
            }
        }
    }
}

/// What in the state has a duration, measured since this leader first saw it.
#[derive(Default)]
struct Due {
    /// Lock delays: key, the index at which it began, and when it is over.
    delays: Vec<(Text, Index, Instant)>,
    /// Indexes noted at moments, oldest first.
    noted: VecDeque<(Instant, Index)>,
}

impl Due {
    /// Takes up what is new in the state and gives the commands for all that is due.
    fn look(&mut self, state: &State, now: Instant) -> Vec<Command> {
        self.ended_delays(state, now).into_iter().chain(self.reapable(state, now)).collect()
    }

    fn ended_delays(&mut self, state: &State, now: Instant) -> Option<Command> {
        let known = std::mem::take(&mut self.delays);
        for (key, delay) in state.lock_delays() {
            let began = delay.began_at;
            let measured = known.iter().find(|(own, index, _)| own == key && *index == began);
            let over = measured.map_or(now + delay.duration, |(_, _, over)| *over);
            self.delays.push((key.clone(), began, over));
        }
        let ended: Vec<_> = self
            .delays
            .iter()
            .filter(|(_, _, over)| *over <= now)
            .map(|(key, began, _)| (key.clone(), *began))
            .collect();
        (!ended.is_empty()).then_some(Command::EndLockDelays { keys: ended })
    }

    fn reapable(&mut self, state: &State, now: Instant) -> Option<Command> {
        if self.noted.back().is_none_or(|(at, _)| *at + REAP_INTERVAL <= now) {
            self.noted.push_back((now, state.index()));
        }
        let mut up_to = None;
        while let Some((at, index)) = self.noted.front().copied()
            && at + TOMBSTONE_TTL <= now
        {
            up_to = Some(index);
            self.noted.pop_front();
        }
        let oldest = state.oldest_tombstone()?;
        let up_to = up_to.filter(|up_to| oldest <= *up_to)?;
        Some(Command::ReapTombstones { up_to })
    }

    /// When something comes due next.
    fn next(&self) -> Option<Instant> {
        let delay = self.delays.iter().map(|(_, _, over)| *over).min();
        let reap = self.noted.front().map(|(at, _)| *at + TOMBSTONE_TTL);
        let note = self.noted.back().map(|(at, _)| *at + REAP_INTERVAL);
        [delay, reap, note].into_iter().flatten().min()
    }
}

/// Puts this agent's node with its service and its check into the catalog, and makes the first root
/// of the certificate authority where there shall be one.
async fn establish(agent: &Agent) -> Result<(), Refusal> {
    let call = Call::default();
    agent.submit(&call, Command::Register(own_node(agent))).await?;
    let Some(cluster_id) = &agent.setup.authority else { return Ok(()) };
    if agent.shared.state.load().active_root().is_some() {
        return Ok(());
    }
    let now = agent.world.wall_clock();
    let serial = agent.shared.state.load().index().max(1);
    let root = authority::make_root(cluster_id, serial, now).map_err(Refusal::Internal)?;
    agent.submit(&call, Command::PutRoot(root)).await?;
    Ok(())
}

/// The registration of a server's own node.
fn own_node(agent: &Agent) -> Registration {
    let identity = &agent.setup.identity;
    let node = node_of(identity);
    let port = agent.setup.server_address.rsplit(':').next().and_then(|port| port.parse().ok());
    let instance = Instance {
        id: OWN_SERVICE.into(),
        service: OWN_SERVICE.into(),
        port: port.unwrap_or(0),
        meta: server_facts(agent),
        origin: Origin::Agent,
        ..Instance::default()
    };
    let alive = Check {
        id: check::AGENT_CHECK_ID.into(),
        name: "Serf Health Status".into(),
        status: Status::Passing,
        output: "Agent alive and reachable".into(),
        origin: Origin::Agent,
        ..Check::default()
    };
    Registration { node, keep_node: false, instance: Some(instance), checks: vec![alive] }
}

/// What a server tells of itself where other tools look for it.
fn server_facts(agent: &Agent) -> Meta {
    [
        ("version", agent.setup.api_version.as_str()),
        ("raft_version", "3"),
        ("serf_protocol_current", "2"),
        ("serf_protocol_max", "5"),
        ("serf_protocol_min", "1"),
        ("grpc_port", "-1"),
        ("non_voter", "false"),
        ("read_replica", "false"),
    ]
    .into_iter()
    .collect()
}
