//! The leader's care for the servers: who is taken into the group, who votes, who is taken out.
//!
//! | a server of the LAN pool | the group |
//! |---|---|
//! | is alive and not in the group | is taken in without a vote, if it belongs to no other cluster |
//! | follows closely for the stabilization time | votes |
//! | has another address than the group knows | is given the new one |
//! | left | is taken out |
//! | failed | is taken out, if those who are well suffice |
//!
//! A failed voter is taken out only when at least three voters are well and they are more than half:
//! a group of three that lost one keeps it, and can still take it back; once a replacement votes,
//! the dead one goes. One change is made at a time, and the next look starts from what came of it.
//!
//! A leader whose disk has no space left can accept no write, though the others could: it hands the
//! leadership over. One that had none already when it was elected waits first, so that it does not
//! wander among servers of which none has space.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_consensus::{Server, Voter};
use muster_gossip::{Member, Status};
use muster_model::server_care::ServerCare;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::agent::Agent;
use crate::helm::{Ask, Told};
use crate::tags;

/// Between two looks while there is more than one server.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long one change may take.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a leader leads at least that was elected without space.
const LEADS_WITHOUT_SPACE: Duration = Duration::from_secs(5);
/// Voters that have to be well before a failed one is taken out.
const WELL_VOTERS_MIN: usize = 3;

/// What the leader remembers of the servers.
pub(crate) struct Care {
    health: Mutex<BTreeMap<u64, Health>>,
}

/// Whether a server is well, and since when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Health {
    pub(crate) is_healthy: bool,
    pub(crate) since: Instant,
}

impl Care {
    pub(crate) fn new() -> Care {
        Care { health: Mutex::default() }
    }

    /// How a server is; one that was never looked at is not well.
    pub(crate) fn health_of(&self, id: u64) -> Health {
        let unknown = Health { is_healthy: false, since: Instant::now() };
        self.lock().get(&id).copied().unwrap_or(unknown)
    }

    /// Held for a few map operations; nothing is awaited meanwhile.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, healthy: &BTreeMap<u64, bool>) {
        let now = Instant::now();
        let mut health = self.lock();
        health.retain(|id, _| healthy.contains_key(id));
        for (id, is_healthy) in healthy {
            let known = health.entry(*id).or_insert(Health { is_healthy: *is_healthy, since: now });
            if known.is_healthy != *is_healthy {
                *known = Health { is_healthy: *is_healthy, since: now };
            }
        }
    }
}

/// A change of the group.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    TakeIn(Voter),
    Promote(u64),
    TakeOut(u64, &'static str),
}

/// Looks after the servers for as long as this one leads.
pub(crate) async fn run(agent: &Agent) {
    let mut members = agent.lan.members();
    let elected_at = Instant::now();
    let mut had_space = false;
    loop {
        let has_space = agent.consensus.has_space();
        had_space |= has_space;
        if !has_space && (had_space || elected_at.elapsed() >= LEADS_WITHOUT_SPACE) {
            agent.hand_over(Instant::now() + CHANGE_TIMEOUT).await;
        }
        let seen = members.borrow_and_update().clone();
        let servers = agent.consensus.servers();
        let known: BTreeMap<u64, &Member> =
            seen.iter().filter_map(|member| Some((tags::server_of(member)?.id, member))).collect();
        agent.care.note(&judge(agent, &servers, &known));
        if let Some(change) = next_change(agent, &servers, &known) {
            make(agent, change).await;
            sleep(Duration::from_millis(20)).await;
            continue;
        }
        let is_alone = servers.len() <= 1 && known.len() <= 1;
        tokio::select! {
            biased;
            changed = members.changed() => if changed.is_err() { return },
            () = sleep(LOOK_INTERVAL), if !is_alone => {}
        }
    }
}

impl Agent {
    /// How servers are looked after: as was said last, else as this agent was configured.
    fn server_care(&self) -> ServerCare {
        let body = self.setting(ServerCare::KIND, ServerCare::NAME);
        body.map_or_else(|| self.setup.care.clone(), |body| ServerCare::from_body(&body))
    }
}

fn judge(agent: &Agent, servers: &[Server], known: &BTreeMap<u64, &Member>) -> BTreeMap<u64, bool> {
    let settings = agent.server_care();
    let own_last = agent.consensus.stats().last_index;
    let is_well = |server: &Server| {
        if server.voter.id == agent.consensus.node() {
            return true;
        }
        let is_member = known.get(&server.voter.id).is_some_and(|m| m.status.is_active());
        let is_close = server
            .last
            .is_some_and(|last| own_last.saturating_sub(last) <= settings.entries_behind_max);
        // An answer that is still on its way is no silence.
        let silence_max = settings.last_contact_max + LOOK_INTERVAL;
        is_member && is_close && server.heard_ago.is_some_and(|ago| ago <= silence_max)
    };
    servers.iter().map(|server| (server.voter.id, is_well(server))).collect()
}

/// The most urgent change, if there is one to be made.
fn next_change(
    agent: &Agent,
    servers: &[Server],
    known: &BTreeMap<u64, &Member>,
) -> Option<Change> {
    let settings = agent.server_care();
    let own = agent.consensus.node();
    let status = |server: &Server| known.get(&server.voter.id).map(|member| member.status);
    let n_voters = servers.iter().filter(|server| server.is_voter).count();
    let others = || servers.iter().filter(|server| server.voter.id != own);

    let left = others().find(|server| status(server) == Some(Status::Left));
    if let Some(server) = left {
        return Some(Change::TakeOut(server.voter.id, "it left"));
    }
    for (id, member) in known.iter().filter(|(_, member)| member.status == Status::Alive) {
        let Some(server) = tags::server_of(member) else { continue };
        let voter = Voter { id: *id, address: server.address.to_string() };
        if !servers.iter().any(|known| known.voter == voter) {
            return Some(Change::TakeIn(voter));
        }
    }
    let is_stable = |server: &&Server| {
        let health = agent.care.health_of(server.voter.id);
        health.is_healthy && health.since.elapsed() >= settings.stabilization
    };
    if let Some(server) = others().filter(|server| !server.is_voter).find(is_stable) {
        return Some(Change::Promote(server.voter.id));
    }
    let is_well = |server: &&Server| agent.care.health_of(server.voter.id).is_healthy;
    let n_well = servers.iter().filter(|server| server.is_voter).filter(is_well).count();
    let may_go = settings.removes_failed
        && n_well >= WELL_VOTERS_MIN
        && n_well * 2 > n_voters
        && n_voters as u64 > settings.voters_min;
    let failed = others().find(|server| {
        let has_failed = matches!(status(server), Some(Status::Failed) | None);
        has_failed
            && agent.care.health_of(server.voter.id).since.elapsed() >= settings.stabilization
    });
    failed
        .filter(|server| may_go || (!server.is_voter && settings.removes_failed))
        .map(|server| Change::TakeOut(server.voter.id, "it failed"))
}

async fn make(agent: &Agent, change: Change) {
    let deadline = Instant::now() + CHANGE_TIMEOUT;
    let consensus = &agent.consensus;
    let made = match &change {
        Change::TakeIn(voter) => {
            if !may_take_in(agent, voter, deadline).await {
                sleep(LOOK_INTERVAL).await;
                return;
            }
            info!(server = %voter.address, "taken into the group");
            consensus.put_learner(voter, deadline).await
        }
        Change::Promote(id) => {
            info!(server = %format_args!("{id:016x}"), "votes from now on");
            consensus.promote(*id, deadline).await
        }
        Change::TakeOut(id, why) => {
            info!(server = %format_args!("{id:016x}"), "taken out of the group: {why}");
            consensus.remove(*id, deadline).await
        }
    };
    if let Err(error) = made {
        warn!(%error, ?change, "the servers of the group do not change now");
        sleep(LOOK_INTERVAL).await;
    }
}

/// Whether a server may be taken in: it is new, or its state is of this cluster.
async fn may_take_in(agent: &Agent, voter: &Voter, deadline: Instant) -> bool {
    let is_known = agent.consensus.servers().iter().any(|server| server.voter.id == voter.id);
    if is_known {
        return true;
    }
    let own = agent.cluster_id();
    match agent.ask_server(voter, &Ask::Standing, deadline).await {
        Ok(Told::Standing { is_member: false, .. }) => own.is_some(),
        Ok(Told::Standing { cluster_id, .. }) if cluster_id.is_some() && cluster_id == own => true,
        Ok(Told::Standing { cluster_id: Some(theirs), .. }) => {
            warn!(
                server = %voter.address, %theirs,
                "a server of another cluster is in the pool and is not taken in: stop it and \
                 clear its data folder, or let it join its own"
            );
            false
        }
        Ok(Told::Standing { is_member: true, cluster_id: None }) => {
            warn!(
                server = %voter.address,
                "a server does not know to which cluster its data belongs and is not taken in: stop \
                 it and clear its data folder, then it joins anew"
            );
            false
        }
        _ => false,
    }
}
