//! Putting the gossip pools of an agent together: who it is in each, with which keys, from where.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use muster_gossip::keyring::{Key, Keyring};
use muster_gossip::{Name, Profile};
use muster_registry::local::Identity;
use muster_rpc::Hello;
use muster_world::{World, blocking};
use tracing::warn;

use crate::agent::AgentError;
use crate::joining;
use crate::membership::{GossipSockets, KeepKeys, Membership, PoolSetup};
use crate::ports::GossipPorts;
use crate::setup::Setup;
use crate::tags::{self, OwnServer};

/// Bytes of a file of keys.
const KEYS_BYTES_MAX: u64 = 4 << 10;

/// The running pools.
pub(crate) struct Pools {
    pub(crate) lan: Arc<Membership>,
    pub(crate) wan: Option<Arc<Membership>>,
}

/// What every other agent is told first.
pub(crate) fn hello(identity: &Identity, node_id: u64) -> Hello {
    Hello {
        datacenter: identity.datacenter.to_string(),
        node_id,
        node: identity.node.to_string(),
        is_server: identity.is_server,
        extra: bytes::Bytes::new(),
    }
}

/// The address under which others reach this agent, at a port.
pub(crate) fn address(identity: &Identity, port: u16) -> Result<SocketAddr, AgentError> {
    let ip: Result<IpAddr, _> = identity.address.parse();
    let ip = ip.map_err(|_| {
        let address = &identity.address;
        AgentError::Gossip(format!("the advertised address {address:?} is not an IP address"))
    })?;
    Ok(SocketAddr::new(ip, port))
}

/// Starts the pools of an agent.
pub(crate) async fn start(
    world: &Arc<dyn World>,
    setup: &Setup,
    ports: GossipPorts,
    server_port: u16,
) -> Result<Pools, AgentError> {
    let identity = &setup.identity;
    let own_server = OwnServer { port: server_port, expects: setup.expects };
    let folder = setup.data_folder.join("gossip");
    let parts = Parts { world, setup, folder: &folder, own_server: &own_server };
    let (lan_port, wan_port) = setup.gossip.usual_ports;
    let lan = parts.start(
        ports.lan,
        PoolPart {
            name: identity.node.to_string(),
            label: format!("{}.lan", identity.datacenter),
            settings: setup.gossip.lan.clone(),
            usual_port: lan_port,
            keys: "lan.keyring",
        },
    );
    let lan = lan.await?;
    let wan = match ports.wan {
        None => None,
        Some(sockets) => {
            let wan = parts.start(
                sockets,
                PoolPart {
                    name: format!("{}.{}", identity.node, identity.datacenter),
                    label: "wan".to_owned(),
                    settings: setup.gossip.wan.clone(),
                    usual_port: wan_port,
                    keys: "wan.keyring",
                },
            );
            Some(wan.await?)
        }
    };
    Ok(Pools { lan, wan })
}

/// Begins to join those that the configuration names and those who were there before, and to remember
/// who is there.
pub(crate) fn begin(
    world: &Arc<dyn World>,
    setup: &Setup,
    lan: &Arc<Membership>,
    wan: Option<&Arc<Membership>>,
) {
    let folder = setup.data_folder.join("gossip");
    let lan = (Some(lan), &setup.gossip.lan_joins, "lan.peers");
    let wan = (wan, &setup.gossip.wan_joins, "wan.peers");
    for (pool, joins, file) in [lan, wan] {
        let Some(pool) = pool else { continue };
        if !joins.addresses.is_empty() {
            tokio::spawn(joining::join(Arc::downgrade(pool), joins.clone()));
        }
        let file = folder.join(file);
        tokio::spawn(joining::remember(Arc::downgrade(pool), world.clone(), file));
    }
}

/// What both pools have in common.
struct Parts<'a> {
    world: &'a Arc<dyn World>,
    setup: &'a Setup,
    folder: &'a Path,
    own_server: &'a OwnServer,
}

/// What is one pool's own.
struct PoolPart {
    name: String,
    label: String,
    settings: muster_gossip::Settings,
    usual_port: u16,
    keys: &'static str,
}

impl Parts<'_> {
    async fn start(
        &self,
        sockets: GossipSockets,
        part: PoolPart,
    ) -> Result<Arc<Membership>, AgentError> {
        let refused = |error: &dyn std::fmt::Display| AgentError::Gossip(error.to_string());
        let identity = &self.setup.identity;
        let own_server = identity.is_server.then_some(self.own_server);
        let api_version = &self.setup.api_version;
        let profile = Profile {
            name: Name::parse(&part.name).map_err(|error| refused(&error))?,
            address: address(identity, sockets.local_address()?.port())?,
            id: parse_id(&identity.node_id),
            tags: tags::own(identity, api_version, own_server).map_err(|error| refused(&error))?,
        };
        let keys_file = self.folder.join(part.keys);
        let keyring = self.keyring(&keys_file).await?;
        let gossip = muster_gossip::Setup {
            settings: part.settings,
            profile,
            label: part.label,
            keyring,
            seed: self.world.seed(),
        };
        let keep_keys = keeper(self.world.clone(), keys_file);
        let setup = PoolSetup { gossip, usual_port: part.usual_port, keep_keys };
        let pool = Membership::start(self.world.clone(), sockets, setup);
        pool.map(Arc::new).map_err(|error| refused(&error))
    }

    /// The keys in the data folder rule; a key of the configuration begins a ring.
    async fn keyring(&self, file: &Path) -> Result<Option<Keyring>, AgentError> {
        let (world, path) = (self.world.clone(), file.to_owned());
        let folder = self.folder.to_owned();
        let read = blocking(&**self.world, move || {
            world.files().create_folder(&folder)?;
            world.files().read(&path, KEYS_BYTES_MAX)
        });
        let bad = |why: String| {
            AgentError::Gossip(format!(
                "{}: {why}; restore the file, or remove it to begin with the key of the \
                 configuration",
                file.display()
            ))
        };
        match read.await {
            Some(Ok(bytes)) => parse_keys(&bytes).map(Some).map_err(bad),
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                Ok(self.setup.gossip.key.clone().map(Keyring::new))
            }
            Some(Err(error)) => Err(bad(error.to_string())),
            None => Err(bad("the runtime is going down".to_owned())),
        }
    }
}

/// One key a line, in base64, the one in use first.
fn parse_keys(bytes: &[u8]) -> Result<Keyring, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is not text".to_owned())?;
    let keys: Result<Vec<Key>, String> = text
        .lines()
        .map(|line| {
            let bytes = BASE64_STANDARD.decode(line).map_err(|error| error.to_string())?;
            Key::new(&bytes).map_err(|error| error.to_string())
        })
        .collect();
    Keyring::of(keys?).map_err(|error| error.to_string())
}

fn keeper(world: Arc<dyn World>, file: PathBuf) -> KeepKeys {
    Box::new(move |keys| {
        let lines: Vec<String> =
            keys.iter().map(|key| BASE64_STANDARD.encode(key.as_bytes()) + "\n").collect();
        let (inside, file) = (world.clone(), file.clone());
        world.start_blocking(Box::new(move || {
            if let Err(error) = inside.files().replace(&file, lines.concat().as_bytes()) {
                warn!(%error, file = %file.display(), "the keys of gossip are not kept");
            }
        }));
    })
}

/// The bytes of a node's id; an id that is no UUID has none.
fn parse_id(id: &str) -> [u8; 16] {
    uuid::Uuid::parse_str(id).map(uuid::Uuid::into_bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_were_kept() {
        let keys = [Key::new(&[7; 32]).unwrap(), Key::new(&[8; 16]).unwrap()];
        let lines: Vec<String> =
            keys.iter().map(|key| BASE64_STANDARD.encode(key.as_bytes()) + "\n").collect();
        assert_eq!(parse_keys(lines.concat().as_bytes()).unwrap().keys(), keys);
        assert!(parse_keys(b"no key\n").is_err());
        assert!(parse_keys(b"\xff\xfe").is_err());
    }
}
