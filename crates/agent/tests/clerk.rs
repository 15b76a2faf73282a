//! A server that does what other agents ask of it, spoken to as bytes.

mod servers;

use bytes::Bytes;
use muster_agent::wire::{self, Follow, News, Wanted};
use muster_model::{Scope, encode};
use muster_registry::Refusal;
use muster_registry::hub::HISTORY_CHANGES_MAX;
use muster_rpc::{Exchange, Fault, Lane, Pool};
use muster_testkit::Bench;

use servers::{Site, pool, soon, until, within};

/// A stream of changes. The pool has to live as long as it.
async fn follow(pool: &Pool, site: &Site) -> Exchange {
    let body = encode(&Follow::default());
    let opened = pool.open(site.address, Lane::Call, wire::CHANGES, body, soon()).await;
    opened.expect("the server is there")
}

async fn next(exchange: &mut Exchange) -> News {
    let item = within(exchange.next()).await.expect("not broken").expect("not ended");
    muster_model::decode(&item).expect("news")
}

async fn want(exchange: &mut Exchange, number: u64, since: u64, scopes: Vec<Scope>) {
    let item = encode(&Wanted::More { number, since, scopes });
    within(exchange.send(item)).await.expect("sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_missed_is_told_before_a_scope_is_settled_and_what_follows_after() {
    let bench = Bench::new();
    let (missed, _) = (bench.put("a", "1"), bench.put("b", "1"));
    let site = Site::start(bench.clone());
    let pool = pool();
    let mut exchange = follow(&pool, &site).await;
    assert!(matches!(next(&mut exchange).await, News::Still { index: 2, term: 1, .. }));
    want(&mut exchange, 7, 0, vec![Scope::Pair("a".into())]).await;
    let News::Changed(index, changes) = next(&mut exchange).await else { panic!("not missed") };
    assert_eq!((index, &changes[0].scopes), (missed, &vec![Scope::Pair("a".into())]));
    assert_eq!(next(&mut exchange).await, News::Settled(7));
    bench.put("b", "2");
    let index = bench.put("a", "2");
    assert!(matches!(next(&mut exchange).await, News::Changed(at, _) if at == index));
    let less = encode(&Wanted::Less(vec![Scope::Pair("a".into())]));
    within(exchange.send(less)).await.expect("sent");
    want(&mut exchange, 8, index, vec![Scope::Pair("c".into())]).await;
    assert_eq!(next(&mut exchange).await, News::Settled(8));
    bench.put("a", "3");
    let index = bench.put("c", "1");
    assert!(matches!(next(&mut exchange).await, News::Changed(at, _) if at == index));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_leader_is_told_at_once() {
    let bench = Bench::new();
    let site = Site::start(bench.clone());
    let pool = pool();
    let mut exchange = follow(&pool, &site).await;
    assert!(matches!(next(&mut exchange).await, News::Still { term: 1, .. }));
    want(&mut exchange, 1, 0, vec![Scope::Pair("a".into())]).await;
    assert_eq!(next(&mut exchange).await, News::Settled(1));
    site.term.send_replace(2);
    // By itself the word that everything was told would come seconds later.
    let mut is_told = false;
    for value in ["1", "2"] {
        let index = bench.put("a", value);
        loop {
            match next(&mut exchange).await {
                News::Changed(at, _) if at == index => break,
                News::Still { term: 2, .. } => is_told = true,
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(is_told, "two changes came under a leader that nobody told of");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_slow_is_told_that_it_has_lost_changes() {
    let bench = Bench::new();
    let site = Site::start(bench.clone());
    let pool = pool();
    let mut exchange = follow(&pool, &site).await;
    next(&mut exchange).await;
    want(&mut exchange, 1, 0, vec![Scope::Pair("a".into())]).await;
    assert_eq!(next(&mut exchange).await, News::Settled(1));
    for n in 0..2 * HISTORY_CHANGES_MAX {
        bench.put("a", &n.to_string());
    }
    let lost_at = loop {
        match next(&mut exchange).await {
            News::Lost(index) => break index,
            News::Changed(..) | News::Still { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(lost_at <= bench.state().index());
    // From there on it goes on as before.
    let index = bench.put("a", "last");
    loop {
        match next(&mut exchange).await {
            News::Changed(at, _) if at == index => break,
            News::Changed(at, _) | News::Still { index: at, .. } => assert!(at <= index),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_make_no_sense_are_refused_with_words() {
    let site = Site::start(Bench::new());
    let pool = pool();
    for method in [wire::SUBMIT, wire::ASK, wire::RENEW] {
        let body = Bytes::from_static(b"\xff\x00nonsense");
        let answer = pool.call(site.address, Lane::Call, method, body, soon()).await;
        let Err(Fault::Refused(words)) = answer else { panic!("{answer:?}") };
        assert!(words.starts_with(b"a server does not understand"), "{words:?}");
    }
    for method in [wire::CHANGES, wire::ASK_IN_PIECES] {
        let body = Bytes::from_static(b"\xff");
        let opened = pool.open(site.address, Lane::Call, method, body, soon()).await;
        let mut exchange = opened.expect("the server is there");
        assert!(matches!(within(exchange.next()).await, Err(Fault::Refused(_))));
    }
    let mut exchange = follow(&pool, &site).await;
    drop(exchange.next().await);
    let _ = exchange.send(Bytes::from_static(b"nonsense")).await;
    while let Ok(Some(_)) = within(exchange.next()).await {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_changes_ends_with_its_reader_and_with_the_clerk() {
    let site = Site::start(Bench::new());
    let (here, gone) = (pool(), pool());
    let mut staying = follow(&here, &site).await;
    let mut breaking_off = follow(&here, &site).await;
    let mut dying = follow(&gone, &site).await;
    for exchange in [&mut staying, &mut breaking_off, &mut dying] {
        next(exchange).await;
    }
    assert_eq!(site.clerk.n_followers(), 3);
    drop(breaking_off);
    until(|| site.clerk.n_followers() == 2).await;
    // Its connection dies with the pool, as with a process.
    drop((dying, gone));
    until(|| site.clerk.n_followers() == 1).await;
    site.clerk.close();
    while let Ok(Some(_)) = within(staying.next()).await {}
    until(|| site.clerk.n_followers() == 0).await;
    let submit = wire::Submit {
        asker: wire::Asker::default(),
        command: muster_model::Command::ReapTombstones { up_to: 0 },
    };
    let called = here.call(site.address, Lane::Call, wire::SUBMIT, encode(&submit), soon()).await;
    assert_eq!(wire::unpack_committed(&called.expect("an answer")), Err(Refusal::NoLeader));
}
