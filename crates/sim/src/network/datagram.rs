//! Datagram sockets of simulated hosts.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use muster_world::Datagram;
use tokio::io::ReadBuf;

use super::{Net, Network, Packet, park};
use crate::limits::{DATAGRAM_BUFFER_BYTES, DATAGRAM_BYTES_MAX};
use crate::trace::HostNumber;

pub(super) struct Socket {
    pub(super) host: HostNumber,
    address: SocketAddr,
    /// The only one it speaks with.
    partner: Option<SocketAddr>,
    is_shared: bool,
    received: VecDeque<(Bytes, SocketAddr)>,
    n_bytes: usize,
    is_refused: bool,
    reader: Option<Waker>,
}

/// A datagram on its way.
#[derive(Clone)]
pub(super) struct Parcel {
    socket: u64,
    from: (HostNumber, SocketAddr),
    to: (HostNumber, SocketAddr),
    bytes: Bytes,
}

/// A host's datagram socket.
struct SimDatagram {
    network: Network,
    id: u64,
    address: SocketAddr,
}

impl Network {
    pub(crate) fn bind(
        &self,
        host: HostNumber,
        at: SocketAddr,
        is_shared: bool,
    ) -> io::Result<Box<dyn Datagram>> {
        self.open_socket(host, at, None, is_shared)
    }

    pub(crate) fn connect_datagram(
        &self,
        host: HostNumber,
        to: SocketAddr,
    ) -> io::Result<Box<dyn Datagram>> {
        let own = self.with(|net| net.own_ip(host, to.ip()));
        self.open_socket(host, SocketAddr::new(own, 0), Some(to), false)
    }

    fn open_socket(
        &self,
        host: HostNumber,
        mut at: SocketAddr,
        partner: Option<SocketAddr>,
        is_shared: bool,
    ) -> io::Result<Box<dyn Datagram>> {
        let id = self.with(|net| {
            if !net.has_address(host, at.ip()) {
                return Err(io::Error::from(io::ErrorKind::AddrNotAvailable));
            }
            if at.port() == 0 {
                at.set_port(net.free_port(host));
            }
            let id = net.fresh_id();
            let others = net.hosts[host].bound.entry(at.port()).or_default();
            if others.iter().any(|other| !(is_shared && net.sockets[other].is_shared)) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            others.push(id);
            let socket = Socket {
                host,
                address: at,
                partner,
                is_shared,
                received: VecDeque::new(),
                n_bytes: 0,
                is_refused: false,
                reader: None,
            };
            net.sockets.insert(id, socket);
            Ok(id)
        })?;
        Ok(Box::new(SimDatagram { network: self.clone(), id, address: at }))
    }
}

impl Net {
    fn send_datagram(&mut self, id: u64, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        if bytes.len() > DATAGRAM_BYTES_MAX {
            return Err(io::Error::other("message too long"));
        }
        let Some(socket) = self.sockets.get(&id) else { return Err(closed()) };
        let (host, to) = (socket.host, socket.partner.unwrap_or(to));
        let from = SocketAddr::new(self.own_ip(host, to.ip()), socket.address.port());
        let Some(receiver) = self.host_at(to.ip(), host) else { return Ok(bytes.len()) };
        let passage = self.links.pass(host, receiver, &mut self.chance);
        if passage.is_lost || self.links.is_cut(host, receiver) {
            return Ok(bytes.len());
        }
        let parcel = Parcel {
            socket: id,
            from: (host, from),
            to: (receiver, to),
            bytes: Bytes::copy_from_slice(bytes),
        };
        if let Some(after) = passage.second_after {
            self.put_on_its_way(self.now + after, Packet::Parcel(parcel.clone()));
        }
        self.put_on_its_way(self.now + passage.after, Packet::Parcel(parcel));
        Ok(bytes.len())
    }

    /// A datagram has arrived.
    pub(super) fn receive(&mut self, parcel: Parcel) {
        let ((sender, from), (receiver, to)) = (parcel.from, parcel.to);
        if self.is_blocked(sender, receiver) {
            return;
        }
        self.trace.message(sender, receiver, "datagram", &parcel.bytes);
        let Some(id) = self.socket_for(receiver, from, to) else {
            let passage = self.links.pass(receiver, sender, &mut self.chance);
            let refused = Packet::Refused { socket: parcel.socket, from: receiver, to: sender };
            return self.put_on_its_way(self.now + passage.after, refused);
        };
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        if socket.n_bytes + parcel.bytes.len() <= DATAGRAM_BUFFER_BYTES {
            socket.n_bytes += parcel.bytes.len();
            socket.received.push_back((parcel.bytes, from));
            self.woken.extend(socket.reader.take());
        }
    }

    /// The socket that hears a datagram; of several that share a port, always the same for one
    /// sender.
    fn socket_for(&self, host: HostNumber, from: SocketAddr, to: SocketAddr) -> Option<u64> {
        let bound = self.hosts[host].bound.get(&to.port())?;
        let hears = |id: &&u64| {
            let socket = &self.sockets[*id];
            let own = socket.address.ip();
            (own.is_unspecified() || own == to.ip())
                && socket.partner.is_none_or(|partner| partner == from)
        };
        let hearing: Vec<u64> = bound.iter().filter(hears).copied().collect();
        let turn = usize::from(from.port()) % hearing.len().max(1);
        hearing.get(turn).copied()
    }

    /// Closes a host's sockets.
    pub(super) fn close_sockets(&mut self, host: HostNumber) {
        self.hosts[host].bound.clear();
        let closed = self.sockets.extract_if(.., |_, socket| socket.host == host);
        self.woken.extend(closed.filter_map(|(_, socket)| socket.reader));
    }

    /// Tells a socket that nobody listens where it sends.
    pub(super) fn refuse(&mut self, id: u64) {
        if let Some(socket) = self.sockets.get_mut(&id)
            && socket.partner.is_some()
        {
            socket.is_refused = true;
            self.woken.extend(socket.reader.take());
        }
    }
}

fn closed() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl SimDatagram {
    fn take(&self, waits: Option<&Context<'_>>) -> Poll<io::Result<(Bytes, SocketAddr)>> {
        self.network.with(|net| {
            let Some(socket) = net.sockets.get_mut(&self.id) else {
                return Poll::Ready(Err(closed()));
            };
            if std::mem::take(&mut socket.is_refused) {
                return Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()));
            }
            if let Some((bytes, from)) = socket.received.pop_front() {
                socket.n_bytes -= bytes.len();
                return Poll::Ready(Ok((bytes, from)));
            }
            if let Some(context) = waits {
                park(&mut socket.reader, context, &mut net.woken);
            }
            Poll::Pending
        })
    }
}

impl Datagram for SimDatagram {
    fn poll_receive(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        self.take(Some(context)).map_ok(|(bytes, from)| {
            let n = bytes.len().min(buffer.remaining());
            buffer.put_slice(&bytes[..n]);
            from
        })
    }

    fn poll_send(
        &self,
        _: &mut Context<'_>,
        bytes: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.try_send(bytes, to))
    }

    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match self.take(None) {
            Poll::Ready(received) => received.map(|(bytes, from)| {
                let n = bytes.len().min(buffer.len());
                buffer[..n].copy_from_slice(&bytes[..n]);
                (n, from)
            }),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn try_send(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.network.with(|net| net.send_datagram(self.id, bytes, to))
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Drop for SimDatagram {
    fn drop(&mut self) {
        self.network.with(|net| {
            let Some(socket) = net.sockets.remove(&self.id) else { return };
            let port = socket.address.port();
            let bound = &mut net.hosts[socket.host].bound;
            if let Some(others) = bound.get_mut(&port) {
                others.retain(|other| *other != self.id);
                if others.is_empty() {
                    bound.remove(&port);
                }
            }
            net.woken.extend(socket.reader);
        });
    }
}
