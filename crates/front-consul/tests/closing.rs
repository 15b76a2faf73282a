//! Nobody who waits on purpose holds the stop of an agent.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use muster_front_consul::{Front, Settings};
use muster_listen::Body;
use muster_testkit::{Agent, Bench};
use tokio::task::JoinHandle;
use tokio::time::Instant;

fn front() -> Arc<Front> {
    Front::new(Agent::door(&Bench::new()), Settings::default(), 1)
}

async fn get(front: &Arc<Front>, target: &str) -> http::Response<Body> {
    let request = http::Request::get(target).body(Full::new(Bytes::new())).unwrap();
    front.serve(request, None).await
}

fn park(front: &Arc<Front>, target: String) -> JoinHandle<(StatusCode, Bytes)> {
    let front = front.clone();
    tokio::spawn(async move {
        let (head, body) = get(&front, &target).await.into_parts();
        (head.status, body.collect().await.unwrap().to_bytes())
    })
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_is_answered_when_the_front_closes() {
    let front = front();
    let body = Full::from(r#"{"Name":"web"}"#);
    let request = http::Request::put("/v1/agent/service/register").body(body).unwrap();
    assert_eq!(front.serve(request, None).await.status(), StatusCode::OK);
    let index = get(&front, "/v1/catalog/services").await.headers()["x-consul-index"].clone();
    let hash = get(&front, "/v1/agent/service/web").await.headers()["x-consul-contenthash"].clone();
    let none = get(&front, "/v1/event/list").await.headers()["x-consul-index"].clone();
    let targets = [
        format!("/v1/catalog/services?wait=600s&index={}", index.to_str().unwrap()),
        format!("/v1/agent/service/web?wait=600s&hash={}", hash.to_str().unwrap()),
        format!("/v1/event/list?wait=600s&index={}", none.to_str().unwrap()),
        "/v1/agent/monitor".to_owned(),
        "/v1/agent/metrics/stream".to_owned(),
    ];
    let parked: Vec<_> = targets.into_iter().map(|target| park(&front, target)).collect();
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(parked.iter().all(|reply| !reply.is_finished()));
    let closed_at = Instant::now();
    front.close();
    for reply in parked {
        assert_eq!(reply.await.unwrap().0, StatusCode::OK);
    }
    assert_eq!(closed_at.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn metrics_come_again_and_again_as_one_object_each() {
    let front = front();
    let mut body = get(&front, "/v1/agent/metrics/stream").await.into_body();
    for _ in 0..2 {
        let before = Instant::now();
        let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(before.elapsed().as_secs(), 10);
        let object: serde_json::Value = serde_json::from_slice(&piece).unwrap();
        assert_eq!(object["Counters"][0]["Name"], "consul.rpc.request");
        assert!(piece.ends_with(b"\n}\n"));
    }
}
