//! The servers as operators see them: facts of a server with the names that gossip knows.

use std::time::Duration;

use muster_consensus::{Server, Voter};
use muster_gossip::Member;
use muster_model::{Meta, Text};
use muster_registry::cluster::{AutopilotView, MemberStatus, RaftServer, RaftView, ServerHealth};
use muster_registry::{Call, Refusal};

use super::status_of;
use crate::agent::Agent;
use crate::helm::{Ask, ServerFacts, Told};
use crate::operate::GroupFacts;
use crate::tags::short_id;

/// The version of the protocol among servers, as Consul counts it; tools compare it.
const RAFT_PROTOCOL_VERSION: u32 = 3;

impl Agent {
    /// The servers as the leader sees them.
    pub(crate) async fn leaders_sight(&self, call: &Call) -> Result<Vec<ServerFacts>, Refusal> {
        match self.ask_leader(Ask::Servers, call).await? {
            Told::Servers(servers) => Ok(servers),
            other => Err(Refusal::Internal(format!("the leader said {other:?}"))),
        }
    }

    /// The servers as this one has them.
    pub(crate) fn own_sight(&self) -> Vec<ServerFacts> {
        let facts = |server: Server| ServerFacts {
            is_voter: server.is_voter,
            is_leader: server.is_leader,
            last_index: server.last.unwrap_or_default(),
            voter: server.voter,
            ..ServerFacts::default()
        };
        self.consensus.servers().into_iter().map(facts).collect()
    }

    /// How the group stands here.
    pub(crate) fn group_facts(&self) -> GroupFacts {
        let stats = self.consensus.stats();
        GroupFacts {
            leader_address: self.consensus.leader().map(|leader| leader.address.into()),
            term: stats.term,
            last_index: stats.last_index,
            commit_index: stats.committed_index.max(stats.applied_index),
            applied_index: stats.applied_index,
            snapshot_index: stats.snapshot_index,
            voters_index: stats.voters_index,
        }
    }

    /// A server's id as everybody writes it; its number where no member is known by it.
    pub(super) fn full_id(&self, voter: &Voter) -> Text {
        full_id(&self.lan.members().borrow(), voter)
    }
}

/// The member of the datacenter that a server is.
fn member_of<'m>(members: &'m [Member], voter: &Voter) -> Option<&'m Member> {
    members.iter().find(|member| short_id(&member.profile.id) == voter.id)
}

fn full_id(members: &[Member], voter: &Voter) -> Text {
    let id = member_of(members, voter).and_then(|member| member.profile.tags.value("id"));
    id.map_or_else(|| format!("{:016x}", voter.id).into(), Text::from)
}

/// Who leads, and who votes.
pub(crate) fn raft(members: &[Member], servers: &[ServerFacts], group: GroupFacts) -> RaftView {
    let describe = |server: &ServerFacts| {
        let member = member_of(members, &server.voter);
        RaftServer {
            id: full_id(members, &server.voter),
            node: member.map(|it| it.name().as_str().into()).unwrap_or_default(),
            address: server.voter.address.as_str().into(),
            is_leader: server.is_leader,
            is_voter: server.is_voter,
            protocol_version: member.map(|_| RAFT_PROTOCOL_VERSION),
            last_index: server.last_index,
        }
    };
    let mut views: Vec<RaftServer> = servers.iter().map(describe).collect();
    views.sort_by(|a, b| a.id.cmp(&b.id));
    RaftView {
        servers: views,
        leader_address: group.leader_address,
        term: group.term,
        last_index: group.last_index,
        commit_index: group.commit_index,
        applied_index: group.applied_index,
        snapshot_index: group.snapshot_index,
        voters_index: group.voters_index,
    }
}

/// How the servers are, told at a moment of the wall clock.
pub(crate) fn autopilot(
    members: &[Member],
    servers: &[ServerFacts],
    wall: Duration,
) -> AutopilotView {
    let describe = |server: &ServerFacts| {
        let member = member_of(members, &server.voter);
        let version = member.and_then(|member| member.profile.tags.value("build"));
        ServerHealth {
            id: full_id(members, &server.voter),
            node: member.map(|it| it.name().as_str().into()).unwrap_or_default(),
            address: server.voter.address.as_str().into(),
            member_status: member.map_or(MemberStatus::Failed, status_of),
            version: version.unwrap_or_default().into(),
            is_leader: server.is_leader,
            is_voter: server.is_voter,
            last_contact: server.heard_ago_us.map(Duration::from_micros),
            last_term: server.last_term,
            last_index: server.last_index,
            is_healthy: server.is_healthy,
            stable_since: wall.saturating_sub(Duration::from_micros(server.stable_for_us)),
            meta: Meta::default(),
        }
    };
    let n_voters = servers.iter().filter(|server| server.is_voter).count() as u32;
    let well = servers.iter().filter(|server| server.is_voter && server.is_healthy);
    let n_well = well.count() as u32;
    let leader = servers.iter().find(|server| server.is_leader);
    let mut views: Vec<ServerHealth> = servers.iter().map(describe).collect();
    views.sort_by(|a, b| a.id.cmp(&b.id));
    AutopilotView {
        is_healthy: servers.iter().all(|server| server.is_healthy),
        failure_tolerance: n_well.saturating_sub(n_voters / 2 + 1),
        leader_id: leader.map(|leader| full_id(members, &leader.voter)).unwrap_or_default(),
        servers: views,
    }
}
