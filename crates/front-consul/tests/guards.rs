//! What an operator forbids, what every reply carries, and compression.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::io::Read;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Full};
use muster_front_consul::{Front, Network, Settings};
use muster_registry::Door;
use muster_testkit::catalog::instance;
use muster_testkit::{Agent, Bench};

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

async fn ask(front: &Arc<Front>, request: http::request::Builder, from: Option<&str>) -> Reply {
    let request = request.body(Full::new(Bytes::new())).unwrap();
    let peer = from.map(|address| address.parse::<IpAddr>().unwrap());
    let (head, body) = front.serve(request, peer).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Reply { status: head.status, headers: head.headers, body }
}

fn front(settings: Settings) -> Arc<Front> {
    let bench = Bench::new();
    let door = Agent::door(&bench);
    for nth in 0..20 {
        bench.register(&format!("node-{nth}"), instance("web", "web", 80), vec![]);
    }
    Front::new(door, settings, 1)
}

#[tokio::test]
async fn a_blocked_path_is_refused_before_anything_is_looked_up() {
    let block_endpoints = vec!["/v1/agent".to_owned()];
    let front = front(Settings { block_endpoints, ..Settings::default() });
    let reply = ask(&front, http::Request::get("/v1/agent/self"), None).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    assert_eq!(reply.body, "Endpoint is blocked by agent configuration");
    let reply = ask(&front, http::Request::get("/v1/catalog/nodes"), None).await;
    assert_eq!(reply.status, StatusCode::OK);
}

#[tokio::test]
async fn other_settings_hold_from_the_next_request_on() {
    let front = front(Settings::default());
    let get = || http::Request::get("/v1/catalog/nodes");
    assert_eq!(ask(&front, get(), None).await.status, StatusCode::OK);
    let block_endpoints = vec!["/v1/catalog".to_owned()];
    front.reload(Settings { block_endpoints, ..Settings::default() });
    assert_eq!(ask(&front, get(), None).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_reload_says_what_waits_for_a_restart() {
    let bench = Bench::new();
    let agent = Agent::new(&bench);
    let door = Door { registry: bench, local: agent.clone(), operator: agent.clone() };
    let front = Front::new(door, Settings::default(), 1);
    let put = || http::Request::put("/v1/agent/reload");
    assert_eq!(ask(&front, put(), None).await.body, "");
    agent.set_remarks(vec!["ports.http has changed".into(), "node_name has changed".into()]);
    let reply = ask(&front, put(), None).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.body, "ports.http has changed\nnode_name has changed\n");
}

#[tokio::test]
async fn writes_are_taken_from_the_networks_that_may_write() {
    let network = Network { address: "10.1.0.0".parse().unwrap(), prefix: 16 };
    let front = front(Settings { allow_write_http_from: vec![network], ..Settings::default() });
    let write = || http::Request::put("/v1/agent/reload");
    let refused = ask(&front, write(), Some("10.2.0.1")).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(refused.body, "Access is restricted");
    assert_eq!(ask(&front, write(), Some("10.1.2.3")).await.status, StatusCode::OK);
    assert_eq!(ask(&front, write(), Some("::ffff:10.1.2.3")).await.status, StatusCode::OK);
    let read = http::Request::get("/v1/catalog/nodes");
    assert_eq!(ask(&front, read, Some("10.2.0.1")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn every_reply_carries_the_common_and_the_configured_headers() {
    let response_headers = vec![("x-frame-options".parse().unwrap(), "DENY".parse().unwrap())];
    let front = front(Settings { response_headers, ..Settings::default() });
    for target in ["/v1/catalog/nodes", "/v1/nope", "/v1/agent/services", "/v1/kv//"] {
        let reply = ask(&front, http::Request::get(target), None).await;
        assert_eq!(reply.headers["x-consul-default-acl-policy"], "allow", "{target}");
        assert_eq!(reply.headers["vary"], "Accept-Encoding", "{target}");
        assert_eq!(reply.headers["x-frame-options"], "DENY", "{target}");
    }
}

#[tokio::test]
async fn a_large_body_is_compressed_for_who_asks() {
    let front = front(Settings::default());
    let get = || http::Request::get("/v1/health/service/web");
    let plain = ask(&front, get(), None).await;
    assert!(plain.headers.get("content-encoding").is_none());
    for _ in 0..2 {
        let squeezed = ask(&front, get().header("accept-encoding", "br, gzip;q=0.5"), None).await;
        assert_eq!(squeezed.headers["content-encoding"], "gzip");
        assert_eq!(squeezed.headers["x-consul-index"], plain.headers["x-consul-index"]);
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&*squeezed.body).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain.body);
    }
    let refused = ask(&front, get().header("accept-encoding", "gzip;q=0"), None).await;
    assert!(refused.headers.get("content-encoding").is_none());
    let small = http::Request::get("/v1/status/leader").header("accept-encoding", "gzip");
    assert!(ask(&front, small, None).await.headers.get("content-encoding").is_none());
}

#[tokio::test]
async fn dev_mode_indents_everything() {
    let front = front(Settings { is_pretty: true, ..Settings::default() });
    let reply = ask(&front, http::Request::get("/v1/status/peers"), None).await;
    assert_eq!(reply.body, "[\n    \"127.0.0.1:8300\"\n]\n");
}
