//! What time does: deadlines, silence, idleness and pauses, under a clock that is held still and
//! jumps to the next thing that is waited for.

use std::future::poll_fn;
use std::task::Poll;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::wires::Wires;
use super::*;
use crate::frame::Frame;
use crate::hello::{Greeting, VERSIONS, preface};

const MINUTE: Duration = Duration::from_secs(60);

fn pair(limits: Limits) -> (Arc<Wires>, Port, Arc<Pool>) {
    let wires = Wires::new();
    let port = port_at(&*wires, ([127, 0, 0, 1], 8300).into(), limits.clone(), Site::new());
    let pool = Pool::new(wires.clone(), hello("dialer"), limits, Arc::new(Plain));
    (wires, port, pool)
}

/// Lets so much time go by.
async fn pass(time: Duration) {
    let nothing = timeout(time, pending::<()>()).await;
    assert!(nothing.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_call_and_the_work_for_it() {
    let (_wires, port, pool) = pair(Limits::default());
    let began = Instant::now();
    let deadline = began + Duration::from_millis(150);
    let answer = pool.call(port.address, Lane::Urgent, PARK, Bytes::new(), deadline).await;
    assert_eq!(answer, Err(Fault::Late));
    assert!(began.elapsed() <= Duration::from_millis(151), "{:?}", began.elapsed());
    port.site.dropped.notified().await;
    assert_eq!(port.call(&pool, ECHO, "on").await, Ok("on".into()));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_sends_nothing() {
    let (_wires, port, pool) = pair(Limits::default());
    assert_eq!(port.call(&pool, ECHO, "on").await, Ok("on".into()));
    let now = Instant::now();
    assert_eq!(pool.call(port.address, Lane::Call, ECHO, "x".into(), now).await, Err(Fault::Late));
    assert_eq!(port.running.counters().exchanges, 1);
}

#[tokio::test(start_paused = true)]
async fn the_handler_is_told_how_long_the_caller_waits() {
    struct TellDeadline(Mutex<Option<Duration>>);
    impl Handler for TellDeadline {
        fn admit(&self, _peer: &Peer) -> Result<(), String> {
            Ok(())
        }
        fn serve(self: Arc<Self>, _from: Arc<Peer>, opened: Opened) -> Serving {
            *self.0.lock().expect("whole") = Some(opened.deadline - Instant::now());
            Box::pin(async move { drop(opened.answer(Bytes::new()).await) })
        }
    }
    let wires = Wires::new();
    let at = SocketAddr::from(([127, 0, 0, 1], 8300));
    let listener = wires.listen(&at.into()).expect("free");
    let handler = Arc::new(TellDeadline(Mutex::default()));
    let limits = Limits::default();
    let running = serve(listener, handler.clone(), hello("a"), limits.clone(), Arc::new(Plain));
    let pool = Pool::new(wires, hello("d"), limits, Arc::new(Plain));
    let deadline = Instant::now() + Duration::from_millis(1_234);
    assert!(pool.call(at, Lane::Call, ECHO, Bytes::new(), deadline).await.is_ok());
    let told = handler.0.lock().expect("whole").expect("served");
    assert_eq!(told, Duration::from_millis(1_234));
    drop(running);
}

#[tokio::test(start_paused = true)]
async fn who_never_says_hello_is_told_and_closed() {
    let (wires, port, pool) = pair(Limits::default());
    let began = Instant::now();
    let mut stream = wires.bare(port.address).expect("connects");
    let mut words = Vec::new();
    stream.read_to_end(&mut words).await.expect("a clean end");
    assert!(String::from_utf8_lossy(&words).contains("no hello came within 5s"));
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(6), "{took:?}");
    assert_eq!(port.running.counters().closed_slow_hello, 1);
    assert_eq!(port.call(&pool, ECHO, "on").await, Ok("on".into()));
}

#[tokio::test(start_paused = true)]
async fn a_partition_fails_open_exchanges_on_both_sides_in_bounded_time() {
    let (wires, port, pool) = pair(Limits::default());
    let mut exchange = port.open(&pool, Lane::Call, PARK).await;
    port.site.parked.notified().await;
    pass(MINUTE).await;
    wires.cut();
    let cut_at = Instant::now();
    let fault = exchange.next().await.expect_err("cut off");
    assert!(matches!(&fault, Fault::Lost(what) if what.contains("silent for 10s")), "{fault}");
    port.site.dropped.notified().await;
    assert!(cut_at.elapsed() <= Duration::from_secs(11), "{:?}", cut_at.elapsed());
    assert_eq!(pool.counters().closed_silent, 1);
    assert_eq!(port.running.counters().closed_silent, 1);
}

#[tokio::test(start_paused = true)]
async fn calls_that_give_up_one_after_the_other_do_not_hide_a_dead_connection() {
    let (wires, port, pool) = pair(Limits::default());
    let call = async || {
        let deadline = Instant::now() + Duration::from_millis(100);
        pool.call(port.address, Lane::Urgent, ECHO, "on".into(), deadline).await
    };
    assert_eq!(call().await, Ok("on".into()));
    wires.cut();
    let cut_at = Instant::now();
    let mut n_late = 0;
    while call().await.is_err() {
        n_late += 1;
    }
    assert!((90..=110).contains(&n_late), "{n_late} calls gave up");
    assert!(cut_at.elapsed() <= Duration::from_secs(11), "{:?}", cut_at.elapsed());
    assert_eq!(wires.n_dials.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_no_bytes_is_given_up() {
    let (wires, port, _pool) = pair(Limits::default());
    let mut stream = wires.bare(port.address).expect("connects");
    let terms = Limits { window_bytes: 100 << 20, ..Limits::default() }.terms();
    let greeting = Greeting { hello: hello("deaf"), lane: Lane::Bulk, terms };
    let mut sent = BytesMut::from(&preface(VERSIONS)[..]);
    assert!(Frame::Hello(greeting.encode().expect("short")).encode(&mut sent).is_none());
    let body = Bytes::new();
    let open = Frame::Open { id: 1, method: FLOOD, remaining_ms: 1, is_whole: true, body };
    assert!(open.encode(&mut sent).is_none());
    stream.write_all(&sent).await.expect("sent");
    // It goes on answering pings, so it is not silent; it only does not read.
    let mut ping = BytesMut::new();
    assert!(Frame::Ping.encode(&mut ping).is_none());
    let began = Instant::now();
    while port.running.counters().closed_stalled == 0 {
        assert!(began.elapsed() < MINUTE);
        pass(Duration::from_secs(1)).await;
        // Refused once the other side has given up.
        let _ = stream.write_all(&ping).await;
    }
    assert!(began.elapsed() <= Duration::from_secs(16), "{:?}", began.elapsed());
    assert_eq!(port.running.counters().closed_silent, 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_is_no_silent_peer() {
    let (_wires, port, pool) = pair(Limits::default());
    let mut exchange = port.open(&pool, Lane::Call, PARK).await;
    port.site.parked.notified().await;
    pass(60 * MINUTE).await;
    port.site.release.add_permits(1);
    assert_eq!(exchange.next().await, Ok(Some("released".into())));
    assert_eq!(pool.counters().connections, 1);
    // A ping each five seconds and its answer, from both sides at most.
    assert!(pool.counters().frames_read < 2 * 750, "{:?}", pool.counters());
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_sends_nothing_is_closed_and_dialed_again() {
    let (wires, port, pool) = pair(Limits::default());
    assert_eq!(port.call(&pool, ECHO, "one").await, Ok("one".into()));
    let written = pool.counters().frames_written;
    pass(Duration::from_secs(119)).await;
    assert_eq!(pool.counters().connections_open, 1);
    pass(Duration::from_secs(2)).await;
    assert_eq!(pool.counters().connections_open, 0);
    assert_eq!(port.running.counters().connections_open, 0);
    assert_eq!(pool.counters().frames_written, written);
    assert_eq!(port.call(&pool, ECHO, "two").await, Ok("two".into()));
    assert_eq!(wires.n_dials.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn calls_that_need_the_same_dial_share_it() {
    let (wires, port, pool) = pair(Limits::default());
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let (pool, to) = (pool.clone(), port.address);
            tokio::spawn(async move { pool.call(to, Lane::Call, ECHO, Bytes::new(), soon()).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.expect("joined"), Ok(Bytes::new()));
    }
    assert_eq!(wires.n_dials.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_takes_the_dial_from_nobody() {
    let (_wires, port, pool) = pair(Limits::default());
    {
        let mut first = std::pin::pin!(port.call(&pool, ECHO, "first"));
        let is_waiting = poll_fn(|context| Poll::Ready(first.as_mut().poll(context).is_pending()));
        assert!(is_waiting.await);
    }
    assert_eq!(port.call(&pool, ECHO, "second").await, Ok("second".into()));
    assert_eq!(pool.counters().connections, 1);
}

#[tokio::test(start_paused = true)]
async fn pauses_between_dials_grow_to_their_bound_and_calls_fail_at_once_meanwhile() {
    let wires = Wires::new();
    let limits = Limits::default();
    let pool = Pool::new(wires.clone(), hello("dialer"), limits.clone(), Arc::new(Plain));
    let at = SocketAddr::from(([127, 0, 0, 1], 8300));
    let mut pauses = Vec::new();
    for n_dials in 1..=9 {
        let began = Instant::now();
        while wires.n_dials.load(Ordering::SeqCst) < n_dials {
            let answer = pool.call(at, Lane::Call, ECHO, Bytes::new(), soon()).await;
            assert!(matches!(answer, Err(Fault::Unreachable(_))), "{answer:?}");
            pass(Duration::from_millis(1)).await;
        }
        pauses.push(began.elapsed().as_millis());
    }
    // Each is measured in steps of a millisecond, which also take one.
    let expected = [1, 20, 40, 80, 160, 320, 640, 1_000, 1_000];
    for (pause, expected) in pauses.iter().zip(expected) {
        assert!(pause.abs_diff(expected) <= 3, "{pauses:?}");
    }
    let port = port_at(&*wires, at, limits, Site::new());
    pass(Duration::from_secs(1)).await;
    assert_eq!(port.call(&pool, ECHO, "on").await, Ok("on".into()));
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_hangs_is_given_up_and_a_deadline_does_not_wait_for_it() {
    let (wires, port, pool) = pair(Limits::default());
    wires.is_hanging.store(true, Ordering::SeqCst);
    let began = Instant::now();
    let deadline = began + Duration::from_millis(100);
    let answer = pool.call(port.address, Lane::Urgent, ECHO, Bytes::new(), deadline).await;
    assert_eq!(answer, Err(Fault::Late));
    let fault = pool.call(port.address, Lane::Urgent, ECHO, Bytes::new(), soon()).await;
    let fault = fault.expect_err("it hangs");
    assert!(matches!(&fault, Fault::Unreachable(what) if what.contains("within 2s")), "{fault}");
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_millis(2_100), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_has_not_left_is_sent_on_a_new_connection() {
    let (wires, port, pool) = pair(Limits::default());
    assert_eq!(port.call(&pool, ECHO, "one").await, Ok("one".into()));
    let at = port.address;
    drop(port.running);
    // The old connection has not been heard to close yet when the call is made.
    let port = port_at(&*wires, at, Limits::default(), Site::new());
    assert_eq!(port.call(&pool, ECHO, "two").await, Ok("two".into()));
    assert_eq!(port.site.admitted.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_has_left_is_not_sent_again() {
    let (_wires, port, pool) = pair(Limits::default());
    let mut exchange = port.open(&pool, Lane::Call, PARK).await;
    let call = tokio::spawn({
        let (pool, to) = (pool.clone(), port.address);
        async move { pool.call(to, Lane::Call, PARK, Bytes::new(), soon()).await }
    });
    port.site.parked.notified().await;
    port.site.parked.notified().await;
    drop(port.running);
    let fault = call.await.expect("joined").expect_err("lost");
    assert!(fault.may_have_been_served(), "{fault}");
    assert!(exchange.next().await.is_err());
    assert_eq!(port.site.admitted.load(Ordering::SeqCst), 1);
}
