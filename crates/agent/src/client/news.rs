//! What this agent hears of changes: one stream from one server for all who wait here.
//!
//! Whoever waits registers with a hub of this agent's own, as on a server. What that hub's marks
//! stand for is asked of a server as scopes that come and go, over one exchange. Its position in the
//! log only moves on, whichever server the stream comes from: a server that is behind tells nothing
//! until it has passed what the one before had told. So nothing goes back, and nothing between two
//! servers is missed.
//!
//! A scope is heard of from an index on that is not above any mark made for it, so whoever waits
//! with an older answer wakes at once and asks again. Where changes were lost the hub is closed and
//! another takes its place: everybody looks again. Where an answer was given that was known to be
//! behind, those who wait on it are nudged as soon as a server has more to tell.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use foldhash::fast::FixedState;
use muster_model::scope::Change;
use muster_model::{Index, Scope};
use muster_registry::hub::Marks;
use muster_registry::{Changes, Freshness, Hub, Standing};
use muster_rpc::{Fault, Lane, Pool, Receiver, Sender};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, interval, sleep, timeout};

use super::ClientSettings;
use super::servers::Servers;
use crate::wire::{self, Follow, SCOPES_AT_ONCE_MAX, Wanted};

/// How long a server may take to begin its stream.
const OPENING_PATIENCE: Duration = Duration::from_secs(5);
/// How often scopes that nobody waits for any more are given up.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

/// Scopes that somebody is owed a look at; with more of them everybody looks again.
const OWED_MAX: usize = 4_096;

/// What is heard of changes.
pub(crate) struct News {
    heard: Mutex<Heard>,
    /// Read for every answer from what is kept, so without the lock.
    contact: ArcSwap<Contact>,
    /// A server has something to be told of what is wanted.
    has_untold: Notify,
    /// Something was touched, or contact was made: kept answers have to be looked at.
    pub(crate) has_news: Notify,
    /// Counts the leaders that came and the times that servers came back: what an agent vouches for
    /// has to be compared then.
    pub(crate) n_leaders: watch::Sender<u64>,
    scopes_max: usize,
}

struct Heard {
    hub: Arc<Hub>,
    /// For readers of more scopes than are followed: closed each second.
    overflow: Option<Arc<Hub>>,
    scopes: HashMap<Scope, Hearing, FixedState>,
    last_number: u64,
    /// How often the hub was replaced.
    n_hubs: u64,
    /// What answers depend on that were given as if they reached up to the position.
    owed: BTreeSet<Scope>,
}

/// How far one scope is heard of.
struct Hearing {
    /// From this index on.
    since: Index,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Untold,
    /// With this number.
    Told(u64),
    Settled,
}

/// The last word of a server.
#[derive(Clone, Copy)]
struct Contact {
    at: Instant,
    standing: Standing,
    term: u64,
    is_open: bool,
}

impl Contact {
    /// Whether there is a leader of which nothing was known before.
    fn has_new_leader(&self, was: &Contact) -> bool {
        let is_another = self.term != was.term || !was.standing.knows_leader || !was.is_open;
        self.standing.knows_leader && is_another
    }
}

// ------------------------------------------------------------------------------------------------
// Waiting
// ------------------------------------------------------------------------------------------------

impl News {
    pub(crate) fn new(settings: &ClientSettings) -> Arc<News> {
        let standing = Standing { freshness: Freshness::Stale, ..Standing::default() };
        let contact = Contact { at: Instant::now(), standing, term: 0, is_open: false };
        let heard = Heard {
            hub: Arc::new(Hub::new(0)),
            overflow: None,
            scopes: HashMap::default(),
            last_number: 0,
            n_hubs: 0,
            owed: BTreeSet::new(),
        };
        Arc::new(News {
            heard: Mutex::new(heard),
            contact: ArcSwap::from_pointee(contact),
            has_untold: Notify::new(),
            has_news: Notify::new(),
            n_leaders: watch::Sender::new(0),
            scopes_max: settings.scopes_max,
        })
    }

    /// What changes under scopes, as [`muster_registry::Registry::changes`] has it.
    pub(crate) fn changes(&self, scopes: &[Scope], after: Index) -> Changes {
        let mut heard = self.lock();
        let Some(known_from) = self.want(&mut heard, scopes) else {
            let overflow = heard.overflow.get_or_insert_with(|| Arc::new(Hub::new(0)));
            return overflow.changes(scopes, Index::MAX - 1);
        };
        // Made under the lock, so that no sweep takes the scopes for ones that nobody waits for.
        heard.hub.changes(scopes, after).known_from(known_from)
    }

    /// The marks of the scopes of a kept answer; nothing where there is no room for them.
    pub(crate) fn marks(&self, scopes: &[Scope]) -> Option<Marks> {
        let mut heard = self.lock();
        self.want(&mut heard, scopes)?;
        Some(heard.hub.marks(scopes))
    }

    /// Wants scopes; gives from where on all of them are known, which is never as long as one is
    /// not settled. Nothing where there are too many.
    fn want(&self, heard: &mut Heard, scopes: &[Scope]) -> Option<Index> {
        let since = heard.hub.published();
        let n_new = scopes.iter().filter(|scope| !heard.scopes.contains_key(scope)).count();
        if n_new > 0 {
            if heard.scopes.len() + n_new > self.scopes_max {
                return None;
            }
            for scope in scopes {
                let hearing = || Hearing { since, stage: Stage::Untold };
                heard.scopes.entry(scope.clone()).or_insert_with(hearing);
            }
            self.has_untold.notify_one();
        }
        let known_from = scopes.iter().map(|scope| match &heard.scopes[scope] {
            Hearing { since, stage: Stage::Settled } => *since,
            _ => Index::MAX,
        });
        Some(known_from.max().unwrap_or(since))
    }

    /// Up to where everything that is wanted was told.
    pub(crate) fn position(&self) -> Index {
        self.lock().hub.published()
    }

    /// An answer that depends on these scopes is given as if it reached up to the position: as soon
    /// as a server gets there, whoever waits on it looks again.
    pub(crate) fn owe_a_look(&self, scopes: &[Scope]) {
        self.lock().owed.extend(scopes.iter().cloned());
    }

    /// How long ago the server told of an index, to some seconds: what it told first came before.
    pub(crate) fn age_of(&self, index: Index) -> Option<Duration> {
        self.lock().hub.age_of(index)
    }

    /// How often everybody had to look again.
    pub(crate) fn n_hubs(&self) -> u64 {
        self.lock().n_hubs
    }

    /// Scopes that are wanted.
    pub(crate) fn n_scopes(&self) -> usize {
        self.lock().scopes.len()
    }

    /// How an answer stands that holds as far as is heard.
    pub(crate) fn standing(&self) -> Standing {
        let contact = self.contact.load();
        let standing = contact.standing;
        Standing {
            knows_leader: contact.is_open && standing.knows_leader,
            last_contact: standing.last_contact + contact.at.elapsed(),
            freshness: Freshness::Stale,
        }
    }

    /// Whether a server tells of changes now.
    pub(crate) fn is_in_contact(&self) -> bool {
        self.contact.load().is_open
    }

    fn lose_contact(&self) {
        let was = **self.contact.load();
        self.contact.store(Arc::new(Contact { is_open: false, ..was }));
    }

    /// Everybody looks again, and what is wanted is heard of from `index` on.
    pub(crate) fn start_over(&self, index: Index) {
        self.lock().start_over(index);
        self.has_news.notify_one();
    }

    /// Sends away those who wait without being heard for: they look again.
    pub(crate) fn close_overflow(&self) {
        if let Some(overflow) = self.lock().overflow.take() {
            overflow.close();
        }
    }

    /// Nothing that runs under the lock leaves the data half changed.
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ------------------------------------------------------------------------------------------------
// Hearing
// ------------------------------------------------------------------------------------------------

impl News {
    /// Follows the changes of the present server for as long as the agent runs.
    pub(crate) async fn run(
        self: Arc<Self>,
        pool: Arc<Pool>,
        servers: Arc<Servers>,
        settings: ClientSettings,
    ) {
        let mut pause = settings.follow_again_min;
        loop {
            let Some(server) = servers.choose(&[]) else {
                servers.wait_for_others(Instant::now() + settings.follow_again_max).await;
                continue;
            };
            let began_at = Instant::now();
            let mut current = servers.current();
            let has_left = async {
                // The list outlives this task's interest in it.
                let _ = current.wait_for(|now| *now != Some(server)).await;
            };
            let ended = tokio::select! {
                ended = self.follow(&pool, server, settings.silence_max) => Some(ended),
                () = has_left => None,
            };
            let Some(fault) = ended else { continue };
            self.lose_contact();
            tracing::debug!(%server, %fault, "changes are no longer told");
            servers.note_failed(server);
            if began_at.elapsed() > settings.follow_again_max {
                pause = settings.follow_again_min;
            }
            sleep(servers.draw_duration(Duration::ZERO..pause)).await;
            pause = (pause * 2).min(settings.follow_again_max);
        }
    }

    /// Follows the changes of one server until it ends, and gives why.
    async fn follow(&self, pool: &Pool, server: SocketAddr, silence_max: Duration) -> Fault {
        let body = muster_model::encode(&Follow::default());
        let deadline = Instant::now() + OPENING_PATIENCE;
        let opened = pool.open(server, Lane::Call, wire::CHANGES, body, deadline).await;
        let (mut sender, mut receiver) = match opened {
            Ok(exchange) => exchange.split(),
            Err(fault) => return fault,
        };
        match next_news(&mut receiver, silence_max).await {
            Ok(first) => {
                // Before its first word moves the position: it has told nothing of these yet.
                self.lock().begin_to_tell();
                self.take_in(first);
            }
            Err(fault) => return fault,
        }
        let telling = self.tell_what_is_wanted(&mut sender);
        let hearing = async {
            loop {
                match next_news(&mut receiver, silence_max).await {
                    Ok(news) => self.take_in(news),
                    Err(fault) => return fault,
                }
            }
        };
        // Both at a time: each side may wait until the other one reads.
        tokio::select! {
            fault = telling => fault,
            fault = hearing => fault,
        }
    }

    /// Tells the server what is wanted, from the beginning, and what is wanted no longer.
    async fn tell_what_is_wanted(&self, sender: &mut Sender) -> Fault {
        let mut sweep = interval(SWEEP_INTERVAL);
        sweep.tick().await;
        loop {
            loop {
                let Some(item) = self.lock().untold() else { break };
                if let Err(fault) = sender.send(item).await {
                    return fault;
                }
            }
            tokio::select! {
                () = self.has_untold.notified() => {}
                _ = sweep.tick() => {
                    let unwanted = self.lock().sweep();
                    for scopes in unwanted.chunks(SCOPES_AT_ONCE_MAX) {
                        let item = muster_model::encode(&Wanted::Less(scopes.to_vec()));
                        if let Err(fault) = sender.send(item).await {
                            return fault;
                        }
                    }
                }
            }
        }
    }

    fn take_in(&self, news: wire::News) {
        let mut heard = self.lock();
        let was = **self.contact.load();
        let mut now = Contact { at: Instant::now(), ..was };
        match news {
            wire::News::Still { index, standing, term } => {
                now = Contact { standing, term, is_open: true, ..now };
                heard.move_to(index);
            }
            wire::News::Changed(index, changes) => heard.publish(index, changes),
            wire::News::Settled(number) => heard.settle(number),
            wire::News::Lost(index) => heard.start_over(index),
        }
        self.contact.store(Arc::new(now));
        if now.has_new_leader(&was) {
            self.n_leaders.send_modify(|n| *n += 1);
        }
        self.has_news.notify_one();
    }
}

impl Heard {
    /// Everything up to `index` was told.
    fn move_to(&mut self, index: Index) {
        let position = self.hub.published();
        // The first word ever: nothing was told before it.
        let is_first = position == 0 && index > 0;
        if is_first || self.owed.len() > OWED_MAX {
            return self.start_over(index);
        }
        if index > position {
            self.hub.publish(index, Vec::new());
        }
        if index >= position {
            let owed = std::mem::take(&mut self.owed);
            self.hub.nudge(&owed);
        }
    }

    /// What came late for a new scope happened before the position: it counts as of the position.
    fn publish(&mut self, index: Index, changes: Vec<Change>) {
        self.hub.publish(index.max(self.hub.published()), changes);
    }

    fn settle(&mut self, number: u64) {
        for hearing in self.scopes.values_mut().filter(|own| own.stage == Stage::Told(number)) {
            hearing.stage = Stage::Settled;
        }
    }

    fn start_over(&mut self, index: Index) {
        let hub = Arc::new(Hub::new(index));
        hub.begin_timeline();
        std::mem::replace(&mut self.hub, hub).close();
        self.scopes.values_mut().for_each(|hearing| hearing.since = index);
        self.owed.clear();
        self.n_hubs += 1;
    }

    /// A server that knows nothing of this agent: what was heard of up to the position goes on
    /// from there.
    fn begin_to_tell(&mut self) {
        let position = self.hub.published();
        for hearing in self.scopes.values_mut() {
            if hearing.stage == Stage::Settled {
                hearing.since = position;
            }
            hearing.stage = Stage::Untold;
        }
    }

    /// The next item that tells of scopes which are wanted.
    fn untold(&mut self) -> Option<Bytes> {
        let number = self.last_number + 1;
        let mut since = Index::MAX;
        let mut scopes = Vec::new();
        for (scope, hearing) in &mut self.scopes {
            if hearing.stage == Stage::Untold && scopes.len() < SCOPES_AT_ONCE_MAX {
                hearing.stage = Stage::Told(number);
                since = since.min(hearing.since);
                scopes.push(scope.clone());
            }
        }
        if scopes.is_empty() {
            return None;
        }
        self.last_number = number;
        // In no order that anything hangs on, but in the same one every time.
        scopes.sort_unstable();
        Some(muster_model::encode(&Wanted::More { number, since, scopes }))
    }

    /// Gives up the scopes that nobody waits for and no kept answer depends on.
    fn sweep(&mut self) -> Vec<Scope> {
        let hub = &self.hub;
        let mut unwanted = Vec::new();
        self.scopes.retain(|scope, hearing| {
            let is_wanted = hearing.stage != Stage::Settled || !hub.forget(scope);
            if !is_wanted {
                unwanted.push(scope.clone());
            }
            is_wanted
        });
        unwanted.sort_unstable();
        unwanted
    }
}

async fn next_news(receiver: &mut Receiver, silence_max: Duration) -> Result<wire::News, Fault> {
    match timeout(silence_max, receiver.next()).await {
        Ok(Ok(Some(item))) => {
            muster_model::decode(&item).map_err(|error| Fault::Protocol(error.to_string()))
        }
        Ok(Ok(None)) => Err(Fault::Lost("the server tells no more".to_owned())),
        Ok(Err(fault)) => Err(fault),
        Err(_) => Err(Fault::Late),
    }
}

#[cfg(test)]
mod tests;
