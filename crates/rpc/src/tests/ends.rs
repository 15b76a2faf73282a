//! Peers that stop, restart, and are forgotten, over real sockets.

use super::*;

#[tokio::test]
async fn after_a_restart_of_the_peer_the_next_call_works() {
    let (first, pool) = (port(), pool());
    let address = first.address;
    assert_eq!(first.call(&pool, ECHO, "one").await, Ok("one".into()));
    assert_eq!(within(first.running.stop(PATIENCE)).await, Drained::Whole);
    let second = port_at(&Real::new(), address, Limits::default(), Site::new());
    assert_eq!(second.call(&pool, ECHO, "two").await, Ok("two".into()));
    assert_eq!(pool.counters().connections, 2);
}

#[tokio::test]
async fn a_clean_stop_lets_what_is_open_end_and_takes_nothing_more() {
    let (port, pool) = (port(), pool());
    let Port { running, site, address } = port;
    let call = |method| {
        let pool = pool.clone();
        tokio::spawn(
            async move { pool.call(address, Lane::Call, method, Bytes::new(), soon()).await },
        )
    };
    let parked = call(PARK);
    within(site.parked.notified()).await;
    let stopping = tokio::spawn(running.stop(PATIENCE));
    // The port closes at once; the connection, as soon as the dialer has heard of it.
    let fault = within(async {
        loop {
            if let Err(fault) = call(ECHO).await.expect("joined") {
                break fault;
            }
        }
    });
    let fault = fault.await;
    assert!(matches!(fault, Fault::Unreachable(_) | Fault::Stopped), "{fault}");
    site.release.add_permits(1);
    assert_eq!(within(parked).await.expect("joined"), Ok("released".into()));
    assert_eq!(within(stopping).await.expect("joined"), Drained::Whole);
}

#[tokio::test]
async fn a_stop_at_its_deadline_cuts_what_is_left() {
    let (port, pool) = (port(), pool());
    let mut exchange = port.open(&pool, Lane::Call, PARK).await;
    within(port.site.parked.notified()).await;
    assert_eq!(within(port.running.stop(Duration::ZERO)).await, Drained::Cut);
    within(port.site.dropped.notified()).await;
    let fault = within(exchange.next()).await.expect_err("cut");
    assert!(matches!(&fault, Fault::Lost(what) if what.contains("stopped")), "{fault}");
}

#[tokio::test]
async fn a_port_that_is_dropped_closes_at_once() {
    let (port, pool) = (port(), pool());
    let mut exchange = port.open(&pool, Lane::Call, PARK).await;
    within(port.site.parked.notified()).await;
    drop(port.running);
    within(port.site.dropped.notified()).await;
    assert!(within(exchange.next()).await.is_err());
}

#[tokio::test]
async fn a_forgotten_address_keeps_what_is_open_and_is_dialed_anew() {
    let (port, pool) = (port(), pool());
    let mut open = port.open(&pool, Lane::Call, MIRROR).await;
    pool.forget(port.address);
    assert_eq!(port.call(&pool, ECHO, "new").await, Ok("new".into()));
    assert_eq!(pool.counters().connections, 2);
    open.send("old".into()).await.expect("it goes");
    assert_eq!(within(open.next()).await, Ok(Some("old".into())));
    open.finish().expect("it ends");
    assert_eq!(within(open.next()).await, Ok(None));
    within(async {
        while pool.counters().connections_open > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_pool_keeps_no_more_targets_than_its_limit() {
    let (port, pool) = (port(), pool_with(Limits { targets_max: 2, ..Limits::default() }));
    let call = |lane| pool.call(port.address, lane, ECHO, Bytes::new(), soon());
    assert!(call(Lane::Urgent).await.is_ok());
    assert!(call(Lane::Log).await.is_ok());
    assert_eq!(call(Lane::Call).await, Err(Fault::Busy));
    pool.forget(port.address);
    assert!(call(Lane::Call).await.is_ok());
}
