//! Sockets: streams that are accepted or opened, and datagrams.
//!
//! The traits are tokio's shapes with the concrete types taken out, so that a simulator can hand
//! out its own. Listeners and datagram sockets are polled; the `async` forms on `dyn Listener`
//! and `dyn Datagram` are the ones to call.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Where a stream is accepted or opened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP, at an IP address and a port.
    Inet(SocketAddr),
    /// A Unix socket at a path; the far end of an accepted one has an empty path.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Inet(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Address::Inet(address)
    }
}

/// Whose a Unix socket is, and who may use it. What is not said stays as the machine makes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Permit {
    /// The owner's id.
    pub user: Option<u32>,
    /// The group's id.
    pub group: Option<u32>,
    /// The permission bits.
    pub mode: Option<u32>,
}

/// What a stream can do.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Bytes both ways, in order.
pub type Stream = Box<dyn Duplex>;

/// Accepts streams.
pub trait Listener: Send + Sync {
    /// Takes the next stream, with the address it came from.
    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<(Stream, Address)>>;

    /// Where it listens, with the port that was taken for port 0.
    fn local_address(&self) -> io::Result<Address>;
}

impl dyn Listener + '_ {
    /// Waits for the next stream.
    pub async fn accept(&self) -> io::Result<(Stream, Address)> {
        poll_fn(|context| self.poll_accept(context)).await
    }
}

/// Sends and receives datagrams.
pub trait Datagram: Send + Sync {
    /// Receives one datagram into the buffer and tells who sent it.
    fn poll_receive(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>>;

    /// Sends one datagram.
    fn poll_send(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<usize>>;

    /// Receives one datagram that is already there, else `WouldBlock`.
    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)>;

    /// Sends one datagram if the socket takes it at once, else `WouldBlock`.
    fn try_send(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize>;

    /// Where it is bound, with the port that was taken for port 0.
    fn local_address(&self) -> io::Result<SocketAddr>;
}

impl dyn Datagram + '_ {
    /// Waits for one datagram; what does not fit into the buffer is lost.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let mut buffer = ReadBuf::new(buffer);
        let from = poll_fn(|context| self.poll_receive(context, &mut buffer)).await?;
        Ok((buffer.filled().len(), from))
    }

    /// Sends one datagram, waiting for room.
    pub async fn send(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        poll_fn(|context| self.poll_send(context, bytes, to)).await
    }
}
