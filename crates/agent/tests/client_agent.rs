//! A node without state: what goes to servers, what is kept, and what happens when servers go.

mod servers;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use muster_agent::client::{Again, ClientSettings};
use muster_agent::wire;
use muster_model::answer::Body;
use muster_model::{Command, Index, LeaseId, Meta, Query, Scope};
use muster_registry::{Answered, Call, Freshness, Refusal, Registry};
use muster_testkit::Bench;
use muster_testkit::catalog::node;
use tokio::time::Instant;

use servers::{House, Replica, Site, add_instance, service, settings, soon, until, within};

fn n_instances(answered: &Answered) -> usize {
    let Body::Instances(rows) = &answered.answer.body else { panic!("not instances") };
    rows.len()
}

fn put(key: &str) -> Command {
    let terms = muster_model::command::PutTerms::Always;
    Command::PutPair { key: key.into(), value: b"v"[..].into(), flags: 0, terms }
}

fn pair(key: &str) -> Query {
    Query::Pair { key: key.into() }
}

fn bench() -> Arc<Bench> {
    let bench = Bench::new();
    bench.register_node(node("n1", "10.0.0.1"));
    add_instance(&bench, "web", "web-1");
    bench
}

// ------------------------------------------------------------------------------------------------
// Going to servers
// ------------------------------------------------------------------------------------------------

fn session(id: &str) -> LeaseId {
    LeaseId::Session(id.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_goes_to_a_server_and_the_next_question_sees_it() {
    let bench = bench();
    let site = Site::start(bench.clone());
    let house = House::new(&[&site]);
    let committed = within(house.client.submit(&house.call, put("a"))).await.unwrap();
    assert_eq!(committed.index, bench.state().index());
    for freshness in [Freshness::Default, Freshness::Consistent, Freshness::Stale] {
        let answered = house.ask(&pair("a"), freshness).await.unwrap();
        assert!(matches!(&answered.answer.body, Body::Pair(Some(_))));
        assert_eq!(answered.standing.freshness, freshness);
        assert!(answered.as_of >= committed.index);
    }
    bench.create_session("s", "n1");
    assert_eq!(within(house.client.renew(&house.call, &session("s"))).await, Ok(()));
    let refusal = within(house.client.renew(&house.call, &session("t"))).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Unknown(_)), "{refusal}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_the_servers_own_and_its_own_datacenter_needs_no_name() {
    let site = Site::start(bench());
    let house = House::new(&[&site]);
    let far = Call { datacenter: Some("dc9".into()), ..Call::default() };
    let refused = within(house.client.submit(&far, put("a"))).await;
    assert_eq!(refused, Err(Refusal::NoDatacenter("dc9".into())));
    let asked = within(house.client.ask(&far, &pair("a"), Freshness::Default)).await;
    assert_eq!(asked.err(), Some(Refusal::NoDatacenter("dc9".into())));
    let own = Call { datacenter: Some("dc1".into()), ..Call::default() };
    assert!(within(house.client.submit(&own, put("a"))).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_server_dies_another_is_asked() {
    let bench = bench();
    let (one, other) = (Site::start(bench.clone()), Site::start(bench));
    let house = House::new(&[&one, &other]).in_contact().await;
    let mut sites = vec![one, other];
    let current = house.client.forward().servers().current();
    for n in 0..2_u16 {
        within(house.client.submit(&house.call, put(&format!("k{n}")))).await.unwrap();
        house.ask(&pair("k0"), Freshness::Default).await.unwrap();
        if n == 0 {
            let used = current.borrow().expect("it has one");
            let at = sites.iter().position(|site| site.address == used).unwrap();
            sites.remove(at).die().await;
        }
    }
    assert_eq!(*current.borrow(), Some(sites[0].address));
    until(|| house.client.is_in_contact()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_fate_is_unknown_is_not_sent_twice() {
    let bench = bench();
    let sites = [Site::start(bench.clone()), Site::start(bench)];
    sites.iter().for_each(|site| site.forgets.store(true, Ordering::SeqCst));
    let house = House::new(&[&sites[0], &sites[1]]);
    let refused = within(house.client.submit(&house.call, put("a"))).await;
    assert_eq!(refused, Err(Refusal::Late));
    assert_eq!(sites.iter().map(|site| site.n_served(wire::SUBMIT)).sum::<usize>(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_a_leader_is_left_for_one_that_has_one() {
    let bench = bench();
    let (cut_off, well) = (Replica::of(&bench), Replica::of(&bench));
    let sites = [Site::start(cut_off.clone()), Site::start(well.clone())];
    let house = House::new(&[&sites[0], &sites[1]]).in_contact().await;
    for replica in [&cut_off, &well] {
        replica.has_leader.store(false, Ordering::SeqCst);
        within(house.client.submit(&house.call, put("a"))).await.unwrap();
        house.ask(&pair("a"), Freshness::Default).await.unwrap();
        replica.has_leader.store(true, Ordering::SeqCst);
    }
    cut_off.has_leader.store(false, Ordering::SeqCst);
    well.has_leader.store(false, Ordering::SeqCst);
    let deadline = Some(Instant::now() + Duration::from_millis(300));
    let call = Call { deadline, ..Call::default() };
    let refused = within(house.client.submit(&call, put("b"))).await.unwrap_err();
    // The deadline may come while a server is being asked.
    assert!(matches!(refused, Refusal::NoLeader | Refusal::Late), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_told_of_late_are_found_by_those_who_wait() {
    let site = Site::start(bench());
    let house = House::new(&[]);
    let deadline = Some(Instant::now() + Duration::from_millis(100));
    let call = Call { deadline, ..Call::default() };
    let refused = within(house.client.submit(&call, put("a"))).await;
    assert_eq!(refused, Err(Refusal::NoLeader));
    let client = house.client.clone();
    let waiting = tokio::spawn(async move {
        let call = Call { deadline: Some(soon()), ..Call::default() };
        client.submit(&call, put("a")).await
    });
    tokio::task::yield_now().await;
    house.known.send_replace([site.address].into());
    assert!(within(waiting).await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_answer_comes_in_pieces() {
    let bench = bench();
    for n in 0..5 {
        bench.put(&format!("long/{n}"), &"x".repeat(500 << 10));
    }
    let site = Site::start(bench);
    let house = House::new(&[&site]);
    let query = Query::PairsUnder { prefix: "long/".into() };
    let answered = house.ask(&query, Freshness::Default).await.unwrap();
    let Body::Pairs(rows) = &answered.answer.body else { panic!("not pairs") };
    assert!(rows.len() == 5 && rows.iter().all(|row| row.value.value.len() == 500 << 10));
    assert_eq!(site.n_served(wire::ASK_IN_PIECES), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_operators_want_is_carried_as_bytes() {
    let site = Site::start(bench());
    let house = House::new(&[&site]);
    let renew = wire::Renew { asker: wire::Asker::default(), lease: session("s") };
    let body = muster_model::encode(&renew);
    let carried = house.client.forward().call(wire::RENEW, body, Again::Always, soon());
    let answer = within(carried).await.unwrap();
    assert!(matches!(wire::unpack_done(&answer), Err(Refusal::Unknown(_))));
}

// ------------------------------------------------------------------------------------------------
// Waiting for changes
// ------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_watchers_of_one_service_cost_one_stream_and_few_questions() {
    let bench = bench();
    let site = Site::start(bench.clone());
    let house = House::new(&[&site]).in_contact().await;
    let seen = house.ask(&service("web"), Freshness::Default).await.unwrap().answer.index;
    let watchers: Vec<_> = (0..1_000)
        .map(|_| {
            let client = house.client.clone();
            tokio::spawn(async move {
                let (call, query) = (Call::default(), service("web"));
                let fresh = Freshness::Default;
                muster_registry::watch(&*client, &call, &query, fresh, seen, soon()).await
            })
        })
        .collect();
    // Each of them has asked, and now waits for the change.
    let metric = |name: &str| {
        let all = house.client.metrics();
        let found = all.iter().find(|metric| *metric.name == *name).expect("it is told").value;
        match found {
            muster_registry::operator::MetricValue::Gauge(value) => value,
            other => panic!("{other:?} is no gauge"),
        }
    };
    until(|| metric("client.scopes") >= 1.0 && metric("client.questions") == 0.0).await;
    let n_before = site.n_served(wire::ASK);
    let index = add_instance(&bench, "web", "web-2");
    for watcher in watchers {
        let answered = within(watcher).await.unwrap().unwrap();
        assert!(answered.answer.index >= index && n_instances(&answered) == 2);
    }
    assert!(site.n_served(wire::ASK) - n_before < 50, "{}", site.n_served(wire::ASK) - n_before);
    assert_eq!(site.n_served(wire::CHANGES), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_at_another_server_and_misses_nothing() {
    let bench = bench();
    let mut site = Site::start(bench.clone());
    let house = House::new(&[&site]).in_contact().await;
    let mut seen = house.ask(&service("web"), Freshness::Default).await.unwrap();
    for n in 2..5 {
        let scopes = &seen.answer.scopes;
        let mut changes = house.client.changes(&house.call, scopes, seen.as_of);
        site.die().await;
        // Changed while nobody tells of it, and then something else.
        let index = add_instance(&bench, "web", &format!("web-{n}"));
        bench.put("noise", &n.to_string());
        site = Site::start(bench.clone());
        house.known.send_replace([site.address].into());
        within(changes.touched()).await;
        seen = house.ask(&service("web"), Freshness::Default).await.unwrap();
        assert_eq!((seen.answer.index, n_instances(&seen)), (index, n));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lost_changes_looks_again() {
    let bench = bench();
    let site = Site::start(bench.clone());
    let house = House::new(&[&site]).in_contact().await;
    let seen = house.next(&service("web"), Freshness::Stale, 0).await;
    let mut changes = house.client.changes(&house.call, &seen.answer.scopes, seen.as_of);
    site.die().await;
    add_instance(&bench, "web", "web-2");
    for n in 0..=muster_registry::hub::HISTORY_CHANGES_MAX {
        bench.put("noise", &n.to_string());
    }
    let site = Site::start(bench.clone());
    house.known.send_replace([site.address].into());
    within(changes.touched()).await;
    assert!(within(changes.next()).await.is_err(), "what changed is lost");
    let now = house.next(&service("web"), Freshness::Stale, seen.answer.index).await;
    assert_eq!(n_instances(&now), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changed_is_told_in_order_once_the_scope_is_settled() {
    let bench = bench();
    let site = Site::start(bench.clone());
    let house = House::new(&[&site]).in_contact().await;
    let scopes = [Scope::Service("web".into())];
    // As long as the server has not been told of the scope, nothing is known of its past.
    let mut changes = within(async {
        loop {
            let index = bench.put("k", "v");
            let mut changes = house.client.changes(&house.call, &scopes, index);
            let first = add_instance(&bench, "web", &format!("web-{index}"));
            if let Ok((at, objects)) = changes.next().await {
                assert!(at == first && !objects.is_empty());
                return changes;
            }
        }
    })
    .await;
    let indexes: Vec<Index> =
        (0..3).map(|n| add_instance(&bench, "web", &format!("more-{n}"))).collect();
    for index in indexes {
        assert_eq!(within(changes.next()).await.unwrap().0, index);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_leader_is_noticed() {
    let site = Site::start(bench());
    let house = House::new(&[&site]).in_contact().await;
    let mut n_leaders = house.client.n_leaders();
    let before = *within(n_leaders.wait_for(|now| *now >= 1)).await.unwrap();
    site.term.send_replace(2);
    within(n_leaders.wait_for(|now| *now > before)).await.unwrap();
}

// ------------------------------------------------------------------------------------------------
// Kept answers
// ------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_answer_follows_every_change_without_being_asked_for() {
    let bench = bench();
    let site = Site::start(bench.clone());
    let house = House::new(&[&site]).in_contact().await;
    let web = service("web");
    assert!(house.peek(&web).is_none(), "nobody has asked for it");
    house.ask(&web, Freshness::Stale).await.unwrap();
    for n in 2..10 {
        assert!(house.peek(&web).is_some_and(|kept| kept.standing.knows_leader));
        add_instance(&bench, "web", &format!("web-{n}"));
        until(|| house.peek(&web).is_some_and(|kept| n_instances(&kept) == n)).await;
    }
    let n_asked = site.n_served(wire::ASK);
    for _ in 0..100 {
        bench.put("noise", "x");
        house.ask(&web, Freshness::Stale).await.unwrap();
    }
    assert_eq!(site.n_served(wire::ASK), n_asked, "nothing touched it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_changes_all_the_time_does_not_cost_a_question_each_time() {
    let bench = bench();
    let site = Site::start(bench.clone());
    let house = House::new(&[&site]).in_contact().await;
    let web = service("web");
    house.ask(&web, Freshness::Stale).await.unwrap();
    house.peek(&web);
    let n_before = site.n_served(wire::ASK);
    for n in 0..500 {
        add_instance(&bench, "web", &format!("more-{n}"));
    }
    until(|| house.peek(&web).is_some_and(|kept| n_instances(&kept) == 501)).await;
    assert!(site.n_served(wire::ASK) - n_before < 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_known_good_is_given_with_its_age_when_no_server_is_there() {
    let bench = bench();
    let site = Site::start(bench.clone());
    let house = House::new(&[&site]).in_contact().await;
    let web = service("web");
    house.ask(&web, Freshness::Default).await.unwrap();
    site.die().await;
    until(|| !house.client.is_in_contact()).await;
    let kept = house.peek(&web).expect("it was asked for");
    assert_eq!(n_instances(&kept), 1);
    assert!(!kept.standing.knows_leader && kept.standing.freshness == Freshness::Stale);
    let later = house.ask(&web, Freshness::Stale).await.unwrap();
    assert!(later.standing.last_contact > kept.standing.last_contact);
    let deadline = Some(Instant::now() + Duration::from_millis(200));
    let call = Call { deadline, ..Call::default() };
    for freshness in [Freshness::Default, Freshness::Consistent] {
        let refused = within(house.client.ask(&call, &web, freshness)).await;
        let refusal = refused.expect_err("there is no server");
        assert!(matches!(refusal, Refusal::NoLeader | Refusal::Late), "{refusal}");
    }
    let unknown = within(house.client.ask(&call, &service("api"), Freshness::Stale)).await;
    assert!(unknown.is_err(), "nobody has asked for it before");

    let site = Site::start(bench.clone());
    add_instance(&bench, "web", "web-2");
    house.known.send_replace([site.address].into());
    let now = house.next(&web, Freshness::Stale, later.answer.index).await;
    assert_eq!(n_instances(&now), 2);
    until(|| house.peek(&web).is_some_and(|kept| kept.standing.knows_leader)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_many_ask_for_is_dropped_when_it_is_too_much() {
    let bench = bench();
    let site = Site::start(bench);
    let settings = ClientSettings { kept_answers_max: 8, ..settings() };
    let house = House::with(&[&site], settings).in_contact().await;
    for n in 0..20 {
        house.ask(&service(&format!("s{n}")), Freshness::Stale).await.unwrap();
        assert!(house.peek(&service(&format!("s{n}"))).is_some());
    }
    assert!(house.peek(&service("s0")).is_none());
}

// ------------------------------------------------------------------------------------------------
// Nothing goes back
// ------------------------------------------------------------------------------------------------

/// Two replicas with the same log, of which the second has not applied the last entry.
fn ahead_and_behind() -> (Arc<Replica>, Arc<Replica>) {
    let (ahead, behind) = (bench(), bench());
    add_instance(&ahead, "web", "web-2");
    (Replica::of(&ahead), Replica::of(&behind))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_does_not_go_back_at_a_server_that_is_behind() {
    let (ahead, behind) = ahead_and_behind();
    let first = Site::start(ahead.clone());
    let house = House::new(&[&first]).in_contact().await;
    let web = service("web");
    let seen = house.ask(&web, Freshness::Stale).await.unwrap();
    assert_eq!(n_instances(&seen), 2);

    // The leader and the server that had more are gone.
    behind.has_leader.store(false, Ordering::SeqCst);
    let second = Site::start(behind.clone());
    first.die().await;
    house.known.send_replace([second.address].into());
    until(|| second.n_served(wire::CHANGES) > 0).await;
    until(|| house.client.is_in_contact()).await;
    for _ in 0..5 {
        let again = house.ask(&web, Freshness::Stale).await.unwrap();
        assert_eq!((n_instances(&again), again.answer.index), (2, seen.answer.index));
    }
    // Of what was never asked for, the answer is as far as the server is; who waits on it is woken
    // once it has caught up.
    let services = || Query::Services { node_meta: Meta::default() };
    let known = house.ask(&services(), Freshness::Stale).await.unwrap();
    let client = house.client.clone();
    let seen_index = known.answer.index;
    let waiting = tokio::spawn(async move {
        let (call, query) = (Call::default(), services());
        let stale = Freshness::Stale;
        muster_registry::watch(&*client, &call, &query, stale, seen_index, soon()).await
    });
    add_instance(&behind.bench, "web", "web-2");
    add_instance(&behind.bench, "api", "api-1");
    behind.has_leader.store(true, Ordering::SeqCst);
    let answered = within(waiting).await.unwrap().unwrap();
    assert!(answered.answer.index > seen_index);
    let fresh = house.next(&service("api"), Freshness::Default, 0).await;
    assert_eq!(n_instances(&fresh), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_that_has_reached_what_was_seen_is_asked_instead() {
    let (ahead, behind) = ahead_and_behind();
    behind.has_leader.store(false, Ordering::SeqCst);
    let sites = [Site::start(ahead.clone()), Site::start(behind)];
    for seed in 0..4 {
        let settings = ClientSettings { seed: [seed; 32], ..settings() };
        let house = House::with(&[&sites[0], &sites[1]], settings).in_contact().await;
        let seen = house.ask(&pair("any"), Freshness::Default).await.unwrap();
        assert_eq!(seen.as_of, ahead.bench.state().index());
        let answered = house.ask(&service("web"), Freshness::Stale).await.unwrap();
        assert_eq!(n_instances(&answered), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_begins_anew_is_taken_up() {
    let (more, less) = ahead_and_behind();
    for n in 0..10 {
        more.bench.put("lost", &n.to_string());
    }
    let first = Site::start(more);
    let house = House::new(&[&first]).in_contact().await;
    let web = service("web");
    assert_eq!(n_instances(&house.ask(&web, Freshness::Stale).await.unwrap()), 2);

    // Rescued from a server that had less: it leads, and it knows what it says.
    let second = Site::start(less.clone());
    first.die().await;
    house.known.send_replace([second.address].into());
    let rescued = house.ask(&web, Freshness::Default).await.unwrap();
    assert_eq!(n_instances(&rescued), 1);
    until(|| house.client.is_in_contact()).await;
    add_instance(&less.bench, "web", "web-3");
    let next = house.next(&web, Freshness::Default, rescued.answer.index).await;
    assert_eq!(n_instances(&next), 2);
    let next = house.next(&web, Freshness::Stale, rescued.answer.index).await;
    assert_eq!(n_instances(&next), 2);
}
