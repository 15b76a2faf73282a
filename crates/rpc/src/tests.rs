//! Agents that speak with each other: over real loopback sockets, and over wires in memory where
//! the clock is held still.

mod calls;
mod ends;
mod strangers;
mod streams;
mod time;
mod wires;

use std::future::pending;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use muster_world::{Address, Real, World};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Duration, Instant, timeout};

use crate::*;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

// What the handler of the tests is asked for.
/// Answers with the body.
const ECHO: u16 = 1;
/// Refuses with the body.
const REFUSE: u16 = 2;
/// Answers when `release` has a permit.
const PARK: u16 = 3;
/// Goes without an answer.
const FORGET: u16 = 4;
/// Panics.
const PANIC: u16 = 5;
/// Sends every item back, and ends when the items end.
const MIRROR: u16 = 6;
/// Reads nothing until `release` has a permit, then counts the items and answers the number.
const LATER: u16 = 7;
/// Sends 1,000 items of 64 KiB as fast as they are taken.
const FLOOD: u16 = 8;
/// Answers with as many bytes as the body says in decimal.
const LARGE: u16 = 9;
/// Sends two items and then refuses with the body.
const HALF: u16 = 10;

/// Serves the methods above and tells what happened to them.
struct Site {
    release: Semaphore,
    /// A handler has begun to wait for `release`.
    parked: Notify,
    /// The future of such a handler was dropped.
    dropped: Arc<Notify>,
    admitted: AtomicUsize,
    unwelcome: Option<&'static str>,
    seen: Mutex<Vec<Arc<Peer>>>,
}

impl Site {
    fn new() -> Self {
        Self {
            release: Semaphore::new(0),
            parked: Notify::new(),
            dropped: Arc::new(Notify::new()),
            admitted: AtomicUsize::new(0),
            unwelcome: None,
            seen: Mutex::default(),
        }
    }

    async fn park(&self) {
        let _tell = TellWhenDropped(Arc::clone(&self.dropped));
        self.parked.notify_one();
        self.release.acquire().await.expect("never closed").forget();
    }

    async fn serve_one(&self, mut opened: Opened) -> Result<(), Fault> {
        match opened.method {
            ECHO => {
                let body = opened.body.clone();
                opened.answer(body).await
            }
            REFUSE => {
                let body = opened.body.clone();
                opened.refuse(body).await;
                Ok(())
            }
            PARK => {
                self.park().await;
                opened.answer(Bytes::from_static(b"released")).await
            }
            FORGET => Ok(()),
            PANIC => panic!("as the test asks"),
            MIRROR => {
                let mut exchange = opened.exchange;
                while let Some(item) = exchange.next().await? {
                    exchange.send(item).await?;
                }
                exchange.finish()
            }
            LATER => {
                self.park().await;
                let mut n = 0;
                while opened.exchange.next().await?.is_some() {
                    n += 1;
                }
                opened.answer(n.to_string().into()).await
            }
            FLOOD => {
                let item = Bytes::from(vec![7; 64 << 10]);
                for _ in 0..1_000 {
                    opened.exchange.send(item.clone()).await?;
                }
                opened.exchange.finish()
            }
            LARGE => {
                let text = String::from_utf8(opened.body.to_vec()).expect("a number");
                let bytes = text.parse().expect("a number");
                opened.answer(vec![0; bytes].into()).await
            }
            HALF => {
                opened.exchange.send(Bytes::from_static(b"one")).await?;
                opened.exchange.send(Bytes::from_static(b"two")).await?;
                let body = opened.body.clone();
                opened.refuse(body).await;
                Ok(())
            }
            unknown => panic!("method {unknown} is not part of the tests"),
        }
    }
}

impl Handler for Site {
    fn admit(&self, peer: &Peer) -> Result<(), String> {
        self.admitted.fetch_add(1, Ordering::SeqCst);
        self.seen.lock().expect("whole").push(Arc::new(peer.clone()));
        self.unwelcome.map_or(Ok(()), |why| Err(why.to_owned()))
    }

    fn serve(self: Arc<Self>, _from: Arc<Peer>, opened: Opened) -> Serving {
        // That the opener has gone is what some tests are about.
        Box::pin(async move { drop(self.serve_one(opened).await) })
    }
}

struct TellWhenDropped(Arc<Notify>);

impl Drop for TellWhenDropped {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// A port at work, with its handler.
struct Port {
    running: Running,
    site: Arc<Site>,
    address: SocketAddr,
}

fn hello(node: &str) -> Hello {
    Hello {
        datacenter: "dc1".to_owned(),
        node_id: 7,
        node: node.to_owned(),
        is_server: true,
        extra: Bytes::from_static(b"extra"),
    }
}

fn port_at(world: &dyn World, at: SocketAddr, limits: Limits, site: Site) -> Port {
    let listener = world.listen(&at.into()).expect("a free port");
    let site = Arc::new(site);
    let running = serve(listener, site.clone(), hello("acceptor"), limits, Arc::new(Plain));
    let running = running.expect("a listener with an address");
    let Address::Inet(address) = *running.local_address() else { panic!("not over TCP") };
    Port { running, site, address }
}

/// A port on a real socket of the loopback interface.
fn port_with(limits: Limits) -> Port {
    port_at(&Real::new(), ([127, 0, 0, 1], 0).into(), limits, Site::new())
}

fn port() -> Port {
    port_with(Limits::default())
}

fn pool_with(limits: Limits) -> Arc<Pool> {
    Pool::new(Arc::new(Real::new()), hello("dialer"), limits, Arc::new(Plain))
}

fn pool() -> Arc<Pool> {
    pool_with(Limits::default())
}

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it happens in time")
}

impl Port {
    async fn call(&self, pool: &Pool, method: u16, body: &'static str) -> Result<Bytes, Fault> {
        within(pool.call(self.address, Lane::Call, method, body.into(), soon())).await
    }

    async fn open(&self, pool: &Pool, lane: Lane, method: u16) -> Exchange {
        let opened = within(pool.open(self.address, lane, method, Bytes::new(), soon())).await;
        opened.expect("it opens")
    }
}
