//! The servers as operators see them: the leader's facts with the names that gossip knows.

use std::time::Duration;

use muster_consensus::{Server, Voter};
use muster_model::{Meta, Text};
use muster_registry::cluster::{AutopilotView, MemberStatus, RaftServer, RaftView, ServerHealth};
use muster_registry::{Call, Refusal};

use super::status_of;
use crate::agent::Agent;
use crate::helm::{Ask, ServerFacts, Told};
use crate::tags::short_id;

/// The version of the protocol among servers, as Consul counts it; tools compare it.
const RAFT_PROTOCOL_VERSION: u32 = 3;

impl Agent {
    /// The servers as the leader sees them.
    pub(super) async fn leaders_sight(&self, call: &Call) -> Result<Vec<ServerFacts>, Refusal> {
        match self.ask_leader(Ask::Servers, call).await? {
            Told::Servers(servers) => Ok(servers),
            other => Err(Refusal::Internal(format!("the leader said {other:?}"))),
        }
    }

    /// The servers as this one has them.
    pub(super) fn own_sight(&self) -> Vec<ServerFacts> {
        let facts = |server: Server| ServerFacts {
            is_voter: server.is_voter,
            is_leader: server.is_leader,
            last_index: server.last.unwrap_or_default(),
            voter: server.voter,
            ..ServerFacts::default()
        };
        self.consensus.servers().into_iter().map(facts).collect()
    }

    /// The member of the datacenter that a server is.
    fn member_of(&self, voter: &Voter) -> Option<muster_gossip::Member> {
        let members = self.lan.members().borrow().clone();
        let is_it = |member: &&muster_gossip::Member| short_id(&member.profile.id) == voter.id;
        members.iter().find(is_it).cloned()
    }

    /// A server's id as everybody writes it; its number where no member is known by it.
    pub(super) fn full_id(&self, voter: &Voter) -> Text {
        let member = self.member_of(voter);
        let id = member.as_ref().and_then(|member| member.profile.tags.value("id"));
        id.map_or_else(|| format!("{:016x}", voter.id).into(), Text::from)
    }

    pub(super) fn raft_view(&self, servers: &[ServerFacts]) -> RaftView {
        let stats = self.consensus.stats();
        let describe = |server: &ServerFacts| {
            let member = self.member_of(&server.voter);
            RaftServer {
                id: self.full_id(&server.voter),
                node: member.as_ref().map(|it| it.name().as_str().into()).unwrap_or_default(),
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
            leader_address: self.consensus.leader().map(|leader| leader.address.into()),
            term: stats.term,
            last_index: stats.last_index,
            commit_index: stats.committed_index.max(stats.applied_index),
            applied_index: stats.applied_index,
            snapshot_index: stats.snapshot_index,
            voters_index: stats.voters_index,
        }
    }

    pub(super) fn autopilot_view(&self, servers: &[ServerFacts]) -> AutopilotView {
        let wall = self.world.wall_clock();
        let describe = |server: &ServerFacts| {
            let member = self.member_of(&server.voter);
            let tags = member.as_ref().map(|member| &member.profile.tags);
            let version = tags.and_then(|tags| tags.value("build")).unwrap_or_default();
            ServerHealth {
                id: self.full_id(&server.voter),
                node: member.as_ref().map(|it| it.name().as_str().into()).unwrap_or_default(),
                address: server.voter.address.as_str().into(),
                member_status: member.as_ref().map_or(MemberStatus::Failed, status_of),
                version: version.into(),
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
            leader_id: leader.map(|leader| self.full_id(&leader.voter)).unwrap_or_default(),
            servers: views,
        }
    }
}
