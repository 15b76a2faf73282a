//! One request on its way to a server, and to another one if that is of no use.
//!
//! What can be asked twice goes to the next server as soon as one is unreachable, slow or without a
//! leader. What must not be done twice ([`Again::IfUnserved`]) goes on only where it is sure that
//! nothing was begun; else whoever sent it is told that its fate is not known. Once all servers were
//! tried there is a pause that grows and that chance shortens: a fleet that lost its servers does
//! not come back as one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use muster_registry::{Call, Refusal};
use muster_rpc::{Exchange, Fault, Lane, Pool, Receiver};
use tokio::time::{Instant, timeout_at};

use super::ClientSettings;
use super::servers::Servers;

/// Whether a request may be sent a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It changes nothing, or the same if it is done twice.
    Always,
    /// Only if no server can have begun with it.
    IfUnserved,
}

/// What came of trying one server.
pub(crate) enum Verdict<T> {
    /// That is it.
    Done(T),
    /// Good enough if no other server does better.
    Fallback(T),
    /// Another server may do better; if none does, this is the end of it.
    Elsewhere(Refusal),
}

/// The way to the servers.
pub struct Forward {
    pool: Arc<Pool>,
    servers: Arc<Servers>,
    settings: ClientSettings,
}

impl Forward {
    pub(crate) fn new(
        pool: Arc<Pool>,
        servers: Arc<Servers>,
        settings: ClientSettings,
    ) -> Arc<Forward> {
        Arc::new(Forward { pool, servers, settings })
    }

    /// The servers.
    pub fn servers(&self) -> &Arc<Servers> {
        &self.servers
    }

    /// The connections.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Asks a server for something that this agent does not understand, and gives its answer.
    ///
    /// # Errors
    /// [`Refusal::NoLeader`] where no server was reached in time, [`Refusal::Late`] where one did
    /// not answer in time or the fate of the request is not known, and what is wrong with the
    /// request where a server said so.
    pub async fn call(
        &self,
        method: u16,
        body: Bytes,
        again: Again,
        deadline: Instant,
    ) -> Result<Bytes, Refusal> {
        self.carry(again, deadline, |server, until| {
            let body = body.clone();
            async move {
                self.pool.call(server, Lane::Call, method, body, until).await.map(Verdict::Done)
            }
        })
        .await
    }

    /// Opens an exchange with a server for something long, like a snapshot. The deadline is for the
    /// opening; what was sent and broke off is for the caller to begin anew.
    ///
    /// # Errors
    /// Those of [`Forward::call`].
    pub async fn open(
        &self,
        method: u16,
        body: Bytes,
        again: Again,
        deadline: Instant,
    ) -> Result<Exchange, Refusal> {
        self.carry(again, deadline, |server, until| {
            let body = body.clone();
            async move {
                self.pool.open(server, Lane::Bulk, method, body, until).await.map(Verdict::Done)
            }
        })
        .await
    }

    /// Tries server after server until one gives a verdict that counts.
    pub(crate) async fn carry<T, F>(
        &self,
        again: Again,
        deadline: Instant,
        mut send: impl FnMut(SocketAddr, Instant) -> F,
    ) -> Result<T, Refusal>
    where
        F: Future<Output = Result<Verdict<T>, Fault>>,
    {
        let mut trip = Trip { tried: Vec::new(), fallback: None, refusal: Refusal::NoLeader };
        let mut pause = self.settings.retry_min;
        loop {
            let Some(server) = self.servers.choose(&trip.tried) else {
                if let Some(fallback) = trip.fallback {
                    return Ok(fallback);
                }
                let until = Instant::now() + self.servers.draw_duration(pause / 2..pause);
                if until >= deadline {
                    return Err(trip.refusal);
                }
                self.servers.wait_for_others(until).await;
                pause = (pause * 2).min(self.settings.retry_max);
                trip.tried.clear();
                continue;
            };
            let until = match again {
                Again::Always => deadline.min(Instant::now() + self.settings.try_timeout),
                Again::IfUnserved => deadline,
            };
            let began_at = Instant::now();
            let tried = timeout_at(until, send(server, until)).await.unwrap_or(Err(Fault::Late));
            let is_first = trip.tried.is_empty();
            trip.tried.push(server);
            match tried {
                Ok(Verdict::Done(done)) => {
                    if !is_first {
                        self.servers.prefer(server);
                    }
                    return Ok(done);
                }
                Ok(Verdict::Fallback(fallback)) => trip.fallback = Some(fallback),
                Ok(Verdict::Elsewhere(refusal)) => trip.refusal = refusal,
                Err(fault) => {
                    if is_servers_fault(&fault, began_at, &self.settings) {
                        tracing::debug!(%server, %fault, "a server is of no use");
                        self.servers.note_failed(server);
                    }
                    trip.weigh(&fault, again)?;
                }
            }
            if Instant::now() >= deadline {
                return trip.fallback.ok_or(trip.refusal);
            }
        }
    }
}

/// What is known so far of one request.
struct Trip<T> {
    /// Since the last pause.
    tried: Vec<SocketAddr>,
    fallback: Option<T>,
    /// Why it was of no use where it was tried last.
    refusal: Refusal,
}

impl<T> Trip<T> {
    /// What a fault means for the request, which ends here or goes on.
    fn weigh(&mut self, fault: &Fault, again: Again) -> Result<(), Refusal> {
        match fault {
            Fault::Refused(words) => {
                return Err(Refusal::Unsupported(String::from_utf8_lossy(words).into_owned()));
            }
            Fault::TooLarge { bytes, bytes_max } => {
                let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
                let (n_bytes, n_bytes_max) = (number(*bytes), number(*bytes_max));
                return Err(Refusal::TooLarge { what: "the request", n_bytes, n_bytes_max });
            }
            Fault::Busy => self.refusal = Refusal::TooMany("requests are waiting"),
            _ => {}
        }
        if !fault.may_have_been_served() {
            return Ok(());
        }
        self.refusal = Refusal::Late;
        if again == Again::IfUnserved { Err(Refusal::Late) } else { Ok(()) }
    }
}

/// Whether a server is to be left for a fault. One that had little time is not slow, and one that is
/// busy is there.
fn is_servers_fault(fault: &Fault, began_at: Instant, settings: &ClientSettings) -> bool {
    match fault {
        Fault::Refused(_) | Fault::TooLarge { .. } | Fault::Busy => false,
        Fault::Late => began_at.elapsed() >= settings.try_timeout,
        Fault::Unreachable(_) | Fault::Lost(_) | Fault::Protocol(_) | Fault::Stopped => true,
    }
}

/// Whether another server may be of more use.
pub(crate) fn may_be_better_elsewhere(refusal: &Refusal, again: Again) -> bool {
    match refusal {
        Refusal::NoLeader => true,
        Refusal::Stopping => again == Again::Always,
        _ => false,
    }
}

/// The deadline of a call.
pub(crate) fn deadline_of(call: &Call, patience: Duration) -> Instant {
    call.deadline.unwrap_or_else(|| Instant::now() + patience)
}

/// Puts the pieces of an answer together, as long as they are not too many.
pub(crate) async fn gather(mut pieces: Receiver, bytes_max: usize) -> Result<Bytes, Fault> {
    let mut whole = BytesMut::new();
    while let Some(piece) = pieces.next().await? {
        if whole.len() + piece.len() > bytes_max {
            let bytes = (whole.len() + piece.len()) as u64;
            return Err(Fault::TooLarge { bytes, bytes_max: bytes_max as u64 });
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}
