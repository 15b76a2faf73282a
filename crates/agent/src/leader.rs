//! What only a leader decides: that a lease expired, that a lock delay is over, that a deletion is
//! forgotten; beside it [`crate::reconciler`] tells the catalog of members, and [`crate::care`]
//! looks after the servers.
//!
//! The state knows no time. The leader watches what in the state has a duration, measures it with
//! its own clock, and tells the state what came due as commands. A new leader knows nothing of what
//! the last one had measured, so it grants every duration anew: what is due may come late by one
//! duration for each change of leader, and never early. Whatever it decides it proposes in its own
//! term only: a leader that was deposed meanwhile is refused, and its successor decides anew.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use muster_model::answer::Body;
use muster_model::command::TOMBSTONE_TTL;
use muster_model::scope::{ChangeKind, Object};
use muster_model::settings::Setting;
use muster_model::{Command, Index, LeaseId, Meta, Outcome, Query, Text};
use muster_registry::hub::Lost;
use muster_registry::{Call, Changes, Refusal};
use muster_state::State;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::agent::Agent;
use crate::doubts::{Due, mark};
use crate::{authority, care, leased_checks, leases, reconciler};

/// Where among the settings the cluster's id is kept.
pub(crate) const CLUSTER_KIND: &str = "muster/cluster";
const CLUSTER_NAME: &str = "id";
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
            biased;
            gone = leadership.wait_for(|now| !now.is_leader || now.term != term) => {
                agent.leases.clear();
                if gone.is_err() {
                    return;
                }
                info!(term, "no longer leads");
            }
            () = lead(&agent, term) => {}
        }
    }
}

/// All that a leader does, side by side, until it no longer leads.
async fn lead(agent: &Arc<Agent>, term: u64) {
    agent.guard.begin(agent.setup.guard);
    tokio::join!(
        reconciler::run(agent, term),
        care::run(agent),
        establish(agent, term),
        tend(agent, term),
        leased_checks::run(agent, term),
    );
}

/// Leases, lock delays and deletions.
async fn tend(agent: &Agent, term: u64) {
    loop {
        let hub = &agent.shared.hub;
        let mut changes = hub.changes(&leases::FOLLOWED, hub.published());
        agent.leases.take_over(&agent.shared);
        let (state, now) = (agent.shared.state.load(), agent.leases.now());
        agent.doubts.take_over(&state, &mut agent.guard.lock(), now);
        let Lost = measure(agent, term, &mut changes).await;
    }
}

/// Follows the state and tells it what came due, until the changes are lost.
async fn measure(agent: &Agent, term: u64, changes: &mut Changes) -> Lost {
    let mut due = Chores::default();
    loop {
        expire_leases(agent, term).await;
        let commands = due.look(&agent.shared.state.load(), Instant::now());
        for command in commands {
            if let Err(refusal) = agent.submit_as_leader(command, term).await {
                warn!(%refusal, "a chore of the leader was refused; tries again");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
        let idle = Instant::now() + REAP_INTERVAL;
        let next = [due.next(), next_lease(agent)].into_iter().flatten().min();
        tokio::select! {
            batch = changes.next() => match batch {
                Ok((_, objects)) => follow_leases(agent, &objects),
                Err(lost) => return lost,
            },
            () = agent.doubts.news() => {}
            () = tokio::time::sleep_until(next.unwrap_or(idle)) => {}
        }
    }
}

/// When a lease may run out, or the guard lets one go.
fn next_lease(agent: &Agent) -> Option<Instant> {
    let let_go = agent.leases.holds_any().then(|| agent.guard.lock().next_deadline()).flatten();
    let let_go = let_go.map(|moment| agent.leases.instant(moment));
    [agent.leases.next_deadline(), let_go].into_iter().flatten().min()
}

fn follow_leases(agent: &Agent, changed: &[(Object, ChangeKind)]) {
    agent.leases.follow(&agent.shared, changed);
    for (object, _) in changed {
        if let Object::Instance { node, id, .. } = object {
            agent.doubts.recover(&LeaseId::instance(node, id), agent.guard.inner());
        }
    }
}

/// Tells the state of every lease that ran out and of those that the guard keeps, a command for
/// many at once.
async fn expire_leases(agent: &Agent, term: u64) {
    loop {
        let state = agent.shared.state.load_full();
        let Due { ended, marks } = agent.doubts.due(&agent.leases, agent.guard.inner(), &state);
        let ends = ended.iter().map(|(id, since)| leases::expiry(id, *since));
        let written = marks.iter().filter_map(|(id, output)| mark(&state, id, output.as_ref()));
        let commands: Vec<Command> = ends.chain(written).collect();
        if commands.is_empty() {
            return;
        }
        note_doubted(&marks);
        match agent.submit_as_leader(Command::Batch { commands }, term).await {
            Ok(outcome) => note_expired(&ended, &outcome),
            Err(refusal) => {
                warn!(n_leases = ended.len(), %refusal, "cannot expire; they run another term");
                ended.iter().for_each(|(id, _)| agent.leases.not_ended(&agent.shared, id));
                agent.doubts.again(marks);
                return tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}

fn note_doubted(marks: &[(LeaseId, Option<Text>)]) {
    let doubted = marks.iter().filter_map(|(id, output)| Some((id, output.as_ref()?)));
    if let Some((id, why)) = doubted.clone().next() {
        let n_doubted = doubted.count();
        warn!(
            n_doubted, first = %id, %why,
            "the guard keeps instances that were not renewed: is the network well?"
        );
    }
}

fn note_expired(leases: &[(LeaseId, Index)], outcome: &Outcome) {
    let Outcome::Batch(outcomes) = outcome else { return };
    for ((id, _), outcome) in leases.iter().zip(outcomes) {
        match outcome {
            Outcome::Done => info!(lease = %id, "expired"),
            _ => info!(lease = %id, "was registered again in time"),
        }
    }
}

/// What in the state has a duration, measured since this leader first saw it.
#[derive(Default)]
struct Chores {
    /// Lock delays: key, the index at which it began, and when it is over.
    delays: Vec<(Text, Index, Instant)>,
    /// Indexes noted at moments, oldest first.
    noted: VecDeque<(Instant, Index)>,
}

impl Chores {
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

/// Gives the cluster its id, and its first root of the certificate authority where there shall be
/// one, unless an earlier leader has; then rests.
async fn establish(agent: &Agent, term: u64) {
    while let Err(refusal) = give_what_is_missing(agent, term).await {
        warn!(%refusal, "the cluster is not yet established; tries again");
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

async fn give_what_is_missing(agent: &Agent, term: u64) -> Result<(), Refusal> {
    // What earlier leaders gave has to be here before anything counts as missing.
    agent.catch_up(&Call::default()).await?;
    if agent.cluster_id().is_none() {
        let random = *agent.world.seed().first_chunk().expect("a seed has 32 bytes");
        let id = uuid::Builder::from_random_bytes(random).into_uuid();
        let setting = Setting {
            kind: CLUSTER_KIND.into(),
            name: CLUSTER_NAME.into(),
            body: id.to_string().into(),
        };
        // One entry of the log: a new cluster has both from its beginning.
        let settings = [setting, agent.setup.care.to_setting()];
        let put = |setting| Command::PutSetting { setting, if_index: Some(0) };
        let commands = settings.into_iter().map(put).collect();
        agent.submit_as_leader(Command::Batch { commands }, term).await?;
    }
    let Some(trust_domain) = &agent.setup.authority else { return Ok(()) };
    if agent.shared.state.load().active_root().is_some() {
        return Ok(());
    }
    let now = agent.world.wall_clock();
    let serial = agent.shared.state.load().index().max(1);
    let root = authority::make_root(trust_domain, serial, now).map_err(Refusal::Internal)?;
    agent.submit_as_leader(Command::PutRoot(root), term).await.map(drop)
}

impl Agent {
    /// The id of the cluster whose state this server holds, if it holds one.
    pub(crate) fn cluster_id(&self) -> Option<Text> {
        self.setting(CLUSTER_KIND, CLUSTER_NAME)
    }

    /// The body of a setting, as this server has it.
    pub(crate) fn setting(&self, kind: &str, name: &str) -> Option<Text> {
        let query = Query::Settings { kind: kind.into(), name: Some(name.into()) };
        match self.shared.state.load().answer(&query).body {
            Body::Settings(settings) => settings.first().map(|setting| setting.body.clone()),
            _ => None,
        }
    }
}

/// What a server tells of itself where other tools look for it.
pub(crate) fn server_facts(agent: &Agent) -> Meta {
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
