//! One connection: HTTP/1.1 with keep-alive, or cleartext HTTP/2 when it begins with that
//! protocol's preface.
//!
//! The engine is hyper's. Beside it runs one clock: while the head of a request is on its way
//! the head timeout, else, while no handler is at work or the client takes no bytes, the idle
//! timeout. The clock is wound only
//! when it rings or when a head did not come in one piece, so that a request costs no timer.
//!
//! hyper reads on while a handler is at work: when the client goes away, the handler's future is
//! dropped at once (a client that shuts down only its sending half counts as gone, as in Consul).
//! A request that is parked waits without an engine; `parking` tells how.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use muster_world::{Address, Stream};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, Sleep, sleep_until, timeout, timeout_at};

use crate::body::Body;
use crate::census::Census;
use crate::parking::{Answering, Desk};
use crate::serve::Stage;
use crate::wire::{Activity, Sniffed, Wire};

/// How long a last answer may take to be sent before the connection is closed.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// What a client asks.
pub type Request = hyper::Request<Incoming>;
/// What it is told.
pub type Response = hyper::Response<Body>;

/// Answers requests. Shared by all connections of a listener.
pub trait Handler: Send + Sync + 'static {
    /// An answer under way.
    type Answering: Answering;

    /// Answers one request.
    fn handle(&self, request: Request, peer: Peer) -> Self::Answering;
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// At an IP address and a port.
    Inet(SocketAddr),
    /// On this machine, over a Unix socket.
    Unix,
}

impl Peer {
    /// The IP address, with an IPv4 address in IPv6 clothes undressed.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Inet(address) => Some(address.ip().to_canonical()),
            Self::Unix => None,
        }
    }
}

impl From<&Address> for Peer {
    fn from(address: &Address) -> Self {
        match address {
            Address::Inet(address) => Self::Inet(*address),
            Address::Unix(_) => Self::Unix,
        }
    }
}

/// Serves a connection until it ends, by itself or because the listener stops.
pub(crate) async fn converse<H: Handler>(
    stream: Stream,
    peer: Peer,
    handler: Arc<H>,
    census: Arc<Census>,
    stage: watch::Receiver<Stage>,
) {
    let mut wire = Wire::new(stream);
    let activity = Arc::clone(&wire.activity);
    let mut clock = Clock { activity: Arc::clone(&activity), census: Arc::clone(&census), stage };
    let sniffed = match clock.sniff(&mut wire).await {
        Ok(sniffed) => sniffed,
        Err(Ending::SlowHead) => return Box::pin(farewell(wire, REQUEST_TIMEOUT)).await,
        Err(Ending::Over | Ending::Spare) => return,
    };
    let desk = Desk::new(handler, peer, census, activity);
    // Engines are boxed, and gone while a request is parked: a connection's task is as large as its
    // largest case.
    if sniffed == Sniffed::Http2 {
        return Box::pin(converse_in_frames(wire, &desk, &clock)).await;
    }
    loop {
        let ending;
        (wire, ending) = Box::pin(converse_in_text(wire, &desk, &clock)).await;
        match ending {
            Ending::Over => return,
            Ending::SlowHead => return Box::pin(farewell(wire, REQUEST_TIMEOUT)).await,
            Ending::Spare => {}
        }
        match desk.take_parked() {
            Some(mut work) => {
                let response = clock.wait(&mut wire, &mut work.answering).await;
                let Some(response) = response else { return };
                let is_last = *clock.stage.borrow() != Stage::Serving;
                wire.give_back(&desk.keep_answer(response, *work, is_last));
            }
            None if clock.has_bytes(&mut wire).await => {}
            None => return,
        }
    }
}

/// Serves a connection that speaks HTTP/1 until it ends or needs no engine for now.
async fn converse_in_text<H: Handler>(
    wire: Wire,
    desk: &Arc<Desk<H>>,
    clock: &Clock,
) -> (Wire, Ending) {
    let desk = Arc::clone(desk);
    let mut engine = http1::Builder::new()
        .max_buf_size(clock.census.limits.head_bytes_max)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(wire), service_fn(move |request| desk.take(request)));
    let ending = clock.run(Pin::new(&mut engine)).await;
    let parts = engine.into_parts();
    let mut wire = parts.io.into_inner();
    wire.give_back(&parts.read_buf);
    (wire, ending)
}

/// Serves a connection that speaks HTTP/2.
async fn converse_in_frames<H: Handler>(wire: Wire, desk: &Arc<Desk<H>>, clock: &Clock) {
    clock.activity.has_frames();
    let limits = &clock.census.limits;
    let desk = Arc::clone(desk);
    let service = service_fn(move |request| desk.take(request));
    let engine = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .serve_connection(TokioIo::new(wire), service);
    clock.run(pin!(engine)).await;
}

// ------------------------------------------------------------------------------------------------
// The clock
// ------------------------------------------------------------------------------------------------

/// What the clock needs of hyper's two kinds of connection.
trait Engine: Future<Output = hyper::Result<()>> {
    /// Takes no more requests and ends when those at hand are answered.
    fn finish(self: Pin<&mut Self>);
}

impl<S> Engine for http1::Connection<TokioIo<Wire>, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> Engine for http2::Connection<TokioIo<Wire>, S, TokioExecutor>
where
    S: hyper::service::HttpService<Incoming, ResBody = Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send + 'static,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Ending {
    /// The connection is over.
    Over,
    /// A head came too slowly; the client is to be told.
    SlowHead,
    /// The request at hand is parked, or was and is answered: there is nothing to do for an engine.
    Spare,
}

struct Clock {
    activity: Arc<Activity>,
    census: Arc<Census>,
    stage: watch::Receiver<Stage>,
}

impl Clock {
    /// Tells the protocol by its first bytes.
    async fn sniff(&mut self, wire: &mut Wire) -> Result<Sniffed, Ending> {
        let mut stage = self.stage.clone();
        loop {
            let sniffed = tokio::select! {
                sniffed = timeout_at(self.deadline(), wire.sniff()) => sniffed,
                _ = stage.wait_for(|stage| *stage != Stage::Serving) => return Err(Ending::Over),
            };
            match sniffed {
                Ok(Ok(Sniffed::Unclear)) => {}
                Ok(Ok(Sniffed::Nobody) | Err(_)) => return Err(Ending::Over),
                Ok(Ok(sniffed)) => return Ok(sniffed),
                Err(_) => return Err(self.expired()),
            }
        }
    }

    /// Drives the connection until it ends, the clock runs out, or the listener wants it to end.
    async fn run<E: Engine>(&self, mut engine: Pin<&mut E>) -> Ending {
        let mut alarm = pin!(sleep_until(Instant::now() + self.census.limits.idle_timeout));
        let mut stage = self.stage.clone();
        let mut is_finishing = false;
        let mut rings_for = None;
        loop {
            let change = stage.changed();
            let mut change = pin!(change);
            let step = std::future::poll_fn(|context| {
                self.step(context, engine.as_mut(), alarm.as_mut(), change.as_mut(), &mut rings_for)
            });
            match step.await {
                Step::End(ending) => return ending,
                Step::Stage => {}
            }
            let stage = *self.stage.borrow();
            if stage == Stage::Closed {
                return Ending::Over;
            }
            if stage == Stage::Draining && !is_finishing {
                is_finishing = true;
                engine.as_mut().finish();
            }
        }
    }

    fn step<E: Engine, C: Future>(
        &self,
        context: &mut Context<'_>,
        engine: Pin<&mut E>,
        mut alarm: Pin<&mut Sleep>,
        change: Pin<&mut C>,
        rings_for: &mut Option<Instant>,
    ) -> Poll<Step> {
        if let Poll::Ready(result) = engine.poll(context) {
            if let Err(error) = result {
                tracing::debug!(%error, "connection ended");
            }
            return Poll::Ready(Step::End(Ending::Over));
        }
        if self.activity.is_engine_spare() {
            return Poll::Ready(Step::End(Ending::Spare));
        }
        if change.poll(context).is_ready() {
            return Poll::Ready(Step::Stage);
        }
        let head_began = self.activity.head_began();
        if head_began.is_some() && *rings_for != head_began {
            *rings_for = head_began;
            alarm.as_mut().reset(self.deadline());
        }
        while alarm.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            let deadline = self.deadline();
            if deadline <= now {
                return Poll::Ready(Step::End(self.expired()));
            }
            alarm.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    /// Waits for the answer to a parked request; in vain if the client goes away or the listener
    /// closes.
    async fn wait<A: Answering>(&self, wire: &mut Wire, answering: &mut A) -> Option<Response> {
        let mut stage = self.stage.clone();
        tokio::select! {
            biased;
            response = answering => Some(response),
            () = wire.hung_up() => None,
            _ = stage.wait_for(|stage| *stage == Stage::Closed) => None,
        }
    }

    /// Waits for the next request to begin; in vain if the client goes away or takes too long, or the
    /// listener stops.
    async fn has_bytes(&self, wire: &mut Wire) -> bool {
        let mut stage = self.stage.clone();
        tokio::select! {
            biased;
            has_bytes = wire.has_bytes() => has_bytes,
            () = sleep_until(self.deadline()) => false,
            _ = stage.wait_for(|stage| *stage != Stage::Serving) => false,
        }
    }

    /// When this connection is to be closed if nothing more happens on it.
    fn deadline(&self) -> Instant {
        let limits = &self.census.limits;
        if let Some(since) = self.activity.blocked_since() {
            return since + limits.idle_timeout;
        }
        match self.activity.head_began() {
            _ if self.activity.is_busy() => Instant::now() + limits.idle_timeout,
            Some(began) => began + limits.head_timeout,
            None => self.activity.idle_since() + limits.idle_timeout,
        }
    }

    fn expired(&self) -> Ending {
        if self.activity.head_began().is_none() || self.activity.blocked_since().is_some() {
            return Ending::Over;
        }
        self.census.counts().slow_heads.fetch_add(1, Ordering::Relaxed);
        Ending::SlowHead
    }
}

enum Step {
    End(Ending),
    Stage,
}

// ------------------------------------------------------------------------------------------------
// Last words
// ------------------------------------------------------------------------------------------------

const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Length: 37\r\nConnection: close\r\n\r\n\
    The request's headers came too slowly";

/// What a client is told that has too many connections, in Consul's words.
pub(crate) const TOO_MANY_OF_CLIENT: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\n\
    Content-Type: text/plain\r\nContent-Length: 80\r\nConnection: close\r\n\r\n\
    Your IP is issuing too many concurrent connections, please rate limit your calls";

/// What a client is told when there are too many connections of all clients.
pub(crate) const TOO_MANY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\n\
    Content-Type: text/plain\r\nContent-Length: 72\r\nConnection: close\r\n\r\n\
    This agent has as many connections as it serves, please try again later\n";

/// Sends a last answer and closes. What the client still sends is read and dropped for a moment:
/// closing on unread bytes would take the answer back.
pub(crate) async fn farewell(mut stream: impl Farewell, words: &'static [u8]) {
    let say = async {
        stream.write_all(words).await?;
        stream.shutdown().await?;
        let mut sink = [0; 1024];
        while tokio::io::AsyncReadExt::read(&mut stream, &mut sink).await? > 0 {}
        std::io::Result::Ok(())
    };
    // A client that does not listen has lost only its explanation.
    let _ = timeout(FAREWELL_TIMEOUT, say).await;
}

/// A stream that can be told good-bye.
pub(crate) trait Farewell: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Farewell for T {}
