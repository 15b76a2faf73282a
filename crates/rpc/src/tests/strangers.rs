//! Who does not speak the protocol, or not as it should: each is told, counted, and cut off, and
//! nobody else notices.

use bytes::{BufMut as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::ending::Reason;
use crate::frame::{self, Frame, Parsed};
use crate::hello::{Greeting, PREFACE_BYTES, Versions, preface};

fn greeting() -> Frame {
    let terms = Limits::default().terms();
    let greeting = Greeting { hello: hello("stranger"), lane: Lane::Call, terms };
    Frame::Hello(greeting.encode().expect("short"))
}

fn bytes(versions: Versions, frames: impl IntoIterator<Item = Frame>) -> BytesMut {
    let mut bytes = BytesMut::from(&preface(versions)[..]);
    frames.into_iter().for_each(|frame| assert!(frame.encode(&mut bytes).is_none()));
    bytes
}

fn ours() -> Versions {
    Versions { min: 1, max: 1 }
}

/// Sends bytes to a port, reads until it closes, and returns the last words.
async fn last_words(port: &Port, sent: &[u8]) -> (Reason, String) {
    let mut stream = TcpStream::connect(port.address).await.expect("connects");
    stream.write_all(sent).await.expect("sent");
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.expect("a clean end");
    let mut rest = BytesMut::from(&answer[PREFACE_BYTES..]);
    let mut last = None;
    while let Ok(Parsed::Whole(frame)) = frame::parse(&mut rest, 1 << 20) {
        last = Some(frame);
    }
    let Some(Frame::Close { reason, words }) = last else { panic!("no last words: {last:?}") };
    (reason, words)
}

/// Whether the port goes on for those who do speak the protocol.
async fn goes_on(port: &Port) {
    assert_eq!(port.call(&pool(), ECHO, "on").await, Ok("on".into()));
}

#[tokio::test]
async fn another_protocol_is_told_that_it_is_wrong_here() {
    let port = port();
    for sent in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x00mustex", b"\x16\x03\x01"] {
        let (reason, words) = last_words(&port, sent).await;
        assert_eq!(reason, Reason::NotOurs);
        assert!(words.contains("point HTTP and other clients"), "{words}");
    }
    assert_eq!(port.running.counters().closed_not_ours, 3);
    goes_on(&port).await;
}

#[tokio::test]
async fn a_newer_protocol_is_told_the_versions_of_both() {
    let port = port();
    let newer = bytes(Versions { min: 2, max: 5 }, [greeting()]);
    let (reason, words) = last_words(&port, &newer).await;
    assert_eq!(reason, Reason::Version);
    assert!(words.contains("speaks versions 2 to 5"), "{words}");
    assert!(words.contains("this one version 1: upgrade"), "{words}");
    assert_eq!(port.running.counters().closed_version, 1);
    goes_on(&port).await;
}

#[tokio::test]
async fn a_peer_that_is_not_wanted_is_told_why_and_so_is_its_caller() {
    let site = Site { unwelcome: Some("this is dc2: join the servers of dc1"), ..Site::new() };
    let port = port_at(&Real::new(), ([127, 0, 0, 1], 0).into(), Limits::default(), site);
    let words = last_words(&port, &bytes(ours(), [greeting()])).await;
    assert_eq!(words, (Reason::Unwelcome, "this is dc2: join the servers of dc1".to_owned()));
    let fault = port.call(&pool(), ECHO, "").await.expect_err("refused");
    assert!(matches!(&fault, Fault::Protocol(what) if what.contains("this is dc2")), "{fault}");
    assert_eq!(port.running.counters().closed_unwelcome, 2);
    assert_eq!(port.running.counters().connections, 0);
}

#[tokio::test]
async fn a_frame_over_the_limit_is_refused_by_its_length_alone() {
    let port = port_with(Limits { body_bytes_max: 1_000, ..Limits::default() });
    let mut sent = bytes(ours(), [greeting()]);
    sent.put_u32(100_000);
    let (reason, words) = last_words(&port, &sent).await;
    assert_eq!(reason, Reason::Oversize);
    assert!(words.contains("100000 bytes is over the limit of 1064"), "{words}");
    assert_eq!(port.running.counters().closed_oversize, 1);
    goes_on(&port).await;
}

#[tokio::test]
async fn garbage_is_told_and_counted() {
    let port = port();
    let item = || Frame::Item { id: 1, is_last: false, body: Bytes::new() };
    let open = |id| Frame::Open {
        id,
        method: PARK,
        remaining_ms: 60_000,
        is_whole: true,
        body: Bytes::new(),
    };
    let conversations = [
        (vec![item()], "never opened"),
        (vec![greeting()], "out of place"),
        (vec![open(1), open(1)], "opened twice"),
        (vec![open(5), open(4)], "opened twice"),
        (vec![open(1), item()], "more was sent"),
        (vec![open(1), Frame::End { id: 1 }], "more was sent"),
        (vec![open(1), Frame::Credit { id: 1, items: 1, bytes: 0 }], "more was sent"),
        (vec![Frame::Leave], "out of place"),
    ];
    let n = conversations.len() as u64;
    for (frames, says) in conversations {
        let sent = bytes(ours(), [greeting()].into_iter().chain(frames));
        let (reason, words) = last_words(&port, &sent).await;
        assert_eq!(reason, Reason::Garbage, "{words}");
        assert!(words.contains(says), "{words}");
    }
    let mut unknown = bytes(ours(), [greeting()]);
    unknown.extend_from_slice(&[0, 0, 0, 5, 99, 0, 0, 0, 0]);
    assert!(last_words(&port, &unknown).await.1.contains("kind 99"));
    let mut no_hello = bytes(ours(), [Frame::Ping]);
    assert!(last_words(&port, &no_hello).await.1.contains("no hello"));
    no_hello = bytes(ours(), [Frame::Hello(Bytes::from_static(b"x"))]);
    assert!(last_words(&port, &no_hello).await.1.contains("cannot be read"));
    assert_eq!(port.running.counters().closed_garbage, n + 3);
    goes_on(&port).await;
}

#[tokio::test]
async fn a_crowd_of_one_address_is_told_so() {
    let limits = Limits { connections_per_address_max: 2, ..Limits::default() };
    let (port, pool) = (port_with(limits), pool());
    for lane in [Lane::Urgent, Lane::Log] {
        assert!(pool.call(port.address, lane, ECHO, Bytes::new(), soon()).await.is_ok());
    }
    let (reason, words) = last_words(&port, &bytes(ours(), [greeting()])).await;
    assert_eq!(reason, Reason::Crowded);
    assert!(words.contains("2 connections from 127.0.0.1"), "{words}");
    assert_eq!(port.call(&pool, ECHO, "").await, Err(Fault::Busy));
    assert_eq!(port.running.counters().closed_crowded, 2);
}

#[tokio::test]
async fn a_dialer_says_what_it_found_instead_of_an_agent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let other = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accepts");
        stream.write_all(b"SSH-2.0-x\r\n").await.expect("sent");
        stream.read_to_end(&mut Vec::new()).await.expect("reads");
    });
    let pool = pool();
    let fault = pool.call(address, Lane::Call, ECHO, Bytes::new(), soon()).await;
    let fault = fault.expect_err("no agent");
    assert!(matches!(&fault, Fault::Protocol(what) if what.contains("check the address")));
    within(other).await.expect("closed");
    assert_eq!(pool.counters().dials_failed, 1);
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let pool = pool();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let fault = pool.call(address, Lane::Call, ECHO, Bytes::new(), soon()).await;
    let fault = fault.expect_err("nobody");
    assert!(matches!(&fault, Fault::Unreachable(what) if what.contains("cannot connect")));
    assert!(!fault.may_have_been_served());
}
