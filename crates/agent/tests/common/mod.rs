//! A runner with one check, for tests of what a kind of check finds.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::sync::Arc;
use std::time::Duration;

use muster_agent::checks::{Allowed, CheckTerms, Runner};
use muster_health::check::Observation;
use muster_model::Text;
use muster_model::definition::{CheckDefinition, Rule, Source};
use muster_registry::local::Vouched;
use muster_testkit::Bench;
use muster_world::{Real, World};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A runner, and what it found.
pub(crate) struct House {
    pub(crate) runner: Runner,
    pub(crate) bench: Arc<Bench>,
    pub(crate) vouched: watch::Sender<Arc<Vouched>>,
    observations: mpsc::Receiver<(Text, Observation)>,
}

impl House {
    /// On node `n1`, where clients may have programs run.
    pub(crate) fn new(world: Arc<dyn World>, allowed: Allowed) -> House {
        let bench = Bench::new();
        let (observed, observations) = mpsc::channel(8);
        let vouched = watch::Sender::new(Arc::new(Vouched::default()));
        let terms = CheckTerms { allowed, ..CheckTerms::default() };
        let (own, seen) = ("n1".into(), vouched.subscribe());
        let runner = Runner::new(world, bench.clone(), terms, own, seen, observed);
        House { runner, bench, vouched, observations }
    }

    /// Runs a check by this rule from now on, which a client registered.
    pub(crate) fn run(&self, rule: Rule, limit: Duration) {
        let interval = Duration::from_secs(3_600);
        let definition =
            CheckDefinition { rule, interval, timeout: limit, ..CheckDefinition::default() };
        self.runner.set("c".into(), Some((Arc::new(definition), Source::Client)));
    }

    /// What is found next.
    pub(crate) async fn next(&mut self) -> Observation {
        let next = timeout(PATIENCE, self.observations.recv()).await;
        let (id, observation) = next.expect("it runs soon").expect("it runs");
        assert_eq!(id, "c");
        observation
    }
}

/// Where clients may have programs run.
pub(crate) fn scripts_allowed() -> Allowed {
    Allowed { scripts_of_clients: true, ..Allowed::default() }
}

/// What the first run of a check by this rule finds.
pub(crate) async fn first_result(rule: Rule, limit: Duration) -> Observation {
    let mut house = House::new(Arc::new(Real::new()), scripts_allowed());
    house.run(rule, limit);
    house.next().await
}

/// The same with time enough.
pub(crate) async fn result(rule: Rule) -> Observation {
    first_result(rule, Duration::from_secs(5)).await
}
