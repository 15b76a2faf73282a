//! One body each way, over real sockets.

use super::*;

#[tokio::test]
async fn a_call_is_answered_and_both_sides_know_each_other() {
    let (port, pool) = (port(), pool());
    assert_eq!(port.call(&pool, ECHO, "ping").await, Ok("ping".into()));
    let exchange = port.open(&pool, Lane::Call, MIRROR).await;
    assert_eq!(exchange.peer().hello, hello("acceptor"));
    assert_eq!(exchange.peer().address, port.address.into());
    let seen = port.site.seen.lock().expect("whole");
    assert_eq!((&seen[0].hello, seen[0].lane), (&hello("dialer"), Lane::Call));
    assert_eq!((seen[0].version, seen.len()), (1, 1));
}

#[tokio::test]
async fn bodies_of_any_size_come_back_whole() {
    let (port, pool) = (port(), pool());
    for bytes in [0, 1, 1 << 10, 16 << 10, (16 << 10) + 1, 1 << 20, 8 << 20] {
        let body: Bytes = (0..bytes).map(|n| (n % 251) as u8).collect::<Vec<_>>().into();
        let answer = pool.call(port.address, Lane::Bulk, ECHO, body.clone(), soon()).await;
        assert!(answer == Ok(body), "{bytes} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_at_a_time_share_a_connection_and_are_answered_in_any_order() {
    let (port, pool) = (port(), pool());
    let mut parked = Vec::new();
    for _ in 0..10 {
        let (pool, to) = (pool.clone(), port.address);
        let body = Bytes::new();
        parked
            .push(tokio::spawn(async move { pool.call(to, Lane::Call, PARK, body, soon()).await }));
        within(port.site.parked.notified()).await;
    }
    let calls: Vec<_> = (0..2_000_u32)
        .map(|n| {
            let (pool, to) = (pool.clone(), port.address);
            tokio::spawn(async move {
                let body = Bytes::from(n.to_string());
                assert_eq!(pool.call(to, Lane::Call, ECHO, body.clone(), soon()).await, Ok(body));
            })
        })
        .collect();
    for call in calls {
        within(call).await.expect("answered");
    }
    port.site.release.add_permits(10);
    for call in parked {
        assert_eq!(within(call).await.expect("joined"), Ok("released".into()));
    }
    assert_eq!(port.running.counters().connections, 1);
    assert_eq!(port.running.counters().exchanges, 2_010);
}

#[tokio::test]
async fn a_refusal_carries_the_words_of_the_handler() {
    let (port, pool) = (port(), pool());
    assert_eq!(port.call(&pool, REFUSE, "no").await, Err(Fault::Refused("no".into())));
}

#[tokio::test]
async fn a_handler_that_gives_no_answer_loses_the_call_and_nothing_else() {
    let (port, pool) = (port(), pool());
    for method in [FORGET, PANIC] {
        let fault = port.call(&pool, method, "").await.expect_err("no answer");
        assert!(matches!(fault, Fault::Lost(_)), "{fault}");
        assert!(fault.may_have_been_served());
    }
    assert_eq!(port.call(&pool, ECHO, "on").await, Ok("on".into()));
    assert_eq!(port.running.counters().connections, 1);
}

#[tokio::test]
async fn a_body_over_the_limit_of_the_other_side_is_not_sent() {
    let limits = Limits { body_bytes_max: 1_000, ..Limits::default() };
    let (port, pool) = (port_with(limits), pool());
    let body = Bytes::from(vec![0; 1_001]);
    let fault = pool.call(port.address, Lane::Call, ECHO, body, soon()).await;
    assert_eq!(fault, Err(Fault::TooLarge { bytes: 1_001, bytes_max: 1_000 }));
    assert_eq!(port.running.counters().exchanges, 0);
    let largest = Bytes::from(vec![0; 1_000]);
    assert!(pool.call(port.address, Lane::Call, ECHO, largest, soon()).await.is_ok());
}

#[tokio::test]
async fn an_answer_over_the_limit_of_the_opener_is_told_and_not_sent() {
    let limits = Limits { body_bytes_max: 1_000, ..Limits::default() };
    let (port, pool) = (port(), pool_with(limits));
    let too_large = Fault::TooLarge { bytes: 1_001, bytes_max: 1_000 };
    assert_eq!(port.call(&pool, LARGE, "1001").await, Err(too_large));
    assert!(port.call(&pool, LARGE, "1000").await.is_ok());
    assert_eq!(pool.counters().connections, 1);
}

#[tokio::test]
async fn one_exchange_more_than_the_limit_is_turned_away() {
    let limits = Limits { exchanges_max: 2, ..Limits::default() };
    let (port, pool) = (port_with(limits), pool());
    let first = port.open(&pool, Lane::Call, PARK).await;
    let second = port.open(&pool, Lane::Call, PARK).await;
    assert_eq!(port.call(&pool, ECHO, "").await, Err(Fault::Busy));
    drop((first, second));
    assert_eq!(port.call(&pool, ECHO, "on").await, Ok("on".into()));
}

#[tokio::test]
async fn first_bodies_of_what_is_served_are_bounded_together() {
    let limits = Limits { bodies_bytes_max: 1_000, ..Limits::default() };
    let (port, pool) = (port_with(limits), pool());
    let heavy = Bytes::from(vec![0; 2_000]);
    // One is served whatever its size.
    let parked = pool.open(port.address, Lane::Call, PARK, heavy, soon()).await.expect("opens");
    within(port.site.parked.notified()).await;
    assert_eq!(port.call(&pool, ECHO, "x").await, Err(Fault::Busy));
    assert_eq!(port.running.counters().exchanges_busy, 1);
    drop(parked);
    assert_eq!(port.call(&pool, ECHO, "x").await, Ok("x".into()));
}

#[tokio::test]
async fn a_call_that_is_given_up_drops_the_future_of_its_handler() {
    let (port, pool) = (port(), pool());
    tokio::select! {
        biased;
        _ = port.call(&pool, PARK, "") => panic!("nobody releases it"),
        () = port.site.parked.notified() => {}
    }
    within(port.site.dropped.notified()).await;
    assert_eq!(port.call(&pool, ECHO, "on").await, Ok("on".into()));
}

#[tokio::test]
async fn a_caller_whose_connection_ends_drops_the_futures_of_its_handlers() {
    let (port, pool) = (port(), pool());
    let exchange = port.open(&pool, Lane::Call, PARK).await;
    within(port.site.parked.notified()).await;
    drop(pool);
    within(port.site.dropped.notified()).await;
    let (_sender, mut receiver) = exchange.split();
    assert_eq!(within(receiver.next()).await, Err(Fault::Stopped));
}

#[tokio::test]
async fn lanes_are_connections_of_their_own() {
    let (port, pool) = (port(), pool());
    for lane in [Lane::Urgent, Lane::Log, Lane::Call, Lane::Bulk, Lane::Urgent] {
        let answer = pool.call(port.address, lane, ECHO, Bytes::new(), soon()).await;
        assert_eq!(answer, Ok(Bytes::new()));
    }
    assert_eq!(port.running.counters().connections, 4);
}

#[tokio::test]
async fn targets_of_one_address_and_different_names_share_no_connection() {
    let (port, pool) = (port(), pool());
    for name in ["server.dc1", "server.dc2"] {
        let target = Target { address: port.address, name: Some(name.into()) };
        assert!(pool.call(target, Lane::Call, ECHO, Bytes::new(), soon()).await.is_ok());
    }
    assert_eq!(port.running.counters().connections, 2);
}
