//! The one trait between muster and the machine it runs on.
//!
//! A `World` is handed from the assembly to whatever needs an effect, as `Arc<dyn World>`. Its
//! methods are few and plain, so that a list of all effects of the program is this file.
//!
//! Blocking work (a write and its fdatasync, the writing of a snapshot) is given away with
//! [`World::start_blocking`], never done on a runtime thread; [`blocking`] is the form that waits
//! for a result. A simulator runs such work at a moment of its own choosing.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::facts::{Machine, Process};
use crate::files::Files;
use crate::net::{Address, Datagram, Listener, Permit, Stream};

/// Work that may block its thread.
pub type Work = Box<dyn FnOnce() + Send + 'static>;

/// Addresses of a name that are being looked up.
pub type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// A connection that is being made.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

/// Everything that reaches out of the process.
pub trait World: Send + Sync + 'static {
    /// The files of this machine.
    fn files(&self) -> &dyn Files;

    /// The wall clock, as the time since the start of 1970. Only for what people and protocols
    /// read as a date; never for measuring.
    fn wall_clock(&self) -> Duration;

    /// Fresh entropy, from which seeded generators (and keys) are made.
    fn seed(&self) -> [u8; 32];

    /// Accepts streams at an address. Port 0 takes a free port, which the listener can tell.
    fn listen(&self, at: &Address) -> io::Result<Box<dyn Listener>>;

    /// Says whose a Unix socket that was bound is, and who may use it. A world without them has
    /// nobody to keep out.
    fn permit(&self, socket: &Path, permit: Permit) -> io::Result<()> {
        let _ = (socket, permit);
        Ok(())
    }

    /// Opens a stream to an address.
    fn connect(&self, to: &Address) -> Connecting;

    /// Looks up the addresses of `host:port` as the machine does.
    fn resolve(&self, host_and_port: &str) -> Resolving;

    /// A datagram socket that speaks with one address only, and so hears if that refuses.
    fn connect_datagram(&self, to: SocketAddr) -> io::Result<Box<dyn Datagram>>;

    /// Binds a datagram socket. With `shared`, several sockets may be bound to one port and the
    /// machine spreads the datagrams over them.
    fn bind(&self, at: SocketAddr, shared: bool) -> io::Result<Box<dyn Datagram>>;

    /// Runs work that may block, on a thread of a pool. Must be called inside the runtime.
    fn start_blocking(&self, work: Work);

    /// The addresses of the machine's interfaces that are up, without the loopback's. A world that
    /// has no interfaces of its own tells none.
    fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        Ok(Vec::new())
    }

    /// What the machine looks like, and the disk of a folder.
    fn machine(&self, folder: &Path) -> Machine;

    /// What this process looks like.
    fn process(&self) -> Process;

    /// Starts a thread that lives as long as its work.
    fn start_thread(&self, name: &str, work: Work) -> io::Result<()>;
}

/// Runs work that may block and waits for its result. `None` when the work panicked or the
/// runtime is going down.
pub async fn blocking<T: Send + 'static>(
    world: &dyn World,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, result) = oneshot::channel();
    world.start_blocking(Box::new(move || {
        // The one who asked may have gone; then nobody needs the result.
        let _ = done.send(work());
    }));
    result.await.ok()
}
