//! Sockets and tasks: the only file here that waits for clients.
//!
//! A datagram is answered on the task of its socket, without a switch, unless something has to be
//! waited for; then a task of its own waits, of which there is a bounded number. Under more load
//! than can be carried the kernel's buffer fills and drops what comes late, so answers stay young.
//! A stream is a task; its questions are answered in the order in which they came.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use muster_listen::{Address, Datagram, Listener, Stream, World};
use muster_registry::local::Identity;
use muster_registry::{Freshness, Refusal, Registry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::compose::{Scratch, Transport};
use crate::forward::Forwarder;
use crate::inquiry::{Given, Need};
use crate::limits::{
    CONNECTIONS_MAX, DATAGRAMS_PER_TURN, REGISTRY_WAIT, TCP_BYTES_MAX, TCP_GATHERED_BYTES,
    TCP_IDLE, WAITING_MAX, WAITS_MAX,
};
use crate::metrics::{Fate, Metrics};
use crate::responder::{Client, Reply, Responder};
use crate::settings::{BadSettings, Settings};

/// How long a socket rests after the system refused it something.
const REST: std::time::Duration = std::time::Duration::from_millis(50);
/// Bytes of a query over UDP that are read; what is longer is cut and found to make no sense.
const QUERY_BYTES_MAX: usize = 4_096;

/// A DNS server.
pub struct Server {
    responder: Responder,
    forwarder: Forwarder,
    world: Arc<dyn World>,
    waiting: Semaphore,
    connections: Semaphore,
    /// Where it is bound, to tell recursors that are itself.
    own_addresses: Vec<SocketAddr>,
}

/// The sockets of a server, bound already.
#[derive(Default)]
pub struct Sockets {
    /// For datagrams; several may share one port, and each has a task of its own.
    pub udp: Vec<Box<dyn Datagram>>,
    /// For streams.
    pub tcp: Vec<Box<dyn Listener>>,
}

// ------------------------------------------------------------------------------------ the whole

impl Server {
    /// A server that answers from `registry` on `sockets`, for the agent that `identity` tells.
    ///
    /// # Errors
    /// [`BadSettings`], for the operator.
    pub fn new(
        registry: Arc<dyn Registry>,
        identity: &Identity,
        settings: Settings,
        world: Arc<dyn World>,
        sockets: &Sockets,
    ) -> Result<Arc<Server>, BadSettings> {
        let own_addresses: Vec<SocketAddr> =
            sockets.udp.iter().filter_map(|socket| socket.local_address().ok()).collect();
        refuse_circle(&settings, &own_addresses)?;
        let clock = world.clone();
        let wall_clock = Arc::new(move || clock.wall_clock());
        Ok(Arc::new(Server {
            responder: Responder::new(registry, identity, settings, wall_clock)?,
            forwarder: Forwarder::new(world.clone()),
            world,
            waiting: Semaphore::new(WAITING_MAX),
            connections: Semaphore::new(CONNECTIONS_MAX),
            own_addresses,
        }))
    }

    /// Takes other settings into use. Questions that are being answered keep theirs.
    ///
    /// # Errors
    /// [`BadSettings`], for the operator; the settings in effect stay.
    pub fn reload(&self, settings: Settings) -> Result<(), BadSettings> {
        refuse_circle(&settings, &self.own_addresses)?;
        self.responder.reload(settings)
    }

    /// What has been done so far.
    pub fn metrics(&self) -> &Metrics {
        self.responder.metrics()
    }

    /// Serves until dropped.
    pub async fn run(self: Arc<Server>, sockets: Sockets) {
        let mut tasks = JoinSet::new();
        for socket in sockets.udp {
            tasks.spawn(self.clone().serve_datagrams(Arc::from(socket)));
        }
        for listener in sockets.tcp {
            tasks.spawn(self.clone().serve_streams(listener));
        }
        while tasks.join_next().await.is_some() {}
    }

    fn scratch(&self) -> Scratch {
        let seed = self.world.seed();
        Scratch::new(u64::from_le_bytes(*seed.first_chunk().expect("a seed has 32 bytes")))
    }
}

/// Refuses recursors that are this server.
fn refuse_circle(settings: &Settings, own: &[SocketAddr]) -> Result<(), BadSettings> {
    let is_own = |recursor: &SocketAddr| {
        own.iter().any(|own| {
            let is_same = own.ip().to_canonical() == recursor.ip().to_canonical();
            let is_any = own.ip().is_unspecified() && recursor.ip().to_canonical().is_loopback();
            own.port() == recursor.port() && (is_same || is_any)
        })
    };
    match settings.recursors.iter().find(|recursor| is_own(recursor)) {
        Some(recursor) => Err(BadSettings::RecursorIsOurselves(*recursor)),
        None => Ok(()),
    }
}

// ------------------------------------------------------------------------------------ datagrams

impl Server {
    async fn serve_datagrams(self: Arc<Server>, socket: Arc<dyn Datagram>) {
        let mut scratch = self.scratch();
        let mut buffer = vec![0; QUERY_BYTES_MAX];
        let mut waiting = JoinSet::new();
        loop {
            match socket.receive(&mut buffer).await {
                Ok((n, from)) => {
                    self.take_datagram(&socket, &buffer[..n], from, &mut scratch, &mut waiting);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot receive DNS queries; trying again");
                    sleep(REST).await;
                }
            }
            for _ in 0..DATAGRAMS_PER_TURN {
                let Ok((n, from)) = socket.try_receive(&mut buffer) else { break };
                self.take_datagram(&socket, &buffer[..n], from, &mut scratch, &mut waiting);
            }
            while waiting.try_join_next().is_some() {}
        }
    }

    fn take_datagram(
        self: &Arc<Server>,
        socket: &Arc<dyn Datagram>,
        message: &[u8],
        from: SocketAddr,
        scratch: &mut Scratch,
        waiting: &mut JoinSet<()>,
    ) {
        scratch.out.clear();
        let client = Client { transport: Transport::Udp, ip: from.ip() };
        match self.responder.answer(message, client, scratch) {
            // What the socket does not take at once is dropped: the client asks again.
            Reply::Ready => drop(socket.try_send(&scratch.out, from)),
            Reply::Dropped => {}
            first => {
                if waiting.len() >= WAITING_MAX {
                    self.responder.fail(message, client, scratch);
                    drop(socket.try_send(&scratch.out, from));
                    return;
                }
                let (server, socket, message) = (self.clone(), socket.clone(), message.to_vec());
                waiting.spawn(async move {
                    if let Some(response) = server.answer_later(&message, client, first).await {
                        drop(socket.send(&response, from).await);
                    }
                });
            }
        }
    }
}

// -------------------------------------------------------------------------------------- streams

impl Server {
    async fn serve_streams(self: Arc<Server>, listener: Box<dyn Listener>) {
        let mut tasks = JoinSet::new();
        loop {
            match listener.accept().await {
                Ok((stream, from)) => {
                    let server = self.clone();
                    tasks.spawn(async move {
                        // Who is one too many is closed; a client that went needs no word.
                        let Ok(_permit) = server.connections.try_acquire() else { return };
                        drop(server.serve_stream(stream, ip_of(&from)).await);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept DNS connections; trying again");
                    sleep(REST).await;
                }
            }
            while tasks.try_join_next().is_some() {}
        }
    }

    async fn serve_stream(&self, mut stream: Stream, ip: IpAddr) -> io::Result<()> {
        let client = Client { transport: Transport::Tcp, ip };
        let mut scratch = self.scratch();
        let mut received = Vec::with_capacity(QUERY_BYTES_MAX);
        loop {
            let n = timeout(TCP_IDLE, stream.read_buf(&mut received)).await??;
            if n == 0 {
                return Ok(());
            }
            let mut taken = 0;
            while let Some(message) = framed(&received[taken..]) {
                taken += 2 + message.len();
                self.answer_framed(message, client, &mut scratch).await;
                if scratch.out.len() >= TCP_GATHERED_BYTES {
                    timeout(TCP_IDLE, stream.write_all(&scratch.out)).await??;
                    scratch.out.clear();
                }
            }
            received.drain(..taken);
            timeout(TCP_IDLE, stream.write_all(&scratch.out)).await??;
            scratch.out.clear();
        }
    }

    /// Appends the response with its length before it.
    async fn answer_framed(&self, message: &[u8], client: Client, scratch: &mut Scratch) {
        let start = scratch.out.len();
        scratch.out.extend_from_slice(&[0, 0]);
        match self.responder.answer(message, client, scratch) {
            Reply::Ready | Reply::Dropped => {}
            first => {
                let response = self.answer_later(message, client, first).await;
                scratch.out.extend_from_slice(&response.unwrap_or_default());
            }
        }
        let n_bytes = scratch.out.len() - start - 2;
        if n_bytes == 0 || n_bytes > TCP_BYTES_MAX {
            scratch.out.truncate(start);
        } else {
            scratch.out[start..start + 2].copy_from_slice(&(n_bytes as u16).to_be_bytes());
        }
    }
}

/// The first whole message of a stream's bytes.
fn framed(bytes: &[u8]) -> Option<&[u8]> {
    let (head, rest) = bytes.split_first_chunk()?;
    rest.get(..usize::from(u16::from_be_bytes(*head)))
}

fn ip_of(from: &Address) -> IpAddr {
    match from {
        Address::Inet(from) => from.ip(),
        Address::Unix(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

// -------------------------------------------------------------------------------------- waiting

impl Server {
    /// Answers a question for which something has to be waited for. Nothing where no word is due.
    async fn answer_later(&self, message: &[u8], client: Client, first: Reply) -> Option<Vec<u8>> {
        let mut scratch = self.scratch();
        let Ok(_permit) = self.waiting.try_acquire() else {
            self.responder.fail(message, client, &mut scratch);
            return Some(scratch.out);
        };
        let mut given = Given::default();
        let mut reply = first;
        for _ in 0..WAITS_MAX {
            match reply {
                Reply::Ready => return Some(scratch.out),
                Reply::Dropped => return None,
                Reply::Forward => return self.forward(message, client, scratch).await,
                Reply::Wait(need) => self.fetch(need, &mut given).await,
            }
            reply = self.responder.answer_given(message, client, &given, &mut scratch);
        }
        self.responder.fail(message, client, &mut scratch);
        Some(scratch.out)
    }

    async fn forward(
        &self,
        message: &[u8],
        client: Client,
        mut scratch: Scratch,
    ) -> Option<Vec<u8>> {
        let setup = self.responder.setup();
        match self.forwarder.forward(&setup.settings, message, client.transport).await {
            Some(reply) => {
                self.responder.count(Fate::Forwarded, client);
                Some(reply)
            }
            None => {
                self.responder.fail(message, client, &mut scratch);
                Some(scratch.out)
            }
        }
    }

    /// Waits for what is missing.
    async fn fetch(&self, need: Need, given: &mut Given) {
        let setup = self.responder.setup();
        match &need {
            Need::Addresses { name, kind } => {
                let found = self.forwarder.addresses(&setup.settings, name, *kind).await;
                given.addresses.push((need, found));
            }
            Need::Registry { datacenter, query } => {
                let mut call = setup.call_to(datacenter.as_deref());
                call.deadline = Some(Instant::now() + REGISTRY_WAIT);
                let registry = self.responder.registry();
                // What is at hand was too old, else there would be no need.
                let is_at_hand = registry.peek(&call, query).is_some();
                let may_be_stale = setup.settings.allow_stale && !is_at_hand;
                let freshness = if may_be_stale { Freshness::Stale } else { Freshness::Default };
                let asking = registry.ask(&call, query, freshness);
                let result = timeout(REGISTRY_WAIT, asking).await.unwrap_or(Err(Refusal::Late));
                given.put(need, result);
            }
        }
    }
}
