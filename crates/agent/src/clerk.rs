//! The clerk: does for other agents what they ask of this server over the internal protocol.
//!
//! It stands before any body of [`Registry`] and knows nothing of what is behind it. A verb is one
//! call with the deadline of whoever made it. Whoever follows changes has one exchange and one
//! position in the log (`following`): a reader that is slow is never queued for, but told that it
//! has lost what it did not take in time.
//!
//! A clerk does not keep its registry alive, and one that is closed begins with nothing: whoever asks
//! is told that nobody leads here, and goes to another server.

mod following;

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use muster_registry::{Answered, Call, Freshness, Refusal, Registry};
use muster_rpc::{Opened, Sender};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use crate::wire::{
    ASK, ASK_IN_PIECES, Ask, CHANGES, Follow, PIECE_BYTES, RENEW, Renew, SUBMIT, Submit,
    pack_answer, pack_committed, pack_done,
};

/// Verbs in hand, of all agents together; one more is refused.
const IN_HAND_MAX: usize = 16_384;
/// Readers that follow changes.
const FOLLOWERS_MAX: usize = 32_768;
/// The longest a verb may take, whatever deadline it came with.
const PATIENCE_MAX: Duration = Duration::from_secs(60);
/// How long a server that is behind what the asker has seen may take to catch up.
const BEHIND_PATIENCE: Duration = Duration::from_secs(1);

/// Serves other agents from a registry.
pub struct Clerk {
    registry: Weak<dyn Registry>,
    /// The last term of Raft of which a leader is known here.
    term: watch::Receiver<u64>,
    is_closed: watch::Sender<bool>,
    in_hand: Semaphore,
    followers: Semaphore,
}

impl Clerk {
    /// A clerk before `registry`. `term` is the last term of Raft of which a leader is known here:
    /// those who follow changes are told of another at once.
    pub fn new(registry: Weak<dyn Registry>, term: watch::Receiver<u64>) -> Arc<Clerk> {
        let (in_hand, followers) = (Semaphore::new(IN_HAND_MAX), Semaphore::new(FOLLOWERS_MAX));
        Arc::new(Clerk { registry, term, is_closed: watch::Sender::new(false), in_hand, followers })
    }

    /// Begins with nothing from now on, and sends those away who follow changes. What was begun is
    /// finished.
    pub fn close(&self) {
        self.is_closed.send_replace(true);
    }

    /// Verbs in hand now.
    pub fn n_in_hand(&self) -> usize {
        IN_HAND_MAX - self.in_hand.available_permits()
    }

    /// Readers that follow changes now.
    pub fn n_followers(&self) -> usize {
        FOLLOWERS_MAX - self.followers.available_permits()
    }

    /// Whether it serves this method.
    pub fn serves(method: u16) -> bool {
        matches!(method, SUBMIT | ASK | ASK_IN_PIECES | RENEW | CHANGES)
    }

    /// Serves an exchange. Whoever opened it is told everything there is to tell.
    pub fn serve(self: Arc<Self>, opened: Opened) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            match opened.method {
                CHANGES => self.serve_follower(opened).await,
                ASK_IN_PIECES => self.serve_pieces(opened).await,
                _ => self.serve_call(opened).await,
            }
        })
    }

    async fn serve_call(&self, opened: Opened) {
        let deadline = opened.deadline.min(Instant::now() + PATIENCE_MAX);
        let answer = match opened.method {
            SUBMIT => {
                read(&opened.body).map(|submit| self.submit(submit, deadline)).map(Doing::new)
            }
            ASK => read(&opened.body).map(|ask| self.ask(ask, deadline, false)).map(Doing::new),
            RENEW => read(&opened.body).map(|renew| self.renew(renew, deadline)).map(Doing::new),
            other => Err(format!("a server does not know method {other}: is it an older version?")),
        };
        // Whoever no longer waits needs no answer.
        match answer {
            Ok(doing) => drop(opened.answer(doing.0.await).await),
            Err(why) => opened.refuse(why.into()).await,
        }
    }

    /// What is behind the clerk; nothing was begun where there is nothing.
    fn registry(&self) -> Result<Arc<dyn Registry>, Refusal> {
        match *self.is_closed.borrow() {
            false => self.registry.upgrade().ok_or(Refusal::NoLeader),
            true => Err(Refusal::NoLeader),
        }
    }

    async fn submit(&self, submit: Submit, deadline: Instant) -> Bytes {
        let Ok(_in_hand) = self.in_hand.try_acquire() else { return pack_committed(Err(BUSY)) };
        let registry = match self.registry() {
            Ok(registry) => registry,
            Err(closed) => return pack_committed(Err(closed)),
        };
        let call = submit.asker.call(deadline);
        pack_committed(by(deadline, registry.submit(&call, submit.command)).await)
    }

    async fn renew(&self, renew: Renew, deadline: Instant) -> Bytes {
        let Ok(_in_hand) = self.in_hand.try_acquire() else { return pack_done(Err(BUSY)) };
        let registry = match self.registry() {
            Ok(registry) => registry,
            Err(closed) => return pack_done(Err(closed)),
        };
        let call = renew.asker.call(deadline);
        pack_done(by(deadline, registry.renew(&call, &renew.lease)).await)
    }

    async fn ask(&self, ask: Ask, deadline: Instant, is_whole: bool) -> Bytes {
        let Ok(_in_hand) = self.in_hand.try_acquire() else {
            return pack_answer(Err(BUSY), is_whole);
        };
        let call = ask.asker.call(deadline);
        pack_answer(self.answer(&call, &ask, deadline).await, is_whole)
    }

    /// The answer, if possible one that is not behind what the asker has seen elsewhere. Where that
    /// cannot be had the answer says how far it reaches.
    async fn answer(&self, call: &Call, ask: &Ask, deadline: Instant) -> Result<Answered, Refusal> {
        let registry = self.registry()?;
        let answered = by(deadline, registry.ask(call, &ask.query, ask.freshness)).await?;
        if answered.as_of >= ask.not_before || ask.freshness != Freshness::Stale {
            return Ok(answered);
        }
        // What was seen anywhere is decided, so a confirmed answer has it.
        let patience = deadline.min(Instant::now() + BEHIND_PATIENCE);
        let confirmed = by(patience, registry.ask(call, &ask.query, Freshness::Default)).await;
        Ok(confirmed.unwrap_or(answered))
    }

    /// A long answer, as many items.
    async fn serve_pieces(&self, opened: Opened) {
        let ask = match read::<Ask>(&opened.body) {
            Ok(ask) => ask,
            Err(why) => return opened.refuse(why.into()).await,
        };
        let deadline = Instant::now() + PATIENCE_MAX;
        let mut whole = self.ask(ask, opened.deadline.min(deadline), true).await;
        let (mut sender, _receiver) = opened.exchange.split();
        while whole.len() > PIECE_BYTES {
            let piece = whole.split_to(PIECE_BYTES);
            if !is_sent(&mut sender, piece, deadline).await {
                return;
            }
        }
        // Whoever no longer waits needs no answer.
        let _ = timeout_at(deadline, sender.finish_with(whole)).await;
    }

    async fn serve_follower(&self, opened: Opened) {
        let Ok(_place) = self.followers.try_acquire() else {
            return opened.refuse("too many agents follow changes here".into()).await;
        };
        match read::<Follow>(&opened.body) {
            Ok(follow) => self.tell_changes(&follow, opened.exchange).await,
            Err(why) => opened.refuse(why.into()).await,
        }
    }
}

const BUSY: Refusal = Refusal::TooMany("requests are waiting");

/// A verb that is being done.
struct Doing<'a>(Pin<Box<dyn Future<Output = Bytes> + Send + 'a>>);

impl<'a> Doing<'a> {
    fn new(doing: impl Future<Output = Bytes> + Send + 'a) -> Doing<'a> {
        Doing(Box::pin(doing))
    }
}

fn read<T: for<'b> minicbor::Decode<'b, ()>>(body: &[u8]) -> Result<T, String> {
    muster_model::decode(body).map_err(|error| format!("a server does not understand: {error}"))
}

/// The result, or that it came too late.
async fn by<T>(
    deadline: Instant,
    doing: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    timeout_at(deadline, doing).await.unwrap_or(Err(Refusal::Late))
}

/// Sends an item; whether the other side took it in time.
async fn is_sent(sender: &mut Sender, item: Bytes, deadline: Instant) -> bool {
    matches!(timeout_at(deadline, sender.send(item)).await, Ok(Ok(())))
}
