//! The bench keeps the promises of the door, as far as they do not need an agent.

use std::time::Duration;

use muster_model::answer::Body;
use muster_model::command::PutTerms;
use muster_model::query::InstanceFilter;
use muster_model::session::Session;
use muster_model::{Command, LeaseId, Outcome, Query, Status};
use muster_registry::{Call, Freshness, Registry, watch};
use muster_testkit::Bench;
use muster_testkit::catalog::{check, instance, node};
use tokio::time::Instant;

fn web() -> Query {
    Query::Instances(InstanceFilter { service: "web".into(), ..InstanceFilter::default() })
}

#[tokio::test]
async fn a_watch_wakes_for_its_own_service_alone() {
    let bench = Bench::new();
    bench.register_node(node("n1", "10.0.0.1"));
    bench.register("n1", instance("web-1", "web", 80), vec![]);
    let seen = bench.answer(&web()).answer.index;
    let watcher = {
        let bench = bench.clone();
        tokio::spawn(async move {
            let until = Instant::now() + Duration::from_secs(30);
            watch(&*bench, &Call::default(), &web(), Freshness::Default, seen, until).await
        })
    };
    tokio::task::yield_now().await;
    let asked_before = bench.n_asked();
    bench.register("n1", instance("db-1", "db", 5432), vec![]);
    tokio::task::yield_now().await;
    assert_eq!(bench.n_asked(), asked_before);
    let index = bench.register("n1", instance("web-2", "web", 81), vec![]);
    let answered = watcher.await.unwrap().unwrap();
    assert_eq!(answered.answer.index, index);
    let Body::Instances(found) = &answered.answer.body else { panic!("instances were asked for") };
    assert_eq!(found.len(), 2);
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_expires_and_closes_its_locks() {
    let bench = Bench::new();
    bench.register_node(node("n1", "10.0.0.1"));
    bench.register_check("n1", check("alive", "", Status::Passing));
    bench.apply(Command::CreateSession(Session {
        id: "s1".into(),
        node: "n1".into(),
        ttl: Duration::from_secs(10),
        lock_delay: Duration::from_secs(5),
        ..Session::default()
    }));
    let acquire = |session: &str| Command::PutPair {
        key: "lock".into(),
        value: b"x"[..].into(),
        flags: 0,
        terms: PutTerms::Acquire(session.into()),
    };
    bench.apply(acquire("s1"));
    let call = Call::default();
    bench.advance(Duration::from_secs(9));
    bench.renew(&call, &LeaseId::Session("s1".into())).await.unwrap();
    bench.advance(Duration::from_secs(9));
    assert!(bench.state().session("s1").is_some());
    bench.advance(Duration::from_secs(1));
    assert!(bench.state().session("s1").is_none());
    assert!(bench.renew(&call, &LeaseId::Session("s1".into())).await.is_err());
    bench.create_session("s2", "n1");
    assert_eq!(bench.submit(&call, acquire("s2")).await.unwrap().outcome, Outcome::Unmet);
    bench.advance(Duration::from_secs(5));
    assert_eq!(bench.submit(&call, acquire("s2")).await.unwrap().outcome, Outcome::Done);
}
