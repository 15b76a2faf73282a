//! Bodies that are too large are refused, in words that clients look for.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use muster_front_consul::{Front, Settings};
use muster_testkit::{Agent, Bench};

async fn put(path: &str, n_bytes: usize) -> (StatusCode, String) {
    let settings =
        Settings { value_bytes_max: 100, transaction_bytes_max: 1_000, ..Settings::default() };
    let front = Front::new(Agent::door(&Bench::new()), settings, 1);
    let body = Full::new(Bytes::from(vec![b' '; n_bytes]));
    let request = Request::put(path).header("content-length", n_bytes).body(body).unwrap();
    let (head, body) = front.serve(request, None).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, String::from_utf8(body.into()).unwrap())
}

#[tokio::test]
async fn a_value_has_a_limit() {
    assert_eq!(put("/v1/kv/a", 100).await, (StatusCode::OK, "true".to_owned()));
    let (status, text) = put("/v1/kv/a", 101).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(text.starts_with("Request body(101 bytes) too large, max size: 100 bytes."), "{text}");
    assert!(text.contains("Value exceeds"), "{text}");
}

#[tokio::test]
async fn a_key_has_a_limit() {
    let (status, text) = put(&format!("/v1/kv/{}", "k".repeat(4097)), 1).await;
    assert_eq!((status, &*text), (StatusCode::BAD_REQUEST, "Key too long, max size: 4096 bytes"));
}

#[tokio::test]
async fn an_event_has_a_limit() {
    let (status, text) = put("/v1/event/fire/deploy", 301).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let start = "Event payload too large, received 301 bytes, max size: 300 bytes.";
    assert!(text.starts_with(start), "{text}");
}

#[tokio::test]
async fn a_transaction_has_a_limit() {
    let (status, text) = put("/v1/txn", 1_001).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let start = "Request body(1001 bytes) too large, max size: 1000 bytes.";
    assert!(text.starts_with(start) && text.contains("is too large"), "{text}");
}
