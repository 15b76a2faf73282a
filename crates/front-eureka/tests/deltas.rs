//! A client that adds deltas to a whole has what the hash code counts, whatever happens.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use muster_front_eureka::Front;
use muster_model::command::Target;
use muster_model::{Command, Status};
use muster_registry::operator::MetricValue;
use muster_testkit::catalog;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::House;

/// What a client keeps: words by application and id.
type Known = BTreeMap<(String, String), String>;

fn take(known: &mut Known, applications: &Value) {
    for app in applications["application"].as_array().unwrap() {
        for instance in app["instance"].as_array().unwrap() {
            let text = |name: &str| instance[name].as_str().unwrap().to_owned();
            let key = (text("app"), text("instanceId"));
            match text("actionType").as_str() {
                "DELETED" => drop(known.remove(&key)),
                _ => drop(known.insert(key, text("status"))),
            }
        }
    }
}

fn hash_code(known: &Known) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for word in known.values() {
        *counts.entry(word).or_default() += 1;
    }
    counts.iter().map(|(word, count)| format!("{word}_{count}_")).collect()
}

async fn whole(house: &House) -> Known {
    let mut known = Known::new();
    take(&mut known, &house.json("/eureka/apps").await["applications"]);
    known
}

/// How many instances the front-end keeps.
fn n_kept(house: &House) -> f64 {
    let metrics = house.front.metrics();
    let found = metrics.iter().find(|metric| *metric.name == *"eureka.instances").unwrap();
    let MetricValue::Gauge(value) = found.value else { panic!("no gauge") };
    value
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_where_nobody_speaks_eureka() {
    let house = House::new();
    tokio::spawn(Front::keep_up(Arc::downgrade(&house.front)));
    house.bench.register("n1", catalog::instance("web-1", "web", 80), Vec::new());
    for _ in 0..8 {
        tokio::time::advance(Duration::from_secs(10)).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(n_kept(&house), 0.0);
    // Another server's client registers: from then on this one keeps up, though nobody asks it.
    House::over(&house.bench).register("FOO", "i-1", json!({})).await;
    for _ in 0..8 {
        tokio::time::advance(Duration::from_secs(10)).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(n_kept(&house), 2.0);
}

/// Something that happens to the registry, in any tongue.
#[derive(Clone, Debug)]
enum Deed {
    Register(usize, usize, &'static str),
    Cancel(usize, usize),
    Overrule(usize, usize, &'static str),
    Vouch(usize, Status),
    Forget(usize),
    Expire,
    Pause(u64),
}

const APPS: [&str; 2] = ["FOO", "BAR"];
const IDS: [&str; 3] = ["i1", "i2", "i3"];
const WORDS: [&str; 4] = ["UP", "DOWN", "STARTING", "OUT_OF_SERVICE"];

fn any_deed() -> impl Strategy<Value = Deed> {
    let place = (0..APPS.len(), 0..IDS.len());
    let word = proptest::sample::select(&WORDS[..]);
    prop_oneof![
        4 => (place.clone(), word.clone()).prop_map(|((app, id), word)| Deed::Register(app, id, word)),
        2 => place.clone().prop_map(|(app, id)| Deed::Cancel(app, id)),
        2 => (place, word).prop_map(|((app, id), word)| Deed::Overrule(app, id, word)),
        2 => (0..2_usize, proptest::sample::select(&Status::ALL[..]))
            .prop_map(|(node, status)| Deed::Vouch(node, status)),
        1 => (0..2_usize).prop_map(Deed::Forget),
        1 => Just(Deed::Expire),
        3 => (1..100_u64).prop_map(Deed::Pause),
    ]
}

async fn happens(house: &House, deed: &Deed) {
    match deed {
        Deed::Register(app, id, word) => {
            let more = json!({"status": word, "hostName": format!("h{id}")});
            house.register(APPS[*app], IDS[*id], more).await;
        }
        Deed::Cancel(app, id) => {
            house.ask("DELETE", &format!("/eureka/apps/{}/{}", APPS[*app], IDS[*id])).await;
        }
        Deed::Overrule(app, id, word) => {
            let (app, id) = (APPS[*app], IDS[*id]);
            house.ask("PUT", &format!("/eureka/apps/{app}/{id}/status?value={word}")).await;
        }
        Deed::Vouch(node, status) => {
            let name = format!("n{node}");
            house.bench.register_node(catalog::node(&name, "10.0.0.7"));
            let checks = vec![catalog::check("alive", "", *status)];
            house.bench.register(&name, catalog::instance("web", "FOO", 1), checks);
        }
        Deed::Forget(node) => {
            let node = format!("n{node}").into();
            house.bench.apply(Command::Deregister { node, target: Target::Node });
        }
        Deed::Expire => house.bench.advance(Duration::from_secs(90)),
        Deed::Pause(seconds) => tokio::time::advance(Duration::from_secs(*seconds)).await,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn deltas_lead_from_one_whole_to_the_next(
        deeds in proptest::collection::vec((any_deed(), any::<bool>()), 1..40)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let held: Result<(), TestCaseError> = runtime.block_on(async {
            let house = House::new();
            let mut known = whole(&house).await;
            let mut asked_at = tokio::time::Instant::now();
            for (deed, asks) in &deeds {
                happens(&house, deed).await;
                // A client is away for less than three minutes.
                if *asks || asked_at.elapsed() > Duration::from_secs(79) {
                    let delta = house.json("/eureka/apps/delta").await["applications"].take();
                    take(&mut known, &delta);
                    prop_assert_eq!(hash_code(&known), delta["apps__hashcode"].as_str().unwrap());
                    prop_assert_eq!(&known, &whole(&house).await);
                    asked_at = tokio::time::Instant::now();
                }
            }
            Ok(())
        });
        held?;
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_is_told_for_three_minutes_once_and_with_its_last_state() {
    let house = House::new();
    whole(&house).await;
    house.register("FOO", "i1", json!({})).await;
    house.register("FOO", "i1", json!({"status": "DOWN"})).await;
    let told = |delta: &Value| {
        let apps = delta["applications"]["application"].as_array().unwrap().clone();
        let all = apps.iter().flat_map(|app| app["instance"].as_array().unwrap().clone());
        all.map(|own| own["status"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(told(&house.json("/eureka/apps/delta").await), ["DOWN"]);
    tokio::time::advance(Duration::from_secs(180)).await;
    assert_eq!(told(&house.json("/eureka/apps/delta").await), ["DOWN"]);
    tokio::time::advance(Duration::from_secs(20)).await;
    let delta = house.json("/eureka/apps/delta").await;
    assert!(told(&delta).is_empty());
    assert_eq!(delta["applications"]["apps__hashcode"], "DOWN_1_");
}

/// py-eureka-client adds a delta to what it knows unless it saw its number and hash code before, cannot
/// add an application that is new to it, finds so by the hash code, and fetches the whole. If that
/// fails, only another number makes it try again.
#[tokio::test(start_paused = true)]
async fn a_client_that_missed_a_whole_is_soon_told_another_number() {
    let house = House::new();
    house.register("FOO", "i1", json!({})).await;
    let number = async || {
        let delta = house.json("/eureka/apps/delta").await["applications"].take();
        delta["versions__delta"].as_str().unwrap().to_owned()
    };
    let first = number().await;
    assert_eq!(number().await, first, "it is made once for all who ask at the same time");
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_ne!(number().await, first);
    // What two servers number alike is not the same: neither counts from the start.
    assert!(first.parse::<u64>().unwrap() >= support::NOW.as_millis() as u64);
}

#[tokio::test(start_paused = true)]
async fn what_no_client_can_see_is_no_change() {
    let house = House::new();
    house.bench.register_node(catalog::node("n1", "10.0.0.7"));
    let checks = vec![catalog::check("alive", "web-1", Status::Passing)];
    house.bench.register("n1", catalog::instance("web-1", "web", 1), checks);
    let before = house.ask("GET", "/eureka/apps/delta").await;
    house.bench.update_check("n1", "alive", Status::Warning);
    house.ask("PUT", "/eureka/apps/WEB/nope").await;
    assert_eq!(house.ask("GET", "/eureka/apps/delta").await, before);
}

#[tokio::test(start_paused = true)]
async fn without_a_leader_the_last_known_is_given() {
    let house = House::new();
    house.register("FOO", "i1", json!({})).await;
    let before = house.ask("GET", "/eureka/apps").await;
    house.bench.refuse(Some(muster_registry::Refusal::NoLeader));
    assert_eq!(house.ask("PUT", "/eureka/apps/FOO/i1").await.status, 503);
    assert_eq!(house.ask("GET", "/eureka/apps").await, before);
}
