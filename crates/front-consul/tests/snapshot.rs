//! Snapshots pass through in pieces, both ways.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use muster_front_consul::{Front, Settings};
use muster_registry::{Door, Refusal};
use muster_testkit::{Agent, Bench};

struct House {
    bench: Arc<Bench>,
    agent: Arc<Agent>,
    front: Arc<Front>,
}

fn house() -> House {
    let bench = Bench::new();
    let agent = Agent::new(&bench);
    let door = Door { registry: bench.clone(), local: agent.clone(), operator: agent.clone() };
    let settings = Settings { serves_profiles: true, ..Settings::default() };
    House { front: Front::new(door, settings, 1), bench, agent }
}

async fn call(front: &Arc<Front>, method: &str, path: &str, body: Bytes) -> http::Response<Bytes> {
    let request = Request::builder().method(method).uri(path).body(Full::new(body)).unwrap();
    let (head, body) = front.serve(request, None).await.into_parts();
    http::Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn a_saved_state_says_where_it_stands() {
    let House { bench, front, .. } = house();
    let saved = call(&front, "GET", "/v1/snapshot", Bytes::new()).await;
    assert_eq!(saved.status(), StatusCode::OK);
    assert_eq!(saved.headers()["x-consul-index"], "1");
    assert_eq!(saved.headers()["x-consul-knownleader"], "true");
    let whole: Vec<u8> = bench.state().save().flatten().collect();
    assert_eq!(saved.body(), &whole);
}

#[tokio::test]
async fn every_byte_of_a_body_is_restored() {
    let House { agent, front, .. } = house();
    let body = Bytes::from(vec![7; 3 << 20]);
    let restored = call(&front, "PUT", "/v1/snapshot", body).await;
    assert_eq!(restored.status(), StatusCode::OK);
    assert_eq!(agent.asked(), [format!("restore {} bytes", 3 << 20)]);
}

#[tokio::test]
async fn another_datacenter_has_no_snapshot_here() {
    let House { front, .. } = house();
    let refused = call(&front, "GET", "/v1/snapshot?dc=elsewhere", Bytes::new()).await;
    assert_eq!(refused.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(refused.body(), "No path to datacenter");
}

#[tokio::test]
async fn profiles_are_numbers_as_text() {
    let House { front, bench, .. } = house();
    bench.refuse(Some(Refusal::NoLeader));
    let page = call(&front, "GET", "/debug/pprof/heap", Bytes::new()).await;
    let text = String::from_utf8(page.body().to_vec()).unwrap();
    assert!(text.contains("\nruntime.alloc_bytes 1024\n"), "{text}");
}
