//! Many items, over real sockets: order, ends, and who waits for whom.

use super::*;

fn item(n: u32, bytes: usize) -> Bytes {
    let mut item = n.to_be_bytes().to_vec();
    item.resize(bytes.max(4), 7);
    item.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_go_both_ways_in_order_beyond_any_window() {
    let (port, pool) = (port(), pool());
    let (mut sender, mut receiver) = port.open(&pool, Lane::Log, MIRROR).await.split();
    let sizes = [4, 100, 5_000, 20_000, 300_000];
    let size_of = move |n: u32| sizes[n as usize % sizes.len()];
    let sending = tokio::spawn(async move {
        for n in 0..500 {
            sender.send(item(n, size_of(n))).await.expect("it goes");
        }
        sender.finish().expect("it ends");
    });
    for n in 0..500 {
        let got = within(receiver.next()).await.expect("no fault").expect("not the end");
        assert!(got == item(n, size_of(n)), "item {n}");
    }
    assert_eq!(within(receiver.next()).await, Ok(None));
    within(sending).await.expect("joined");
}

#[tokio::test]
async fn a_reader_that_does_not_read_stops_the_writer_and_nobody_else() {
    let limits = Limits { window_items: 8, ..Limits::default() };
    let (port, pool) = (port_with(limits), pool());
    let mut slow = port.open(&pool, Lane::Call, LATER).await;
    within(port.site.parked.notified()).await;
    for n in 0..8 {
        within(slow.send(item(n, 10))).await.expect("the window takes it");
    }
    {
        let mut ninth = std::pin::pin!(slow.send(item(8, 10)));
        for _ in 0..20 {
            tokio::select! {
                biased;
                _ = &mut ninth => panic!("the window is full"),
                answer = port.call(&pool, ECHO, "on") => assert_eq!(answer, Ok("on".into())),
            }
        }
        port.site.release.add_permits(1);
        within(ninth).await.expect("read by now");
    }
    within(slow.finish_with(item(9, 10))).await.expect("it ends");
    assert_eq!(within(slow.next()).await, Ok(Some("10".into())));
    assert_eq!(within(slow.next()).await, Ok(None));
    assert_eq!(port.running.counters().connections, 1);
}

#[tokio::test]
async fn a_transfer_that_nobody_reads_holds_a_window_and_calls_go_on() {
    let (port, pool) = (port(), pool());
    let mut flood = port.open(&pool, Lane::Call, FLOOD).await;
    for _ in 0..50 {
        assert_eq!(port.call(&pool, ECHO, "on").await, Ok("on".into()));
    }
    // A window of 1 MiB, one item beyond, and the answers.
    assert!(pool.counters().bytes_read < (2 << 20), "{:?}", pool.counters());
    let mut n = 0;
    while within(flood.next()).await.expect("no fault").is_some() {
        n += 1;
    }
    assert_eq!(n, 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulk_transfer_delays_no_call_on_its_connection_or_on_another_lane() {
    let (port, pool) = (port(), pool());
    let mut flood = port.open(&pool, Lane::Bulk, FLOOD).await;
    let began = within(flood.next()).await;
    assert!(began.is_ok());
    let reading = tokio::spawn(async move {
        let mut n = 1;
        while flood.next().await.expect("no fault").is_some() {
            n += 1;
        }
        n
    });
    let mut n_calls = 0;
    while !reading.is_finished() && n_calls < 10_000 {
        for lane in [Lane::Bulk, Lane::Urgent] {
            let deadline = Instant::now() + Duration::from_secs(5);
            let answer = pool.call(port.address, lane, ECHO, "on".into(), deadline).await;
            assert_eq!(answer, Ok("on".into()));
            n_calls += 1;
        }
    }
    assert_eq!(within(reading).await.expect("joined"), 1_000);
    // Behind 64 MB of items a call would have come back once.
    assert!(n_calls >= 10, "{n_calls} calls were answered beside the transfer");
}

#[tokio::test]
async fn items_before_a_refusal_are_read_first() {
    let (port, pool) = (port(), pool());
    let mut half = pool
        .open(port.address, Lane::Bulk, HALF, "no more".into(), soon())
        .await
        .expect("it opens");
    assert_eq!(within(half.next()).await, Ok(Some("one".into())));
    assert_eq!(within(half.next()).await, Ok(Some("two".into())));
    assert_eq!(within(half.next()).await, Err(Fault::Refused("no more".into())));
    assert_eq!(half.send(Bytes::new()).await, Err(Fault::Refused("no more".into())));
}

#[tokio::test]
async fn a_sender_that_is_dropped_before_its_end_breaks_the_exchange() {
    let (port, pool) = (port(), pool());
    let (mut sender, mut receiver) = port.open(&pool, Lane::Call, LATER).await.split();
    within(port.site.parked.notified()).await;
    sender.send(item(1, 10)).await.expect("it goes");
    drop(sender);
    within(port.site.dropped.notified()).await;
    assert_eq!(within(receiver.next()).await, Err(Fault::Stopped));
}

#[tokio::test]
async fn an_opener_that_fails_tells_the_handler_why() {
    let (port, pool) = (port(), pool());
    let exchange = port.open(&pool, Lane::Call, LATER).await;
    within(port.site.parked.notified()).await;
    exchange.fail("changed my mind".into()).await;
    port.site.release.add_permits(1);
    // The handler's end is seen by its table being empty: a clean stop needs no deadline.
    assert_eq!(within(port.running.stop(PATIENCE)).await, Drained::Whole);
}

#[tokio::test]
async fn an_answer_before_the_opener_has_ended_is_received_whole() {
    let (port, pool) = (port(), pool());
    let mut exchange = port.open(&pool, Lane::Call, ECHO).await;
    assert_eq!(within(exchange.next()).await, Ok(Some(Bytes::new())));
    assert_eq!(within(exchange.next()).await, Ok(None));
    // The handler has gone: nobody reads what would be sent.
    let fault = within(async {
        loop {
            if let Err(fault) = exchange.send(Bytes::from_static(b"x")).await {
                break fault;
            }
        }
    });
    assert!(matches!(fault.await, Fault::Lost(_)));
}
