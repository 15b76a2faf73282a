//! The port: it accepts connections, greets who comes, and stops cleanly.
//!
//! To stop is to accept no more, to tell every dialer to open no more, to let what is open end
//! until a deadline, and to close what is left.

use std::io;
use std::sync::Arc;

use muster_world::{Address, Listener, Stream};
use tokio::io::split;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, sleep, timeout, timeout_at};

use crate::census::Census;
use crate::counters::{Counters, Tally};
use crate::drive::{Stage, beyond};
use crate::ending::{Reason, Words};
use crate::handler::Handler;
use crate::handshake::{farewell, receive};
use crate::hello::{Greeting, Hello, Lane, Peer};
use crate::inbox::Inbox;
use crate::limits::{ACCEPT_PAUSE, FAREWELL_TIMEOUT, FAREWELLS_MAX, Limits};
use crate::link::{Link, Role};
use crate::security::Security;

/// A port at work. Dropping it closes everything at once; [`Running::stop`] is the clean way.
#[derive(Debug)]
pub struct Running {
    address: Address,
    tally: Arc<Tally>,
    stage: watch::Sender<Stage>,
    accepting: JoinHandle<()>,
    /// Ends when the last connection has gone: each holds a sender and sends nothing.
    all_gone: mpsc::Receiver<()>,
}

/// How a stop went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every exchange that was open has ended.
    Whole,
    /// The deadline came first; what was left was closed.
    Cut,
}

/// Puts a handler behind a listener. Must be called inside the runtime. Fails if the listener
/// cannot tell its address, or if the hello has a field over its limit.
pub fn serve(
    listener: Box<dyn Listener>,
    handler: Arc<dyn Handler>,
    hello: Hello,
    limits: Limits,
    security: Arc<dyn Security>,
) -> io::Result<Running> {
    let address = listener.local_address()?;
    let greeting = Greeting { hello, lane: Lane::Call, terms: limits.terms() };
    greeting.encode().map_err(|fault| io::Error::new(io::ErrorKind::InvalidInput, fault))?;
    let (stage, watching) = watch::channel(Stage::Serving);
    let (present, all_gone) = mpsc::channel(1);
    let tally = Arc::new(Tally::default());
    let reception = Reception {
        handler,
        greeting,
        census: Census::new(&limits),
        limits: Arc::new(limits),
        security,
        tally: Arc::clone(&tally),
        stage: watching,
        farewells: Arc::new(Semaphore::new(FAREWELLS_MAX)),
    };
    let accepting = tokio::spawn(Arc::new(reception).run(listener, present));
    Ok(Running { address, tally, stage, accepting, all_gone })
}

impl Running {
    /// Where it listens, with the port that was taken for port 0.
    pub fn local_address(&self) -> &Address {
        &self.address
    }

    /// What has happened so far.
    pub fn counters(&self) -> Counters {
        self.tally.read()
    }

    /// Stops: at once for new connections and exchanges, at the latest after `drain` for those
    /// that are open.
    pub async fn stop(mut self, drain: Duration) -> Drained {
        self.stage.send_replace(Stage::Draining);
        match timeout(drain, self.all_gone.recv()).await {
            Ok(_) => Drained::Whole,
            Err(_) => {
                self.stage.send_replace(Stage::Closed);
                // Each connection says good-bye, for a bounded time, and goes.
                self.all_gone.recv().await;
                Drained::Cut
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stage.send_replace(Stage::Closed);
        self.accepting.abort();
    }
}

struct Reception {
    handler: Arc<dyn Handler>,
    /// What dialers are told; the lane is theirs.
    greeting: Greeting,
    limits: Arc<Limits>,
    security: Arc<dyn Security>,
    tally: Arc<Tally>,
    census: Arc<Census>,
    stage: watch::Receiver<Stage>,
    farewells: Arc<Semaphore>,
}

impl Reception {
    async fn run(self: Arc<Self>, listener: Box<dyn Listener>, present: mpsc::Sender<()>) {
        let mut stage = self.stage.clone();
        loop {
            let accepted = tokio::select! {
                biased;
                _ = beyond(&mut stage, Stage::Serving) => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => self.receive(stream, from, present.clone()),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection; trying again");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn receive(self: &Arc<Self>, stream: Stream, from: Address, present: mpsc::Sender<()>) {
        let guest = match self.census.admit(&from) {
            Ok(guest) => guest,
            Err(crowded) => return self.turn_away(stream, &from, crowded),
        };
        let reception = Arc::clone(self);
        tokio::spawn(async move {
            reception.host(stream, from).await;
            drop((guest, present));
        });
    }

    fn turn_away(&self, stream: Stream, from: &Address, crowded: String) {
        let words = Words::new(Reason::Crowded, crowded);
        self.complain(from, &words);
        let Ok(permit) = Arc::clone(&self.farewells).try_acquire_owned() else { return };
        let securing = self.security.accept(stream);
        tokio::spawn(async move {
            if let Ok(Ok((stream, _))) = timeout(FAREWELL_TIMEOUT, securing).await {
                let (read, mut write) = split(stream);
                farewell(&mut Inbox::new(read), &mut write, &words).await;
            }
            drop(permit);
        });
    }

    /// Greets who has come, and serves until the connection ends.
    async fn host(&self, stream: Stream, from: Address) {
        let deadline = Instant::now() + self.limits.hello_timeout;
        let (stream, identity) = match timeout_at(deadline, self.security.accept(stream)).await {
            Ok(Ok(secured)) => secured,
            Ok(Err(error)) => {
                let what = format!("cannot secure a connection from {from}: {error}");
                return self.tally.complain(&from, &what);
            }
            // Before there is security there is no language to say it in.
            Err(_) => return self.complain(&from, &self.slow_hello()),
        };
        let (read, mut write) = split(stream);
        let mut inbox = Inbox::new(read);
        let greet = receive(&mut inbox, &mut write, (&from, identity), |peer| self.answer(peer));
        let mut stage = self.stage.clone();
        let greeted = tokio::select! {
            biased;
            _ = beyond(&mut stage, Stage::Serving) => {
                Err(Words::new(Reason::Stopped, "the agent stops"))
            }
            greeted = timeout_at(deadline, greet) => {
                greeted.unwrap_or_else(|_| Err(self.slow_hello()))
            }
        };
        match greeted {
            Ok(Some(met)) => {
                let role = Role::Acceptor(Arc::clone(&self.handler));
                let (limits, tally) = (Arc::clone(&self.limits), Arc::clone(&self.tally));
                let link = Link::new(met.peer, met.theirs, role, limits, tally);
                link.drive(inbox, write, stage).await;
            }
            Ok(None) => tracing::debug!(address = %from, "gone before its hello"),
            Err(words) => {
                self.complain(&from, &words);
                farewell(&mut inbox, &mut write, &words).await;
            }
        }
    }

    fn answer(&self, peer: &Peer) -> Result<Greeting, Words> {
        self.handler.admit(peer).map_err(|why| Words::new(Reason::Unwelcome, why))?;
        Ok(Greeting { lane: peer.lane, ..self.greeting.clone() })
    }

    fn slow_hello(&self) -> Words {
        let within = self.limits.hello_timeout;
        Words::new(Reason::SlowHello, format!("no hello came within {within:?}"))
    }

    fn complain(&self, of: &Address, words: &Words) {
        self.tally.count_words(words.reason);
        if words.reason != Reason::Stopped {
            self.tally.complain(of, &format!("closed a connection from {of}: {}", words.text));
        }
    }
}
