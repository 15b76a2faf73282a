//! Names outside our domains: the client's message given to a recursor, its reply given back.
//!
//! The message goes on as it came, with another id, from a socket of its own (so a forger has to
//! guess both id and port); the reply comes back as it is, with the client's id. The first recursor
//! that says "here it is" or "there is no such name" is believed, any other answer and any silence
//! leads to the next.
//!
//! Questions that are the same are asked once, whoever waits for them. That is also what ends a
//! circle of servers that forward to each other: the question that comes back finds itself waiting
//! and goes nowhere.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{io, mem};

use muster_listen::{Address, World};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngCore, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::compose::{Followed, Transport};
use crate::settings::{RecursorStrategy, Settings};
use crate::wire::query::parse;
use crate::wire::reply;

/// Datagrams that are looked at while waiting for one reply: a forger's guesses are not endless.
const DATAGRAMS_LOOKED_AT: usize = 32;
/// Bytes of a reply over UDP that are taken at least.
const REPLY_BYTES_MIN: usize = 4_096;

/// Asks recursors.
pub(crate) struct Forwarder {
    world: Arc<dyn World>,
    asked: Mutex<HashMap<Asked, watch::Receiver<Option<Reply>>>>,
    chance: Mutex<StdRng>,
}

/// A question without its id, and the transport it is asked by.
type Asked = (Transport, Vec<u8>);

/// A reply, shared by everyone who asked the same.
type Reply = Arc<[u8]>;

impl Forwarder {
    pub(crate) fn new(world: Arc<dyn World>) -> Forwarder {
        let chance = Mutex::new(StdRng::from_seed(world.seed()));
        Forwarder { world, asked: Mutex::default(), chance }
    }

    /// What the recursors say to a client's message; nothing where none of them settles it.
    pub(crate) async fn forward(
        &self,
        settings: &Settings,
        message: &[u8],
        transport: Transport,
    ) -> Option<Vec<u8>> {
        let (id, rest) = message.split_at_checked(2)?;
        let asked = (transport, rest.to_vec());
        let reply = match self.take_turn(&asked) {
            Turn::Wait(mut receiver) => {
                let settled = receiver.wait_for(Option::is_some).await.ok()?;
                settled.clone()?
            }
            Turn::Ask(sender) => {
                let _leaving = Leaving { forwarder: self, asked };
                let reply: Reply = self.ask_all(settings, message, transport).await?.into();
                sender.send_replace(Some(reply.clone()));
                reply
            }
        };
        let mut reply = reply.to_vec();
        reply[..2].copy_from_slice(id);
        Some(reply)
    }

    /// The addresses of a name, with the aliases on the way. Empty where there are none.
    pub(crate) async fn addresses(
        &self,
        settings: &Settings,
        name: &[u8],
        kind: u16,
    ) -> Vec<Followed> {
        let question = reply::question(name, kind);
        let mut found = self.forward(settings, &question, Transport::Udp).await;
        if found.as_deref().is_some_and(reply::is_truncated) {
            found = self.forward(settings, &question, Transport::Tcp).await;
        }
        found.map_or(Vec::new(), |found| reply::addresses(&found, kind))
    }

    fn take_turn(&self, asked: &Asked) -> Turn {
        let mut all = lock(&self.asked);
        if let Some(receiver) = all.get(asked) {
            return Turn::Wait(receiver.clone());
        }
        let (sender, receiver) = watch::channel(None);
        all.insert(asked.clone(), receiver);
        Turn::Ask(sender)
    }

    async fn ask_all(
        &self,
        settings: &Settings,
        message: &[u8],
        transport: Transport,
    ) -> Option<Vec<u8>> {
        let mut recursors = settings.recursors.clone();
        if settings.recursor_strategy == RecursorStrategy::Random {
            recursors.shuffle(&mut *lock(&self.chance));
        }
        for recursor in recursors {
            let mut message = message.to_vec();
            let id = (lock(&self.chance).next_u32() as u16).to_be_bytes();
            message[..2].copy_from_slice(&id);
            let asking = async {
                match transport {
                    Transport::Udp => self.ask_by_udp(&message, recursor).await,
                    Transport::Tcp => self.ask_by_tcp(&message, recursor).await,
                }
            };
            match timeout(settings.recursor_timeout, asking).await {
                Ok(Ok(reply)) if reply::is_settled(&reply) => return Some(reply),
                Ok(Ok(_)) => tracing::debug!(%recursor, "recursor could not say; asking the next"),
                Ok(Err(error)) => tracing::debug!(%recursor, %error, "recursor is out of reach"),
                Err(_) => tracing::debug!(%recursor, "recursor is silent"),
            }
        }
        None
    }

    async fn ask_by_udp(&self, message: &[u8], to: SocketAddr) -> io::Result<Vec<u8>> {
        let from: SocketAddr = match to {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = self.world.bind(from, false)?;
        socket.send(message, to).await?;
        let edns = parse(message).ok().and_then(|query| query.edns);
        let n_bytes = edns.map_or(0, |edns| edns.response_bytes()).max(REPLY_BYTES_MIN);
        let mut buffer = vec![0; n_bytes];
        for _ in 0..DATAGRAMS_LOOKED_AT {
            let (n, sender) = socket.receive(&mut buffer).await?;
            if sender == to && reply::belongs_to(&buffer[..n], message) {
                buffer.truncate(n);
                return Ok(buffer);
            }
        }
        Err(io::Error::other("too many datagrams that are no reply"))
    }

    async fn ask_by_tcp(&self, message: &[u8], to: SocketAddr) -> io::Result<Vec<u8>> {
        let mut stream = self.world.connect(&Address::Inet(to)).await?;
        let n_bytes = u16::try_from(message.len()).map_err(io::Error::other)?;
        let mut framed = n_bytes.to_be_bytes().to_vec();
        framed.extend_from_slice(message);
        stream.write_all(&framed).await?;
        let mut reply = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut reply).await?;
        if reply::belongs_to(&reply, message) {
            Ok(reply)
        } else {
            Err(io::Error::other("the reply does not belong to the question"))
        }
    }
}

/// Whether a question is to be asked, or to be waited for.
enum Turn {
    Ask(watch::Sender<Option<Reply>>),
    Wait(watch::Receiver<Option<Reply>>),
}

/// Takes a question off the list when its asker ends, in whichever way.
struct Leaving<'a> {
    forwarder: &'a Forwarder,
    asked: Asked,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let asked = mem::replace(&mut self.asked, (Transport::Udp, Vec::new()));
        lock(&self.forwarder.asked).remove(&asked);
    }
}

/// No panic happens while one of these is held; a poisoned one is as good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
