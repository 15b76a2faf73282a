//! A world of wires in memory, for tests under a paused clock: real sockets would look idle to it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use muster_world::facts::{Machine, Process};
use muster_world::world::{Connecting, Resolving, Work};
use muster_world::{Address, Datagram, Files, Listener, Real, Stream, World};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::mpsc;
use tokio::time::Duration;

/// What a wire holds.
const WIRE_BYTES: usize = 64 << 10;

type Arriving = (Stream, Address);

/// Streams are wires in memory; all else is the machine's.
pub(super) struct Wires {
    real: Real,
    ports: Mutex<BTreeMap<SocketAddr, mpsc::UnboundedSender<Arriving>>>,
    pub(super) n_dials: AtomicUsize,
    /// Of the wires laid from now on: whether they were cut since.
    is_cut: Mutex<Arc<AtomicBool>>,
    /// New wires hang while they are being laid.
    pub(super) is_hanging: AtomicBool,
}

impl Wires {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            real: Real::new(),
            ports: Mutex::default(),
            n_dials: AtomicUsize::new(0),
            is_cut: Mutex::default(),
            is_hanging: AtomicBool::new(false),
        })
    }

    /// Cuts all wires, as when a cable is pulled: they carry nothing more and say nothing. Those
    /// that are laid afterwards are whole.
    pub(super) fn cut(&self) {
        let mut is_cut = self.is_cut.lock().expect("whole");
        is_cut.store(true, Ordering::SeqCst);
        *is_cut = Arc::default();
    }

    fn wire(&self, end: DuplexStream) -> Stream {
        let is_cut = Arc::clone(&self.is_cut.lock().expect("whole"));
        Box::new(Wire { end, is_cut })
    }

    /// One end of a wire to a port, without a word said on it.
    pub(super) fn bare(&self, to: SocketAddr) -> io::Result<Stream> {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let ports = self.ports.lock().expect("whole");
        let port = ports.get(&to).ok_or_else(refused)?;
        let (near, far) = duplex(WIRE_BYTES);
        let from = SocketAddr::from(([127, 0, 0, 1], 1));
        port.send((self.wire(far), from.into())).map_err(|_| refused())?;
        Ok(self.wire(near))
    }
}

impl World for Wires {
    fn listen(&self, at: &Address) -> io::Result<Box<dyn Listener>> {
        let Address::Inet(at) = *at else { panic!("no test listens on a path") };
        let (sender, arriving) = mpsc::unbounded_channel();
        self.ports.lock().expect("whole").insert(at, sender);
        Ok(Box::new(WirePort { at, arriving: Mutex::new(arriving) }))
    }

    fn connect(&self, to: &Address) -> Connecting {
        self.n_dials.fetch_add(1, Ordering::SeqCst);
        if self.is_hanging.load(Ordering::SeqCst) {
            return Box::pin(std::future::pending());
        }
        let Address::Inet(to) = *to else { panic!("no test dials a path") };
        let dialed = self.bare(to);
        Box::pin(async move { dialed })
    }

    fn files(&self) -> &dyn Files {
        self.real.files()
    }

    fn wall_clock(&self) -> Duration {
        self.real.wall_clock()
    }

    fn seed(&self) -> [u8; 32] {
        [0; 32]
    }

    fn resolve(&self, host_and_port: &str) -> Resolving {
        self.real.resolve(host_and_port)
    }

    fn connect_datagram(&self, to: SocketAddr) -> io::Result<Box<dyn Datagram>> {
        self.real.connect_datagram(to)
    }

    fn bind(&self, at: SocketAddr, shared: bool) -> io::Result<Box<dyn Datagram>> {
        self.real.bind(at, shared)
    }

    fn start_blocking(&self, work: Work) {
        self.real.start_blocking(work);
    }

    fn machine(&self, folder: &Path) -> Machine {
        self.real.machine(folder)
    }

    fn process(&self) -> Process {
        self.real.process()
    }

    fn start_thread(&self, name: &str, work: Work) -> io::Result<()> {
        self.real.start_thread(name, work)
    }
}

struct WirePort {
    at: SocketAddr,
    arriving: Mutex<mpsc::UnboundedReceiver<Arriving>>,
}

impl Listener for WirePort {
    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<Arriving>> {
        let mut arriving = self.arriving.lock().expect("whole");
        let gone = || io::Error::from(io::ErrorKind::ConnectionAborted);
        arriving.poll_recv(context).map(|arrived| arrived.ok_or_else(gone))
    }

    fn local_address(&self) -> io::Result<Address> {
        Ok(self.at.into())
    }
}

/// One end of a wire. Cut, it takes bytes to nowhere, and none come.
struct Wire {
    end: DuplexStream,
    is_cut: Arc<AtomicBool>,
}

impl Wire {
    fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::SeqCst)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.is_cut() {
            true => Poll::Pending,
            false => Pin::new(&mut self.end).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.is_cut() {
            true => Poll::Ready(Ok(bytes.len())),
            false => Pin::new(&mut self.end).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.is_cut() {
            true => Poll::Ready(Ok(())),
            false => Pin::new(&mut self.end).poll_shutdown(context),
        }
    }
}
