//! What a member says of itself in its tags: the words that other tools look for.

use std::net::SocketAddr;

use muster_gossip::{Member, Tags};
use muster_registry::local::Identity;

/// What a server tells beyond what every agent does.
pub(crate) struct OwnServer {
    /// The port at which servers reach it.
    pub(crate) port: u16,
    /// How many servers it waits for before a group is founded; 1: it founded its own; 0: it joins.
    pub(crate) expects: usize,
}

/// A server, as its tags tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerTag {
    /// Its number in the group.
    pub(crate) id: u64,
    /// Where servers reach it.
    pub(crate) address: SocketAddr,
    /// Its datacenter.
    pub(crate) datacenter: String,
    /// How many servers it waits for.
    pub(crate) expects: usize,
}

/// The tags of this agent.
pub(crate) fn own(
    identity: &Identity,
    api_version: &str,
    server: Option<&OwnServer>,
) -> Result<Tags, muster_gossip::member::ProfileError> {
    let mut tags = vec![
        ("acls", "0".to_owned()),
        ("build", api_version.to_owned()),
        ("dc", identity.datacenter.to_string()),
        ("id", identity.node_id.to_string()),
        ("segment", String::new()),
        ("vsn", "2".to_owned()),
        ("vsn_max", "3".to_owned()),
        ("vsn_min", "2".to_owned()),
    ];
    match server {
        None => tags.push(("role", "node".to_owned())),
        Some(server) => {
            tags.push(("role", "consul".to_owned()));
            tags.push(("port", server.port.to_string()));
            tags.push(("raft_vsn", "3".to_owned()));
            match server.expects {
                0 => {}
                1 => tags.push(("bootstrap", "1".to_owned())),
                n => tags.push(("expect", n.to_string())),
            }
        }
    }
    Tags::new(tags)
}

/// The server that a member is, if it is one.
pub(crate) fn server_of(member: &Member) -> Option<ServerTag> {
    let tags = &member.profile.tags;
    if tags.value("role") != Some("consul") {
        return None;
    }
    let port = tags.value("port")?.parse().ok()?;
    Some(ServerTag {
        id: short_id(&member.profile.id),
        address: SocketAddr::new(member.address().ip(), port),
        datacenter: tags.value("dc")?.to_owned(),
        expects: tags.value("expect").and_then(|text| text.parse().ok()).unwrap_or(0),
    })
}

/// The number by which consensus knows a node: the first half of its id.
#[must_use]
pub fn short_id(id: &[u8; 16]) -> u64 {
    u64::from_be_bytes(*id.first_chunk().expect("an id has 16 bytes"))
}
