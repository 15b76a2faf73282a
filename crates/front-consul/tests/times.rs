//! What is told of times: what this agent knows, and nothing it cannot know.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use muster_front_consul::{Front, Settings};
use muster_model::Status;
use muster_registry::Door;
use muster_registry::local::CheckTimes;
use muster_testkit::catalog::{check, instance};
use muster_testkit::{Agent, Bench};
use serde_json::{Value, json};

async fn ask(front: &Arc<Front>, request: http::Request<Full<Bytes>>) -> Value {
    let reply = front.serve(request, None).await;
    assert_eq!(reply.status(), 200);
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap_or(Value::Null)
}

#[tokio::test(start_paused = true)]
async fn own_checks_have_their_agents_times_and_others_those_of_their_index() {
    let bench = Bench::new();
    let agent = Agent::new(&bench);
    let door = Door { registry: bench.clone(), local: agent.clone(), operator: agent.clone() };
    let front = Front::new(door, Settings::default(), 1);
    let body = r#"{"Name":"web","Check":{"CheckID":"own","TTL":"60s"}}"#;
    ask(&front, http::Request::put("/v1/agent/service/register").body(body.into()).unwrap()).await;
    tokio::time::advance(Duration::from_secs(7)).await;
    let other = check("other", "w2", Status::Passing);
    bench.register("n2", instance("w2", "web", 80), vec![other]);
    tokio::time::advance(Duration::from_secs(3)).await;
    agent.set_times(CheckTimes {
        heard_ago: Some(Duration::from_secs(2)),
        expires_after: Some(Duration::from_secs(58)),
        ..CheckTimes::default()
    });
    let get = http::Request::get("/v1/internal/times/WEB").body(Full::default()).unwrap();
    let own = json!({"Node": "n1", "CheckID": "own", "ChangedMsAgo": 10_000,
        "HeardMsAgo": 2_000, "ExpiresInMs": 58_000});
    let other = json!({"Node": "n2", "CheckID": "other", "ChangedMsAgo": 3_000});
    assert_eq!(ask(&front, get).await, json!([own, other]));
}
