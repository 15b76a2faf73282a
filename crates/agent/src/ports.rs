//! The ports of an agent towards other agents, bound before anything is started.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use muster_world::{Address, Listener, World};

use crate::membership::GossipSockets;

/// Where an agent is to be reached by other agents. Port 0 takes a free one.
#[derive(Debug, Clone, Copy)]
pub struct PortSetup {
    /// By servers, over the internal protocol.
    pub server: SocketAddr,
    /// By the members of its datacenter.
    pub lan: SocketAddr,
    /// By the servers of other datacenters; nothing: it takes no part.
    pub wan: Option<SocketAddr>,
}

/// Bound ports.
pub struct Ports {
    pub(crate) server: Box<dyn Listener>,
    pub(crate) gossip: GossipPorts,
}

/// Bound ports of the gossip pools.
pub(crate) struct GossipPorts {
    pub(crate) lan: GossipSockets,
    pub(crate) wan: Option<GossipSockets>,
}

/// A port that cannot be bound.
#[derive(Debug)]
pub struct BindError {
    /// For what.
    pub what: &'static str,
    /// Which.
    pub at: SocketAddr,
    /// What the machine answered.
    pub error: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot listen at {}: {}", self.what, self.at, self.error)
    }
}

impl std::error::Error for BindError {}

impl Ports {
    /// Binds all of them, or none.
    ///
    /// # Errors
    /// The first that cannot be bound.
    pub fn bind(world: &dyn World, at: &PortSetup) -> Result<Ports, BindError> {
        let failed = |what, at| move |error| BindError { what, at, error };
        let server = world
            .listen(&Address::Inet(at.server))
            .map_err(failed("the internal protocol (ports.server)", at.server))?;
        let lan = GossipSockets::bind(world, at.lan)
            .map_err(failed("LAN gossip (ports.serf_lan)", at.lan))?;
        let wan = at.wan.map(|at| {
            GossipSockets::bind(world, at).map_err(failed("WAN gossip (ports.serf_wan)", at))
        });
        Ok(Ports { server, gossip: GossipPorts { lan, wan: wan.transpose()? } })
    }

    pub(crate) fn server_port(&self) -> io::Result<u16> {
        match self.server.local_address()? {
            Address::Inet(address) => Ok(address.port()),
            Address::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Where they are bound: for servers, the LAN pool, the WAN pool.
    ///
    /// # Errors
    /// What the machine answered.
    pub fn addresses(&self) -> io::Result<(Address, SocketAddr, Option<SocketAddr>)> {
        let wan = self.gossip.wan.as_ref().map(GossipSockets::local_address).transpose()?;
        Ok((self.server.local_address()?, self.gossip.lan.local_address()?, wan))
    }
}
