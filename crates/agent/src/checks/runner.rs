//! Drives the schedule: starts what is due, gives it its time, brings back what it found.
//!
//! One task sleeps until the next run is due and starts it as a task of its own; a check has at
//! most one run on its way. Alias checks are not scheduled: each follows its target in a task.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use muster_health::Moment;
use muster_health::check::Observation;
use muster_health::schedule::{Schedule, Turn};
use muster_model::definition::{CheckDefinition, Rule, Source};
use muster_model::{Status, Text};
use muster_registry::Registry;
use muster_registry::local::Vouched;
use muster_world::World;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::alias::Alias;
use super::dial::Dial;
use super::{CheckTerms, docker, found, grpc, h2ping, http, script, tcp, udp};

/// How long a run over the network may take if its author did not say.
const USUAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a program may.
const USUAL_SCRIPT_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs checks. Its tasks end with it.
pub struct Runner {
    inner: Arc<Inner>,
    driver: AbortHandle,
}

struct Inner {
    dial: Dial,
    registry: Arc<dyn Registry>,
    terms: ArcSwap<CheckTerms>,
    node: Text,
    vouched: watch::Receiver<Arc<Vouched>>,
    observed: mpsc::Sender<(Text, Observation)>,
    plan: Mutex<Plan>,
    has_earlier_deadline: Notify,
    started_at: Instant,
}

struct Plan {
    schedule: Schedule,
    /// Looked up only, never walked.
    rules: HashMap<Text, Running>,
    chance: SmallRng,
}

/// A check that is run.
struct Running {
    definition: Arc<CheckDefinition>,
    source: Source,
    /// The task that follows its target, or is out on its run.
    task: Option<AbortHandle>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.driver.abort();
        self.inner.plan().rules.clear();
    }
}

impl Runner {
    /// Runs nothing yet. What it finds goes to `observed`.
    pub fn new(
        world: Arc<dyn World>,
        registry: Arc<dyn Registry>,
        terms: CheckTerms,
        node: Text,
        vouched: watch::Receiver<Arc<Vouched>>,
        observed: mpsc::Sender<(Text, Observation)>,
    ) -> Runner {
        let chance = SmallRng::from_seed(world.seed());
        let schedule = Schedule::default();
        let inner = Arc::new(Inner {
            dial: Dial::new(world),
            registry,
            terms: ArcSwap::from_pointee(terms),
            node,
            vouched,
            observed,
            plan: Mutex::new(Plan { schedule, rules: HashMap::new(), chance }),
            has_earlier_deadline: Notify::new(),
            started_at: Instant::now(),
        });
        let driver = tokio::spawn(inner.clone().drive()).abort_handle();
        Runner { inner, driver }
    }

    /// What holds for all checks now.
    pub fn terms(&self) -> Arc<CheckTerms> {
        self.inner.terms.load_full()
    }

    /// From now on this holds. What is on its way keeps what held before.
    pub fn set_terms(&self, terms: CheckTerms) {
        self.inner.terms.store(Arc::new(terms));
    }

    /// Runs a check by this rule from now on; with none, no longer.
    pub fn set(&self, check_id: Text, rule: Option<(Arc<CheckDefinition>, Source)>) {
        let inner = &self.inner;
        let mut plan = inner.plan();
        let Plan { schedule, rules, chance } = &mut *plan;
        // The run that is on its way ends with it.
        rules.remove(&check_id);
        schedule.remove(&check_id);
        let Some((definition, source)) = rule else { return };
        let task = match &definition.rule {
            Rule::None | Rule::Ttl { .. } | Rule::OsService { .. } => return,
            Rule::Alias { node, instance_id } => {
                Some(inner.follow(check_id.clone(), node.clone(), instance_id.clone()))
            }
            _ => {
                let now = inner.now();
                schedule.add(check_id.clone(), definition.interval, now, chance);
                None
            }
        };
        rules.insert(check_id, Running { definition, source, task });
        drop(plan);
        inner.has_earlier_deadline.notify_one();
    }
}

impl Inner {
    async fn drive(self: Arc<Inner>) {
        loop {
            let next = self.start_due();
            let is_due = async {
                match next {
                    Some(at) => sleep_until(self.started_at + at.since_start()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = is_due => {}
                () = self.has_earlier_deadline.notified() => {}
            }
        }
    }

    /// Starts every run that is due; gives when the next one is.
    fn start_due(self: &Arc<Inner>) -> Option<Moment> {
        let mut plan = self.plan();
        while let Some((check_id, turn)) = plan.schedule.start_due(self.now()) {
            let running = plan.rules.get_mut(&check_id).expect("what is scheduled has a rule");
            let rule = (running.definition.clone(), running.source);
            let run = self.clone().run(check_id, rule, turn);
            running.task = Some(tokio::spawn(run).abort_handle());
        }
        plan.schedule.next_deadline()
    }

    async fn run(
        self: Arc<Inner>,
        check_id: Text,
        (definition, source): (Arc<CheckDefinition>, Source),
        turn: Turn,
    ) {
        let terms = self.terms.load_full();
        // Asked at each run: what was allowed when the check was declared may not be any more.
        let observation = match terms.allowed.admit(&definition, source) {
            Ok(()) => self.try_once(&definition, &terms).await,
            Err(refusal) => found(Status::Critical, refusal.to_string()),
        };
        let (counts, is_first) = {
            let mut plan = self.plan();
            let before = plan.schedule.next_deadline();
            let counts = plan.schedule.end(&check_id, turn, self.now());
            (counts, plan.schedule.next_deadline() != before)
        };
        if is_first {
            self.has_earlier_deadline.notify_one();
        }
        if counts {
            // Nobody listens only when the agent stops.
            let _ = self.observed.send((check_id, observation)).await;
        }
    }

    /// One try within its time. What goes wrong is critical.
    async fn try_once(&self, definition: &CheckDefinition, terms: &CheckTerms) -> Observation {
        let patience = match (definition.timeout, &definition.rule) {
            (Duration::ZERO, Rule::Script { .. } | Rule::Docker { .. }) => USUAL_SCRIPT_TIMEOUT,
            (Duration::ZERO, _) => USUAL_TIMEOUT,
            (own, _) => own,
        };
        let is_udp = matches!(definition.rule, Rule::Udp { .. });
        // No answer to a datagram is a good answer, so that kind keeps its own time.
        let limit = if is_udp { patience + USUAL_TIMEOUT } else { patience };
        match timeout(limit, self.try_rule(definition, terms, patience)).await {
            Ok(Ok(observation)) => observation,
            Ok(Err(error)) => found(Status::Critical, chain(&error)),
            Err(_) => {
                let output = format!("no result within the time allowed ({patience:?})");
                found(Status::Critical, output)
            }
        }
    }

    async fn try_rule(
        &self,
        definition: &CheckDefinition,
        CheckTerms { allowed, settings }: &CheckTerms,
        patience: Duration,
    ) -> io::Result<Observation> {
        let dial = &self.dial;
        let output_bytes_max = settings.output_bytes_max_of(definition);
        match &definition.rule {
            Rule::Http { url, method, headers, body, disable_redirects, tls } => {
                let disable_redirects = *disable_redirects;
                let ask = http::Ask { url, method, headers, body, disable_redirects, tls };
                Box::pin(http::run(dial, allowed, &ask, output_bytes_max)).await
            }
            Rule::Tcp { address, use_tls, tls } => {
                Box::pin(tcp::run(dial, address, use_tls.then_some(tls))).await
            }
            Rule::Udp { address } => udp::run(dial, address, patience).await,
            Rule::Grpc { target, use_tls, tls } => {
                Box::pin(grpc::run(dial, target, use_tls.then_some(tls))).await
            }
            Rule::H2ping { address, use_tls, tls } => {
                Box::pin(h2ping::run(dial, address, use_tls.then_some(tls))).await
            }
            Rule::Script { args } => Box::pin(script::run(args, output_bytes_max)).await,
            Rule::Docker { container_id, shell, args } => {
                let program = docker::Program { container_id, shell, args };
                let world = &*dial.world;
                Box::pin(docker::run(world, allowed, &program, output_bytes_max)).await
            }
            Rule::None | Rule::Ttl { .. } | Rule::OsService { .. } | Rule::Alias { .. } => {
                Err(io::Error::other("this kind of check is not run"))
            }
        }
    }

    fn follow(&self, id: Text, node: Text, instance_id: Text) -> AbortHandle {
        let is_here = node.is_empty() || node.folded() == self.node.folded();
        let alias = Alias { id, node, instance_id };
        let observed = self.observed.clone();
        let task = match is_here {
            true => tokio::spawn(alias.follow_local(self.vouched.clone(), observed)),
            false => tokio::spawn(alias.follow_catalog(self.registry.clone(), observed)),
        };
        task.abort_handle()
    }

    fn now(&self) -> Moment {
        Moment::after_start(self.started_at.elapsed())
    }

    /// The rules leave the plan whole, and nothing foreign runs under the lock.
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error with its causes: what the machine said stands at the end of the chain.
fn chain(error: &io::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}
