//! Telling one reader what changes under the scopes that it wants.
//!
//! Nothing is queued here: what the reader has not taken yet stays in the history of the hub, which
//! is the same for all readers and bounded. The time a reader may take for one item is bounded too.

use std::time::Duration;

use bytes::Bytes;
use muster_model::{Index, Query, Text};
use muster_registry::hub::{Followed, Following, Lost};
use muster_registry::{Call, Standing};
use muster_rpc::{Exchange, Sender};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{Clerk, is_sent};
use crate::wire::{Follow, News, SCOPES_AT_ONCE_MAX, Wanted};

/// How often a reader is told that everything was told. Less than what the protocol allows a
/// connection to be silent for.
const STILL_INTERVAL: Duration = Duration::from_secs(4);
/// How long a reader may take for one item.
const ITEM_PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of the changes of one batch; of a greater one the reader is told that it has lost it.
const CHANGED_BYTES_MAX: usize = 1 << 20;
/// Scopes that one reader follows.
const SCOPES_MAX: usize = 65_536;

/// The reader is gone, or is sent away.
struct Gone;

impl Clerk {
    /// Tells changes until the reader goes.
    pub(super) async fn tell_changes(&self, follow: &Follow, exchange: Exchange) {
        let call = follow.asker.call(Instant::now() + ITEM_PATIENCE);
        let (mut sender, mut receiver) = exchange.split();
        let Some((index, _)) = self.stand(&call) else {
            return sender.fail("you may not follow changes here".into()).await;
        };
        let Ok(registry) = self.registry() else { return };
        let mut following = registry.changes(&call, &[], index).follow();
        drop(registry);
        let mut is_closed = self.is_closed.subscribe();
        let mut term = self.term.clone();
        term.mark_unchanged();
        let mut still = interval_at(Instant::now(), STILL_INTERVAL);
        still.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let told = tokio::select! {
                biased;
                () = closing(&mut is_closed) => return,
                _ = still.tick() => self.tell_still(&call, &mut following, &mut sender).await,
                () = changes(&mut term) => {
                    self.tell_still(&call, &mut following, &mut sender).await
                }
                wanted = receiver.next() => match wanted {
                    Ok(Some(item)) => tell_wanted(&item, &mut following, &mut sender).await,
                    Ok(None) | Err(_) => return,
                },
                followed = following.next() => {
                    tell_followed(followed, &mut following, &mut sender).await
                }
            };
            if told.is_err() {
                return;
            }
        }
    }

    /// Tells everything up to the last published index, and then that it was told.
    async fn tell_still(
        &self,
        call: &Call,
        following: &mut Following,
        sender: &mut Sender,
    ) -> Result<(), Gone> {
        let Some((index, standing)) = self.stand(call) else { return Err(Gone) };
        loop {
            match following.next_up_to(index) {
                Ok(Some(followed)) => tell_followed(Ok(followed), following, sender).await?,
                Ok(None) => break,
                Err(Lost) => tell_followed(Err(Lost), following, sender).await?,
            }
        }
        let (index, term) = (following.after(), *self.term.borrow());
        tell(&News::Still { index, standing, term }, sender).await
    }

    /// The last published index, and how this server stands. Told by the cheapest question.
    fn stand(&self, call: &Call) -> Option<(Index, Standing)> {
        let answered = self.registry().ok()?.peek(call, &Query::Session { id: Text::default() })?;
        Some((answered.as_of, answered.standing))
    }
}

/// Waits until the clerk closes.
async fn closing(is_closed: &mut watch::Receiver<bool>) {
    // A clerk that is gone is closed as well.
    let _ = is_closed.wait_for(|is_closed| *is_closed).await;
}

/// Waits until there is another term.
async fn changes(term: &mut watch::Receiver<u64>) {
    if term.changed().await.is_err() {
        // There is no server any more, and the clerk will close.
        std::future::pending().await
    }
}

async fn tell_wanted(
    item: &[u8],
    following: &mut Following,
    sender: &mut Sender,
) -> Result<(), Gone> {
    match muster_model::decode::<Wanted>(item).map_err(|_| Gone)? {
        Wanted::Less(scopes) => {
            following.remove(&scopes);
            Ok(())
        }
        Wanted::More { number, since, scopes } => {
            let n_scopes = following.n_scopes() + scopes.len();
            if scopes.len() > SCOPES_AT_ONCE_MAX || n_scopes > SCOPES_MAX {
                tracing::warn!(n_scopes, "an agent follows more than it may, and is sent away");
                return Err(Gone);
            }
            match following.add(scopes, since) {
                Ok(missed) => {
                    for followed in missed {
                        tell_followed(Ok(followed), following, sender).await?;
                    }
                }
                Err(lost) => tell_followed(Err(lost), following, sender).await?,
            }
            tell(&News::Settled(number), sender).await
        }
    }
}

async fn tell_followed(
    followed: Result<Followed, Lost>,
    following: &mut Following,
    sender: &mut Sender,
) -> Result<(), Gone> {
    let news = match followed {
        Ok((index, changes)) => muster_model::encode(&News::Changed(index, changes)),
        Err(Lost) => muster_model::encode(&News::Lost(following.start_over())),
    };
    if news.len() > CHANGED_BYTES_MAX {
        return tell(&News::Lost(following.start_over()), sender).await;
    }
    send(news, sender).await
}

async fn tell(news: &News, sender: &mut Sender) -> Result<(), Gone> {
    send(muster_model::encode(news), sender).await
}

async fn send(news: Bytes, sender: &mut Sender) -> Result<(), Gone> {
    let deadline = Instant::now() + ITEM_PATIENCE;
    is_sent(sender, news, deadline).await.then_some(()).ok_or(Gone)
}
