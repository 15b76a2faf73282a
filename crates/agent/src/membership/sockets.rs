//! The port of a pool: datagrams and streams at one number.

use std::io;
use std::net::SocketAddr;

use muster_world::{Address, Datagram, Listener, World};

/// Numbers that are tried where any free one will do: free for streams, it may be taken for
/// datagrams.
const FREE_PORTS_TRIED: usize = 32;

/// The bound port of a pool.
pub struct GossipSockets {
    pub(super) packets: Box<dyn Datagram>,
    pub(super) streams: Box<dyn Listener>,
}

impl GossipSockets {
    /// Binds both kinds at an address; port 0 takes a free one.
    ///
    /// # Errors
    /// What the machine answered; nothing is left bound.
    pub fn bind(world: &dyn World, at: SocketAddr) -> io::Result<GossipSockets> {
        let tries = if at.port() == 0 { FREE_PORTS_TRIED } else { 1 };
        let mut bound = bind_both(world, at);
        for _ in 1..tries {
            if bound.is_ok() {
                break;
            }
            bound = bind_both(world, at);
        }
        bound
    }

    /// Where they are bound.
    ///
    /// # Errors
    /// What the machine answered.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.packets.local_address()
    }
}

fn bind_both(world: &dyn World, at: SocketAddr) -> io::Result<GossipSockets> {
    let streams = world.listen(&Address::Inet(at))?;
    let bound = match streams.local_address()? {
        Address::Inet(bound) => bound,
        Address::Unix(_) => at,
    };
    let packets = world.bind(bound, false)?;
    Ok(GossipSockets { packets, streams })
}
