//! The roll: every instance as Eureka's clients see it, and what changed in the last minutes.
//!
//! The registry says what changed, by name; the roll looks at the nodes that were named, keeps what
//! it saw as a [`View`], and notes when each instance changed. So a delta costs what changed and not
//! what there is, and since the whole, the delta and the hash code of both come from one view, a
//! client that adds a delta to a whole has exactly what the hash code counts.
//!
//! Nobody waits for the roll: who asks brings it up to date ([`Roll::view`]), with the registry's
//! confirmed version where there is a leader and with what is at hand where there is none. A quiet
//! task does the same each few seconds, so that no change grows too old to be told.
//!
//! Left out: what clients cannot see. A check whose output changed and whose status did not, or a
//! fact of a node, is no change here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex as PlainMutex, PoisonError};

use futures_util::FutureExt;
use muster_model::answer::{Body, InstanceDetail, NodeDetail, Row};
use muster_model::scope::Object;
use muster_model::{Check, Index, Instance, Meta, Query, Scope, Text};
use muster_registry::hub::Lost;
use muster_registry::{Answered, Call, Changes, Freshness, Refusal, Registry};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::limits::{CONFIRM_WITHIN, NODES_ONE_BY_ONE_MAX};
use crate::view::View;

/// The roll.
pub(crate) struct Roll {
    registry: Arc<dyn Registry>,
    /// Held while the roll is brought up to date: one after another.
    follower: Mutex<Follower>,
    /// The last view.
    view: PlainMutex<Arc<View>>,
}

/// Where the roll stands in the stream of changes.
#[derive(Default)]
struct Follower {
    changes: Option<Changes>,
    view: View,
}

impl Roll {
    /// An empty roll; it fills when it is first asked.
    pub(crate) fn new(registry: Arc<dyn Registry>) -> Roll {
        Roll { registry, follower: Mutex::default(), view: PlainMutex::default() }
    }

    /// Everything that was acknowledged anywhere before now; where nobody can confirm that, what is
    /// at hand: a lost quorum empties no answer.
    ///
    /// # Errors
    /// Where the caller may not ask, or nothing is at hand.
    pub(crate) async fn view(&self, call: &Call) -> Result<Arc<View>, Refusal> {
        // Asked for its freshness alone: it costs a failed look-up.
        let query = Query::Session { id: Text::default() };
        let asking = self.registry.ask(call, &query, Freshness::Default);
        match timeout(CONFIRM_WITHIN, asking).await {
            Ok(Err(refusal @ (Refusal::Forbidden(_) | Refusal::NoDatacenter(_)))) => Err(refusal),
            Ok(_) | Err(_) => self.at_hand().await,
        }
    }

    /// Brings the roll up to date, once there is somebody for whom: before that it would cost half a
    /// kilobyte an instance for nothing. `leases` is what is followed until then.
    ///
    /// # Errors
    /// Where nothing is at hand.
    pub(crate) async fn keep_up(&self, leases: &mut Option<Changes>) -> Result<(), Refusal> {
        let is_asked = self.follower.lock().await.changes.is_some();
        if is_asked || self.has_seen_a_lease(leases).await? {
            self.at_hand().await?;
            *leases = None;
        }
        Ok(())
    }

    async fn has_seen_a_lease(&self, leases: &mut Option<Changes>) -> Result<bool, Refusal> {
        let Some(changes) = leases else {
            let nothing = Query::Session { id: Text::default() };
            let as_of = ask(&*self.registry, &nothing).await?.as_of;
            *leases = Some(self.registry.changes(&Call::default(), &[Scope::Leases], as_of));
            return Ok(false);
        };
        // What is lost may have been one.
        Ok(changes.next().now_or_never().is_some())
    }

    /// How many instances are kept.
    pub(crate) fn n_instances(&self) -> usize {
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner).clone();
        view.counts().into_iter().sum::<u64>() as usize
    }

    /// Everything that this server knows of.
    ///
    /// # Errors
    /// Where nothing is at hand.
    pub(crate) async fn at_hand(&self) -> Result<Arc<View>, Refusal> {
        let mut follower = self.follower.lock().await;
        let version = follower.view.version();
        follower.catch_up(&*self.registry).await?;
        follower.view.forget_old(Instant::now());
        if follower.view.version() != version {
            let view = Arc::new(follower.view.clone());
            *self.view.lock().unwrap_or_else(PoisonError::into_inner) = view;
        }
        Ok(self.view.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Follower {
    /// Takes up everything that changed since the last time.
    async fn catch_up(&mut self, registry: &dyn Registry) -> Result<(), Refusal> {
        loop {
            let named = match &mut self.changes {
                None => return self.begin(registry).await,
                Some(changes) => named_since(changes),
            };
            match named {
                Ok(nodes) if nodes.is_empty() => return Ok(()),
                Ok(nodes) if nodes.len() <= NODES_ONE_BY_ONE_MAX => {
                    for name in nodes {
                        self.look_at(registry, name).await?;
                    }
                }
                // Everything is looked at, at a version that has all these changes.
                Ok(_) => drop(self.look_at_all(registry).await?),
                Err(Lost) => self.changes = None,
            }
        }
    }

    async fn begin(&mut self, registry: &dyn Registry) -> Result<(), Refusal> {
        let as_of = self.look_at_all(registry).await?;
        self.changes = Some(registry.changes(&Call::default(), &[Scope::Instances], as_of));
        Ok(())
    }

    async fn look_at_all(&mut self, registry: &dyn Registry) -> Result<Index, Refusal> {
        let query = Query::AllInstances { node_meta: Meta::default() };
        let answered = ask(registry, &query).await?;
        let Body::Instances(details) = &answered.answer.body else { return Err(mismatch()) };
        self.view.replace_all(details, Instant::now());
        Ok(answered.as_of)
    }

    async fn look_at(&mut self, registry: &dyn Registry, name: Text) -> Result<(), Refusal> {
        let query = Query::Node { name_or_id: name.clone() };
        let answered = ask(registry, &query).await?;
        let Body::Node(found) = &answered.answer.body else { return Err(mismatch()) };
        // Found by the start of an id, it is another node than the one that is gone.
        let found = found.as_ref().filter(|found| found.node.name.folded() == name);
        let details = found.map(details_of).unwrap_or_default();
        self.view.replace_on(&name, details, Instant::now());
        Ok(())
    }
}

async fn ask(registry: &dyn Registry, query: &Query) -> Result<Answered, Refusal> {
    registry.ask(&Call::default(), query, Freshness::Stale).await
}

fn mismatch() -> Refusal {
    Refusal::Internal("the registry answered another question than was asked".into())
}

/// The folded names of the nodes on which something changed, as far as that is known now.
fn named_since(changes: &mut Changes) -> Result<BTreeSet<Text>, Lost> {
    let mut names = BTreeSet::new();
    while let Some(batch) = changes.next().now_or_never() {
        for (object, _) in batch?.1 {
            match object {
                Object::Node(node) | Object::Instance { node, .. } | Object::Check { node, .. } => {
                    names.insert(node.folded());
                }
                _ => {}
            }
        }
    }
    Ok(names)
}

/// The instances on a node, each with the checks that decide its status.
fn details_of(found: &NodeDetail) -> Vec<InstanceDetail> {
    // By what they are about; those about the node itself stand under no name.
    let mut checks: BTreeMap<&str, Vec<Row<Check>>> = BTreeMap::new();
    for own in &found.checks {
        checks.entry(&own.check.instance_id).or_default().push(own.check.clone());
    }
    let about = |id: &str| checks.get(id).into_iter().flatten().cloned();
    let detail = |instance: &Row<Instance>| {
        let checks = about("").chain(about(&instance.id)).collect();
        InstanceDetail { node: found.node.clone(), instance: instance.clone(), checks }
    };
    found.instances.iter().map(detail).collect()
}
