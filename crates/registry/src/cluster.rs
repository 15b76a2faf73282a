//! The cluster as those who run it see it: who is a member, who votes, how the servers are, with
//! which keys gossip is sealed, and where other datacenters are.
//!
//! These are facts. Whoever gives them (the agent) has done the reckoning; a front-end only shapes
//! them. What a server is told to do about failed ones is a setting in the replicated state and not
//! here.

use std::time::Duration;

use muster_model::coordinate::NodeCoordinate;
use muster_model::{Index, Meta, Text};

use crate::call::Secret;

// ------------------------------------------------------------------------------------------------
// Members
// ------------------------------------------------------------------------------------------------

/// Which gossip pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pool {
    /// All agents of a datacenter.
    #[default]
    Lan,
    /// The servers of all datacenters.
    Wan,
}

/// An agent as gossip sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its node's name; in the WAN pool with a dot and its datacenter behind it.
    pub name: Text,
    /// Its IP address.
    pub address: Text,
    /// Its gossip port.
    pub port: u16,
    /// What it says of itself, in the order of the keys.
    pub tags: Vec<(Text, Text)>,
    /// How it is.
    pub status: MemberStatus,
    /// The versions of the probing protocol that it speaks.
    pub protocol: Versions,
    /// The versions of what rides on it: tags, events, queries.
    pub payload: Versions,
}

impl Member {
    /// What it says of itself under a key.
    pub fn tag(&self, key: &str) -> Option<&Text> {
        self.tags.iter().find(|(own, _)| own == key).map(|(_, value)| value)
    }
}

/// How a member is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemberStatus {
    /// It answers, or is only suspected of not answering.
    #[default]
    Alive,
    /// It says that it is about to go.
    Leaving,
    /// It went in good order.
    Left,
    /// It no longer answers.
    Failed,
}

/// The versions of a protocol that a member speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// The lowest.
    pub min: u8,
    /// The highest.
    pub max: u8,
    /// The one in use.
    pub current: u8,
}

// ------------------------------------------------------------------------------------------------
// Voters
// ------------------------------------------------------------------------------------------------

/// Who leads, and who votes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RaftView {
    /// Servers, in the order of their ids.
    pub servers: Vec<RaftServer>,
    /// The leader's address, if there is one.
    pub leader_address: Option<Text>,
    /// The present term.
    pub term: u64,
    /// The last index in the log.
    pub last_index: Index,
    /// The last index that is decided.
    pub commit_index: Index,
    /// The last index that is in the state.
    pub applied_index: Index,
    /// The index of the last snapshot.
    pub snapshot_index: Index,
    /// The index at which the set of voters last changed.
    pub voters_index: Index,
}

/// A server of the Raft group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RaftServer {
    /// Its node's id.
    pub id: Text,
    /// Its node's name; empty where no member of this pool has its address.
    pub node: Text,
    /// Its address.
    pub address: Text,
    /// Whether it leads.
    pub is_leader: bool,
    /// Whether it votes.
    pub is_voter: bool,
    /// The version of the Raft protocol that it says it speaks, if it is a member of this pool.
    pub protocol_version: Option<u32>,
    /// The last index that it is known to have; 0 where that is not known.
    pub last_index: Index,
}

/// By what a server of the Raft group is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerKey {
    /// By its node's id.
    Id(Text),
    /// By its address.
    Address(Text),
}

// ------------------------------------------------------------------------------------------------
// Care of the servers
// ------------------------------------------------------------------------------------------------

/// How the servers are, as the leader judges them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AutopilotView {
    /// Whether all of them are healthy.
    pub is_healthy: bool,
    /// How many healthy voters may fail while a quorum remains.
    pub failure_tolerance: u32,
    /// The leader's id; empty where there is none.
    pub leader_id: Text,
    /// The servers, in the order of their ids.
    pub servers: Vec<ServerHealth>,
}

/// How a server is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerHealth {
    /// Its node's id.
    pub id: Text,
    /// Its node's name.
    pub node: Text,
    /// Its address.
    pub address: Text,
    /// What gossip says of it.
    pub member_status: MemberStatus,
    /// The version of the API that it serves.
    pub version: Text,
    /// Whether it leads.
    pub is_leader: bool,
    /// Whether it votes.
    pub is_voter: bool,
    /// How long ago it heard from the leader; zero for the leader, nothing for one that never did.
    pub last_contact: Option<Duration>,
    /// The term of its last entry.
    pub last_term: u64,
    /// The index of its last entry.
    pub last_index: Index,
    /// Whether it answers, and is as close to the leader as the settings demand.
    pub is_healthy: bool,
    /// Since when that is so, as time since 1970.
    pub stable_since: Duration,
    /// Facts about its node.
    pub meta: Meta,
}

// ------------------------------------------------------------------------------------------------
// Keys
// ------------------------------------------------------------------------------------------------

/// What shall be done with the keys of gossip. A key is written in base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyringWish {
    /// Say which there are.
    List,
    /// Take this one too.
    Install(Secret),
    /// Seal with this one, which all have.
    Use(Secret),
    /// No longer take this one, with which nobody seals.
    Remove(Secret),
}

/// How far a wish about keys goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyringReach {
    /// Through how many other members each answer is passed as well; at most 5.
    pub relay_factor: u8,
    /// Whether only this datacenter's own pool is asked, so that there is no report of the WAN pool;
    /// for lists alone.
    pub is_local_only: bool,
}

/// What the members of one pool said to a wish about keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyringReport {
    /// The datacenter of the agents that were asked.
    pub datacenter: Text,
    /// The pool.
    pub pool: Pool,
    /// How many members there are.
    pub n_members: u32,
    /// How many of them answered.
    pub n_answers: u32,
    /// How many of these refused.
    pub n_errors: u32,
    /// Words of members by their names; those of every refusal, and warnings.
    pub messages: Vec<(Text, Text)>,
    /// The keys that were listed.
    pub keys: Vec<KeyUse>,
}

/// How many members have a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyUse {
    /// The key, in base64.
    pub key: Secret,
    /// How many take it.
    pub n_members: u32,
    /// How many seal with it.
    pub n_primary: u32,
}

// ------------------------------------------------------------------------------------------------
// Other datacenters
// ------------------------------------------------------------------------------------------------

/// A datacenter that the WAN pool knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Datacenter {
    /// Its name.
    pub name: Text,
    /// Where its servers stand on the map of the WAN pool, by their names there.
    pub servers: Vec<NodeCoordinate>,
}
