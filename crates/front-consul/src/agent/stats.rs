//! Numbers about the parts of an agent, as words: what `consul info` prints.

use std::collections::{BTreeMap, BTreeSet};

use muster_registry::cluster::{Member, MemberStatus, Pool, RaftView};
use muster_registry::operator::HostFacts;

use crate::agent::vouched;
use crate::front::Front;

/// Words by part and name.
pub(crate) type Stats = BTreeMap<&'static str, Part>;
type Part = BTreeMap<&'static str, String>;

/// The numbers of an agent with these members in its own pool; `raft` is what a server knows of
/// its group.
pub(crate) fn stats(front: &Front, members: &[Member], raft: Option<&RaftView>) -> Stats {
    let vouched = vouched(front);
    let mut stats = Stats::from([
        (
            "agent",
            Part::from([
                ("checks", vouched.n_checks().to_string()),
                ("services", vouched.n_instances().to_string()),
            ]),
        ),
        (
            "build",
            Part::from([
                ("prerelease", String::new()),
                ("revision", String::new()),
                ("version", front.settings().api_version.to_string()),
                ("version_metadata", String::new()),
            ]),
        ),
        ("runtime", runtime_stats(&front.door().operator.host())),
        ("serf_lan", pool_stats(members)),
    ]);
    match raft {
        Some(raft) => {
            let wan = front.door().operator.members(Pool::Wan);
            let is_leader = is_leader(front, raft);
            stats.insert("consul", server_stats(&wan, raft, is_leader));
            stats.insert("raft", raft_stats(raft, is_leader));
            stats.insert("serf_wan", pool_stats(&wan));
        }
        None => {
            stats.insert("consul", client_stats(members));
        }
    }
    stats
}

fn is_leader(front: &Front, raft: &RaftView) -> bool {
    let own = &front.door().local.identity().node_id;
    raft.servers.iter().any(|server| server.is_leader && server.id == *own)
}

fn server_stats(wan: &[Member], raft: &RaftView, is_leader: bool) -> Part {
    let datacenters: BTreeSet<&str> =
        wan.iter().filter_map(|member| member.tag("dc")).map(|name| name.as_str()).collect();
    Part::from([
        ("acl", "disabled".to_owned()),
        ("bootstrap", (raft.servers.len() == 1).to_string()),
        ("known_datacenters", datacenters.len().max(1).to_string()),
        ("leader", is_leader.to_string()),
        ("leader_addr", raft.leader_address.as_deref().unwrap_or("").to_owned()),
        ("server", "true".to_owned()),
    ])
}

fn client_stats(members: &[Member]) -> Part {
    let is_server = |member: &&Member| {
        member.status == MemberStatus::Alive
            && member.tag("role").is_some_and(|own| own == "consul")
    };
    Part::from([
        ("acl", "disabled".to_owned()),
        ("known_servers", members.iter().filter(is_server).count().to_string()),
        ("server", "false".to_owned()),
    ])
}

fn raft_stats(raft: &RaftView, is_leader: bool) -> Part {
    let n_peers = raft.servers.iter().filter(|server| server.is_voter).count().saturating_sub(1);
    Part::from([
        ("applied_index", raft.applied_index.to_string()),
        ("commit_index", raft.commit_index.to_string()),
        ("last_log_index", raft.last_index.to_string()),
        ("last_snapshot_index", raft.snapshot_index.to_string()),
        ("latest_configuration_index", raft.voters_index.to_string()),
        ("num_peers", n_peers.to_string()),
        ("protocol_version", "3".to_owned()),
        ("state", if is_leader { "Leader" } else { "Follower" }.to_owned()),
        ("term", raft.term.to_string()),
    ])
}

fn pool_stats(members: &[Member]) -> Part {
    let count = |status| members.iter().filter(|member| member.status == status).count();
    Part::from([
        ("failed", count(MemberStatus::Failed).to_string()),
        ("left", count(MemberStatus::Left).to_string()),
        ("members", members.len().to_string()),
    ])
}

fn runtime_stats(host: &HostFacts) -> Part {
    Part::from([
        ("arch", host.architecture.to_string()),
        ("cpu_count", host.n_processors.to_string()),
        ("os", host.os.to_string()),
    ])
}
