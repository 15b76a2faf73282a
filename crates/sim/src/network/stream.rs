//! Streams of simulated hosts, as tokio wants them.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use muster_world::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::{Connection, Piece, Side};
use super::{Net, Network, park};
use crate::limits::PIECE_BYTES_MAX;
use crate::trace::HostNumber;

/// One end of a stream.
pub(super) struct SimStream {
    network: Network,
    connection: u64,
    side: Side,
}

/// A stream that is being opened; dropped, it is given up.
struct Opening(Option<SimStream>);

impl Network {
    /// Opens a stream from a host to an address.
    pub(crate) async fn connect(&self, from: HostNumber, to: SocketAddr) -> io::Result<Stream> {
        let connection = self.with(|net| net.open(from, to))?;
        let stream = SimStream { network: self.clone(), connection, side: Side::Opener };
        Opening(Some(stream)).await
    }
}

impl Net {
    fn open(&mut self, from: HostNumber, to: SocketAddr) -> io::Result<u64> {
        let unreachable = || io::Error::from(io::ErrorKind::HostUnreachable);
        let host = self.host_at(to.ip(), from).ok_or_else(unreachable)?;
        let own = SocketAddr::new(self.own_ip(from, to.ip()), self.free_port(from));
        let id = self.fresh_id();
        self.connections.insert(id, Connection::new((from, own), (host, to)));
        self.send(id, Side::Opener, Piece::Open);
        Ok(id)
    }
}

impl Future for Opening {
    type Output = io::Result<Stream>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let stream = self.0.as_ref().expect("a finished future is not polled again");
        let is_open = stream.network.with(|net| {
            let Some(connection) = net.connections.get_mut(&stream.connection) else {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            };
            let end = connection.end_mut(Side::Opener);
            if end.is_reset {
                return Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()));
            }
            if end.is_open {
                return Poll::Ready(Ok(()));
            }
            park(&mut end.reader, context, &mut net.woken);
            Poll::Pending
        });
        is_open.map_ok(|()| {
            let stream = self.0.take().expect("it was there a moment ago");
            Box::new(stream) as Stream
        })
    }
}

impl SimStream {
    pub(super) fn new(network: Network, connection: u64, side: Side) -> SimStream {
        SimStream { network, connection, side }
    }
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl AsyncRead for SimStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.network.with(|net| {
            let Some(connection) = net.connections.get_mut(&self.connection) else {
                return Poll::Ready(Err(reset()));
            };
            let end = connection.end_mut(self.side);
            let mut n_read = 0;
            while let Some(first) = end.received.front_mut()
                && buffer.remaining() > 0
            {
                let n = first.len().min(buffer.remaining());
                buffer.put_slice(&first[..n]);
                first.advance(n);
                n_read += n;
                if first.is_empty() {
                    end.received.pop_front();
                }
            }
            if n_read > 0 {
                if let Some(owed) = end.has_read(n_read) {
                    net.send(self.connection, self.side, Piece::Credit(owed));
                }
                return Poll::Ready(Ok(()));
            }
            if end.is_reset {
                return Poll::Ready(Err(reset()));
            }
            if end.has_peer_finished || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            park(&mut end.reader, context, &mut net.woken);
            Poll::Pending
        })
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.network.with(|net| {
            let Some(connection) = net.connections.get_mut(&self.connection) else {
                return Poll::Ready(Err(reset()));
            };
            let end = connection.end_mut(self.side);
            if end.is_reset {
                return Poll::Ready(Err(reset()));
            }
            if end.has_finished {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let n = bytes.len().min(end.room()).min(PIECE_BYTES_MAX);
            if n == 0 && !bytes.is_empty() {
                park(&mut end.writer, context, &mut net.woken);
                return Poll::Pending;
            }
            end.n_unread += n;
            let piece = Piece::Data(Bytes::copy_from_slice(&bytes[..n]));
            net.send(self.connection, self.side, piece);
            Poll::Ready(Ok(n))
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.network.with(|net| {
            let connection = net.connections.get_mut(&self.connection);
            if let Some(connection) = connection
                && !std::mem::replace(&mut connection.end_mut(self.side).has_finished, true)
            {
                net.send(self.connection, self.side, Piece::Finish);
            }
        });
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        self.network.with(|net| net.close(self.connection, self.side));
    }
}
