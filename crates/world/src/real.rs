//! The world of a real machine: std's files, tokio's sockets, the system's clock and entropy.
//!
//! Two switches only: which files to use (those of the machine, or [`crate::Memory`] for an
//! agent that leaves nothing behind), and nothing else.

use std::fs::Permissions;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::TryRngCore;
use rand::rngs::OsRng;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{Interest, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream};

use crate::facts::{Machine, Process};
use crate::files::Files;
use crate::net::{Address, Datagram, Listener, Permit, Stream};
use crate::real_files::RealFiles;
use crate::world::{Connecting, Resolving, Work, World};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Bytes that a datagram socket may hold for us.
const DATAGRAM_BUFFER_BYTES: usize = 4 << 20;

/// The machine itself.
pub struct Real {
    files: Arc<dyn Files>,
}

impl Real {
    /// With the files of the machine.
    #[must_use]
    pub fn new() -> Self {
        Real { files: Arc::new(RealFiles) }
    }

    /// With other files, such as [`crate::Memory`].
    #[must_use]
    pub fn with_files(files: Arc<dyn Files>) -> Self {
        Real { files }
    }
}

impl Default for Real {
    fn default() -> Self {
        Self::new()
    }
}

impl World for Real {
    fn files(&self) -> &dyn Files {
        &*self.files
    }

    fn wall_clock(&self) -> Duration {
        #[allow(clippy::disallowed_methods, reason = "this is where the wall clock is read")]
        let now = SystemTime::now();
        now.duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn seed(&self) -> [u8; 32] {
        let mut seed = [0; 32];
        OsRng.try_fill_bytes(&mut seed).expect("the system offers entropy once it has booted");
        seed
    }

    fn listen(&self, at: &Address) -> io::Result<Box<dyn Listener>> {
        match at {
            Address::Inet(address) => Ok(Box::new(listen_inet(*address)?)),
            Address::Unix(path) => Ok(Box::new(listen_unix(path)?)),
        }
    }

    fn permit(&self, socket: &Path, permit: Permit) -> io::Result<()> {
        if permit.user.is_some() || permit.group.is_some() {
            std::os::unix::fs::chown(socket, permit.user, permit.group)?;
        }
        match permit.mode {
            None => Ok(()),
            Some(mode) => std::fs::set_permissions(socket, Permissions::from_mode(mode)),
        }
    }

    fn connect(&self, to: &Address) -> Connecting {
        let to = to.clone();
        Box::pin(async move {
            Ok(match to {
                Address::Inet(address) => {
                    let stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    Box::new(stream) as Stream
                }
                Address::Unix(path) => Box::new(UnixStream::connect(path).await?) as Stream,
            })
        })
    }

    fn resolve(&self, host_and_port: &str) -> Resolving {
        let target = host_and_port.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host(target).await?.collect()) })
    }

    fn connect_datagram(&self, to: SocketAddr) -> io::Result<Box<dyn Datagram>> {
        let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.connect(&to.into())?;
        Ok(Box::new(ConnectedSocket::new(UdpSocket::from_std(socket.into())?)))
    }

    fn bind(&self, at: SocketAddr, shared: bool) -> io::Result<Box<dyn Datagram>> {
        let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
        if at.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_reuse_port(shared)?;
        socket.set_nonblocking(true)?;
        // The system may grant less, which is no reason not to start.
        let _ = socket.set_recv_buffer_size(DATAGRAM_BUFFER_BYTES);
        socket.bind(&at.into())?;
        Ok(Box::new(UdpSocket::from_std(socket.into())?))
    }

    fn start_blocking(&self, work: Work) {
        // Nobody waits for the handle: results travel inside the work.
        drop(tokio::task::spawn_blocking(work));
    }

    fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        crate::addresses::of_machine()
    }

    fn machine(&self, folder: &Path) -> Machine {
        Machine::look(folder)
    }

    fn process(&self) -> Process {
        Process::look()
    }

    fn start_thread(&self, name: &str, work: Work) -> io::Result<()> {
        std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
    }
}

fn listen_inet(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    if at.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// A socket that a dead process left behind is replaced; one that still answers is not.
fn listen_unix(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path) => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        result => result,
    }
}

fn is_abandoned(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    let answer = std::os::unix::net::UnixStream::connect(path);
    is_socket && answer.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

impl Listener for TcpListener {
    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<(Stream, Address)>> {
        let (stream, from) = ready!(TcpListener::poll_accept(self, context))?;
        // A peer that is already gone makes this fail; its first read will say so.
        let _ = stream.set_nodelay(true);
        Poll::Ready(Ok((Box::new(stream), Address::Inet(from))))
    }

    fn local_address(&self) -> io::Result<Address> {
        self.local_addr().map(Address::Inet)
    }
}

impl Listener for UnixListener {
    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<(Stream, Address)>> {
        let (stream, from) = ready!(UnixListener::poll_accept(self, context))?;
        let path = from.as_pathname().unwrap_or(Path::new("")).to_owned();
        Poll::Ready(Ok((Box::new(stream), Address::Unix(path))))
    }

    fn local_address(&self) -> io::Result<Address> {
        let address = self.local_addr()?;
        Ok(Address::Unix(address.as_pathname().unwrap_or(Path::new("")).to_owned()))
    }
}

/// A datagram socket that speaks with one address. That the other side refuses is an error of the
/// socket, which the system does not announce as something to read: it is waited for beside.
struct ConnectedSocket {
    socket: Arc<UdpSocket>,
    failing: Mutex<Failing>,
}

/// Ready once the socket has an error.
type Failing = Pin<Box<dyn Future<Output = io::Result<io::Error>> + Send>>;

impl ConnectedSocket {
    fn new(socket: UdpSocket) -> Self {
        let socket = Arc::new(socket);
        let own = socket.clone();
        let failing = async move {
            let error = || own.take_error()?.ok_or_else(|| io::ErrorKind::WouldBlock.into());
            own.async_io(Interest::ERROR, error).await
        };
        ConnectedSocket { socket, failing: Mutex::new(Box::pin(failing)) }
    }
}

impl Datagram for ConnectedSocket {
    fn poll_receive(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        if let Poll::Ready(received) = self.socket.poll_recv_from(context, buffer) {
            return Poll::Ready(received);
        }
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let error = ready!(failing.as_mut().poll(context))?;
        // One is enough: a finished future is not polled again.
        *failing = Box::pin(std::future::pending());
        Poll::Ready(Err(error))
    }

    fn poll_send(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_send_to(context, bytes, to)
    }

    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.try_recv_from(buffer)
    }

    fn try_send(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.socket.try_send_to(bytes, to)
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

impl Datagram for UdpSocket {
    fn poll_receive(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        self.poll_recv_from(context, buffer)
    }

    fn poll_send(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.poll_send_to(context, bytes, to)
    }

    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.try_recv_from(buffer)
    }

    fn try_send(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.try_send_to(bytes, to)
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }
}
