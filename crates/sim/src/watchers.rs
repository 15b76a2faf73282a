//! Watchers: each follows one thing on one server, and on another when that one is gone.
//!
//! Half of them ask again and again for whatever is newer (the long poll), half read the changes.
//! Both go on after an interruption from the last index that they have seen.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use muster_model::query::InstanceFilter;
use muster_model::scope::{ChangeKind, Object};
use muster_model::{Index, Query, Scope};
use muster_registry::{Answered, Call, Freshness, Refusal, Registry, watch};
use rand::Rng;
use rand::rngs::SmallRng;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::history::{ChangeSeen, History, Seen, Sighting, Watched};
use crate::perform::{instances_in, pairs_in};
use crate::plant::Plant;
use crate::servers::Server;
use crate::simulation::Promise;
use crate::trace::{HostNumber, Trace};
use crate::workload::REGISTER_PREFIX;

/// How long one long poll lasts at most.
const WAIT: Duration = Duration::from_secs(5);
/// The longest pause before an interrupted watcher goes on.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Watchers and what they have seen so far.
pub struct Watchers {
    watchers: Vec<Watcher>,
    seen: Arc<Mutex<Vec<Sighting>>>,
    chance: SmallRng,
}

struct Watcher {
    number: u32,
    subject: Watched,
    polls: bool,
    server: HostNumber,
    /// The last index that it has seen.
    after: Index,
    task: Option<Promise<Refusal>>,
    next_at: Duration,
}

/// A watcher at work on a server.
#[derive(Clone)]
struct Post {
    watcher: u32,
    server: HostNumber,
    subject: Watched,
    trace: Trace,
    seen: Arc<Mutex<Vec<Sighting>>>,
    drops_tombstones: bool,
}

impl Watchers {
    /// So many watchers, with all subjects in both ways in turn.
    #[must_use]
    pub fn new(n_watchers: u32, chance: SmallRng) -> Watchers {
        let watcher = |number| Watcher {
            number,
            subject: match number / 2 % 3 {
                0 => Watched::PairsUnder(REGISTER_PREFIX.into()),
                1 => Watched::Service("service-0".into()),
                _ => Watched::Service("service-1".into()),
            },
            polls: number % 2 == 0,
            server: 0,
            after: 0,
            task: None,
            next_at: Duration::ZERO,
        };
        let watchers = (0..n_watchers).map(watcher).collect();
        Watchers { watchers, seen: Arc::default(), chance }
    }

    /// Adds what was seen to the history, and lets interrupted watchers go on.
    pub fn step(&mut self, cluster: &Cluster, history: &mut History) {
        self.take_down(cluster, history);
        let now = cluster.simulation.now();
        for watcher in &mut self.watchers {
            if let Some(task) = &watcher.task {
                let refusal = task.take();
                if refusal.is_none() && !task.is_broken() {
                    continue;
                }
                let why = refusal.map_or_else(|| "gone".to_owned(), |why| why.to_string());
                watcher.post(cluster, &self.seen).note(Seen::Interrupted(why));
                watcher.task = None;
            }
            if watcher.next_at <= now {
                watcher.server = self.chance.random_range(0..cluster.n_servers());
                // Where nobody is up, or the task ends, it goes on after a while.
                watcher.next_at = now + PAUSE_MAX.mul_f64(self.chance.random_range(0.0..1.0));
                watcher.begin(cluster, &self.seen);
            }
        }
    }

    /// Adds what was seen to the history.
    fn take_down(&mut self, cluster: &Cluster, history: &mut History) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for sighting in seen.drain(..) {
            cluster.simulation.trace().take_in(format!("{sighting:?}").as_bytes());
            if let Seen::Answer { index, .. } | Seen::Changes { index, .. } = &sighting.seen {
                let after = &mut self.watchers[sighting.watcher as usize].after;
                *after = (*after).max(*index);
            }
            history.sightings.push(sighting);
        }
    }
}

impl Watcher {
    fn post(&self, cluster: &Cluster, seen: &Arc<Mutex<Vec<Sighting>>>) -> Post {
        Post {
            watcher: self.number,
            server: self.server,
            subject: self.subject.clone(),
            trace: cluster.simulation.trace().clone(),
            seen: seen.clone(),
            drops_tombstones: cluster.planted() == Some(Plant::DropsTombstones),
        }
    }

    fn begin(&mut self, cluster: &Cluster, seen: &Arc<Mutex<Vec<Sighting>>>) {
        let Some(server) = cluster.server(self.server) else { return };
        let (post, polls, after) = (self.post(cluster, seen), self.polls, self.after);
        self.task = cluster.simulation.spawn(self.server, async move {
            post.note(Seen::Began { subject: post.subject.clone(), after });
            let watched = match polls {
                true => post.poll(&server, after).await,
                false => post.follow(&server, after).await,
            };
            watched.err().unwrap_or(Refusal::Stopping)
        });
    }
}

impl Post {
    fn note(&self, seen: Seen) {
        let (watcher, server, seen_at) = (self.watcher, self.server, self.trace.now());
        let sighting = Sighting { watcher, server, seen_at, seen };
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(sighting);
    }

    fn query(&self) -> Query {
        match &self.subject {
            Watched::PairsUnder(prefix) => Query::PairsUnder { prefix: prefix.clone() },
            Watched::Service(service) => Query::Instances(InstanceFilter {
                service: service.clone(),
                ..InstanceFilter::default()
            }),
        }
    }

    fn scope(&self) -> Scope {
        match &self.subject {
            Watched::PairsUnder(prefix) => Scope::PairsUnder(prefix.clone()),
            Watched::Service(service) => Scope::Service(service.folded()),
        }
    }

    async fn poll(&self, server: &Server, after: Index) -> Result<(), Refusal> {
        let (call, query, mut after) = (Call::default(), self.query(), after);
        loop {
            let until = Instant::now() + WAIT;
            let answered =
                watch(&*server.agent, &call, &query, Freshness::Default, after, until).await?;
            if answered.answer.index != after {
                after = answered.answer.index;
                self.note_answer(&answered);
            }
        }
    }

    fn note_answer(&self, answered: &Answered) {
        let body = &answered.answer.body;
        let rows = match self.subject {
            Watched::PairsUnder(_) => pairs_in(body),
            Watched::Service(_) => {
                let rows = instances_in(body).into_iter();
                rows.map(|(id, value, index)| (id, vec![value], index)).collect()
            }
        };
        let index = match self.drops_tombstones {
            true => rows.iter().map(|(_, _, index)| *index).max().unwrap_or(1),
            false => answered.answer.index,
        };
        self.note(Seen::Answer { index, rows });
    }

    async fn follow(&self, server: &Server, after: Index) -> Result<(), Refusal> {
        let (call, scopes, mut after) = (Call::default(), [self.scope()], after);
        loop {
            let mut changes = server.agent.changes(&call, &scopes, after);
            while let Ok((index, objects)) = changes.next().await {
                let objects =
                    objects.iter().filter_map(|(object, kind)| self.change(object, *kind));
                self.note(Seen::Changes { index, objects: objects.collect() });
            }
            self.note(Seen::Lost);
            let answered = server.agent.ask(&call, &self.query(), Freshness::Default).await?;
            self.note_answer(&answered);
            after = answered.as_of;
        }
    }

    fn change(
        &self,
        object: &Object,
        kind: ChangeKind,
    ) -> Option<(muster_model::Text, ChangeSeen)> {
        let id = match (object, &self.subject) {
            (Object::Pair(key), Watched::PairsUnder(_)) => key,
            (Object::Instance { id, .. }, Watched::Service(_)) => id,
            _ => return None,
        };
        let kind = match kind {
            ChangeKind::Created => ChangeSeen::Created,
            ChangeKind::Changed => ChangeSeen::Changed,
            ChangeKind::Removed => ChangeSeen::Removed,
        };
        Some((id.clone(), kind))
    }
}
