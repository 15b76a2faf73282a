//! Listeners of simulated hosts.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};

use muster_world::{Address, Listener, Stream};

use super::connection::{Piece, Side};
use super::stream::SimStream;
use super::{Net, Network, park};
use crate::limits::BACKLOG;
use crate::trace::HostNumber;

/// Where streams to a host are accepted.
pub(super) struct Door {
    /// Which listener it belongs to.
    id: u64,
    address: SocketAddr,
    waiting: VecDeque<u64>,
    accepter: Option<Waker>,
}

/// Accepts streams at a host.
struct SimListener {
    network: Network,
    host: HostNumber,
    id: u64,
    address: SocketAddr,
}

impl Network {
    pub(crate) fn listen(
        &self,
        host: HostNumber,
        mut at: SocketAddr,
    ) -> io::Result<Box<dyn Listener>> {
        let (id, address) = self.with(|net| {
            if !net.has_address(host, at.ip()) {
                return Err(io::Error::from(io::ErrorKind::AddrNotAvailable));
            }
            if at.port() == 0 {
                at.set_port(net.free_port(host));
            }
            if net.hosts[host].doors.contains_key(&at.port()) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            let id = net.fresh_id();
            let door = Door { id, address: at, waiting: VecDeque::new(), accepter: None };
            net.hosts[host].doors.insert(at.port(), door);
            Ok((id, at))
        })?;
        Ok(Box::new(SimListener { network: self.clone(), host, id, address }))
    }
}

impl Net {
    /// A stream asks to be accepted.
    pub(super) fn knock(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let (host, address) = {
            let end = connection.end(Side::Accepter);
            (end.host, end.address)
        };
        let door = self.hosts[host].doors.get_mut(&address.port()).filter(|door| {
            let listens_at = door.address.ip();
            let fits = listens_at.is_unspecified() || listens_at == address.ip();
            fits && door.waiting.len() < BACKLOG
        });
        let Some(door) = door else { return self.send(id, Side::Accepter, Piece::Reset) };
        door.waiting.push_back(id);
        self.woken.extend(door.accepter.take());
        let end = connection.end_mut(Side::Accepter);
        end.is_gone = false;
        end.is_open = true;
        self.send(id, Side::Accepter, Piece::Opened);
    }

    /// Closes a host's listeners with the streams that nobody accepted.
    pub(super) fn close_doors(&mut self, host: HostNumber) {
        for (_, door) in std::mem::take(&mut self.hosts[host].doors) {
            self.close_door(door);
        }
    }

    /// Forgets a host's listeners: their streams fall silent with the machine.
    pub(super) fn leave_doors(&mut self, host: HostNumber) {
        let doors = std::mem::take(&mut self.hosts[host].doors);
        self.woken.extend(doors.into_values().filter_map(|door| door.accepter));
    }

    fn close_door(&mut self, door: Door) {
        self.woken.extend(door.accepter);
        for id in door.waiting {
            self.close(id, Side::Accepter);
        }
    }
}

impl Listener for SimListener {
    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<(Stream, Address)>> {
        self.network.with(|net| {
            let doors = &mut net.hosts[self.host].doors;
            let door = doors.get_mut(&self.address.port()).filter(|door| door.id == self.id);
            let Some(door) = door else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            let Some(id) = door.waiting.pop_front() else {
                park(&mut door.accepter, context, &mut net.woken);
                return Poll::Pending;
            };
            let from = net.connections.get(&id).map(|found| found.end(Side::Opener).address);
            let Some(from) = from else {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            };
            let stream = SimStream::new(self.network.clone(), id, Side::Accepter);
            Poll::Ready(Ok((Box::new(stream) as Stream, Address::Inet(from))))
        })
    }

    fn local_address(&self) -> io::Result<Address> {
        Ok(Address::Inet(self.address))
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.network.with(|net| {
            let doors = &mut net.hosts[self.host].doors;
            let port = self.address.port();
            if doors.get(&port).is_some_and(|door| door.id == self.id)
                && let Some(door) = doors.remove(&port)
            {
                net.close_door(door);
            }
        });
    }
}
