//! The status of something else: the worst of another instance and its node.
//!
//! On this agent's own node it follows what is vouched for, change by change; elsewhere it watches
//! the catalog.

use std::sync::Arc;
use std::time::Duration;

use muster_health::check::Observation;
use muster_model::answer::Body;
use muster_model::query::{CheckFilter, CheckSubject};
use muster_model::{Check, Query, Status, Text};
use muster_registry::local::Vouched;
use muster_registry::{Call, Freshness, Registry};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::found;

/// How long one watch of another node waits.
const WATCH: Duration = Duration::from_secs(5 * 60);
/// The first pause after the catalog could not be asked; it doubles.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// The longest such pause.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// One alias check.
pub(super) struct Alias {
    /// Its own id.
    pub(super) id: Text,
    /// The other node; empty: this one.
    pub(super) node: Text,
    /// The other instance; empty: the node itself.
    pub(super) instance_id: Text,
}

impl Alias {
    /// Follows an instance of this node for as long as the check is there.
    pub(super) async fn follow_local(
        self,
        mut vouched: watch::Receiver<Arc<Vouched>>,
        observed: mpsc::Sender<(Text, Observation)>,
    ) {
        let mut told: Option<Observation> = None;
        loop {
            let now = vouched.borrow_and_update().clone();
            let observation = self.look(&now);
            if told.as_ref() != Some(&observation) {
                told = Some(observation.clone());
                if observed.send((self.id.clone(), observation)).await.is_err() {
                    return;
                }
            }
            if vouched.changed().await.is_err() {
                return;
            }
        }
    }

    /// Follows something on another node.
    pub(super) async fn follow_catalog(
        self,
        registry: Arc<dyn Registry>,
        observed: mpsc::Sender<(Text, Observation)>,
    ) {
        let mut seen = 0;
        let mut retry_after = RETRY_MIN;
        loop {
            let (observation, pause) = match self.ask(&*registry, seen).await {
                Ok((observation, index)) => {
                    seen = index;
                    retry_after = RETRY_MIN;
                    (observation, Duration::ZERO)
                }
                Err(why) => {
                    seen = 0;
                    retry_after = (retry_after * 2).min(RETRY_MAX);
                    (found(Status::Critical, why), retry_after)
                }
            };
            if observed.send((self.id.clone(), observation)).await.is_err() {
                return;
            }
            sleep(pause).await;
        }
    }

    fn look(&self, vouched: &Vouched) -> Observation {
        if !self.instance_id.is_empty() && vouched.instance(&self.instance_id).is_none() {
            return self.missing();
        }
        self.worst_of(vouched.checks_of(&self.instance_id).map(|own| &own.check))
    }

    async fn ask(&self, registry: &dyn Registry, seen: u64) -> Result<(Observation, u64), String> {
        let subject = CheckSubject::Node(self.node.clone());
        let query = Query::Checks(CheckFilter { subject, ..CheckFilter::default() });
        let until = Instant::now() + WATCH;
        let call = Call::default();
        let stale = Freshness::Stale;
        let answered = muster_registry::watch(registry, &call, &query, stale, seen, until).await;
        let checks = answered.map_err(|refusal| refusal.to_string())?;
        let query = Query::Node { name_or_id: self.node.clone() };
        let node = registry.ask(&call, &query, stale).await;
        let node = node.map_err(|refusal| refusal.to_string())?;
        let is_there = match &node.answer.body {
            Body::Node(Some(detail)) => {
                let mut instances = detail.instances.iter();
                self.instance_id.is_empty() || instances.any(|own| own.id == self.instance_id)
            }
            _ => false,
        };
        let index = checks.answer.index;
        match &checks.answer.body {
            Body::Checks(rows) if is_there => {
                Ok((self.worst_of(rows.iter().map(|row| &row.check.value)), index))
            }
            _ => Ok((self.missing(), index)),
        }
    }

    /// The worst of the checks of the target and its node, without this one.
    fn worst_of<'a>(&self, checks: impl Iterator<Item = &'a Check>) -> Observation {
        let concerned = checks.filter(|check| {
            (check.is_about_node() || check.instance_id == self.instance_id) && check.id != self.id
        });
        match concerned.max_by_key(|check| check.status) {
            None => found(Status::Passing, "No checks found."),
            Some(check) if check.status == Status::Passing => {
                found(Status::Passing, "All checks passing.")
            }
            Some(check) => found(
                check.status,
                format!("Aliased check {:?} failing: {}", check.name, check.output),
            ),
        }
    }

    fn missing(&self) -> Observation {
        let id = &self.instance_id;
        found(Status::Critical, format!("Service {id} could not be found on its node"))
    }
}
