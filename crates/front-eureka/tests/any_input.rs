//! No request, however it is made, panics the front-end or goes without a reply; and what comes
//! wrong leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use bytes::Bytes;
use http_body_util::Full;
use proptest::prelude::*;
use serde_json::json;
use support::House;

fn target() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("apps".to_owned()),
        Just("delta".to_owned()),
        Just("FOO".to_owned()),
        Just("h1".to_owned()),
        Just("status".to_owned()),
        Just("metadata".to_owned()),
        Just("vips".to_owned()),
        Just("peerreplication".to_owned()),
        Just("batch".to_owned()),
        Just("instances".to_owned()),
        "[a-zA-Z0-9%:._-]{0,8}",
    ];
    let parts = proptest::collection::vec(part, 0..6);
    (parts, "((value|lastDirtyTimestamp|status)=[A-Z0-9%_-]{0,14}&?){0,3}")
        .prop_map(|(parts, query)| format!("/eureka/{}?{query}", parts.join("/")))
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let xml = vec![
        "<instance>",
        "</instance>",
        "<app>FOO</app>",
        "<hostName>h</hostName>",
        "<port enabled='x'>",
        "</port>",
        "<metadata>",
        "</metadata>",
        "<!DOCTYPE a>",
        "&b;",
        "<ipAddr>1</ipAddr>",
        "<dataCenterInfo><name>MyOwn</name></dataCenterInfo>",
    ];
    let json = vec![
        "{",
        "}",
        "\"instance\":",
        "\"app\":\"FOO\"",
        ",",
        "\"hostName\":\"h\"",
        "\"ipAddr\":\"1\"",
        "\"port\":{\"$\":1}",
        "\"dataCenterInfo\":{\"name\":\"MyOwn\"}",
        "\"metadata\":{\"a\":1}",
        "[",
        "]",
        "\"replicationList\":",
    ];
    prop_oneof![
        proptest::collection::vec(proptest::sample::select(xml), 0..14)
            .prop_map(|parts| parts.concat().into_bytes()),
        proptest::collection::vec(proptest::sample::select(json), 0..14)
            .prop_map(|parts| parts.concat().into_bytes()),
        proptest::collection::vec(any::<u8>(), 0..64),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn every_request_gets_a_reply(
        method in proptest::sample::select(vec!["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD"]),
        target in target(),
        kind in proptest::sample::select(vec!["application/json", "application/xml", "x"]),
        body in body(),
    ) {
        let request = http::Request::builder().method(method).uri(&target);
        let request = request.header("content-type", kind).header("accept-encoding", "gzip");
        let Ok(request) = request.body(Full::new(Bytes::from(body))) else { return Ok(()) };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let status = runtime.unwrap().block_on(async {
            House::new().front.serve(request).await.status()
        });
        prop_assert!(status.as_u16() >= 200);
    }
}

async fn post(house: &House, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> u16 {
    let mut request = http::Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    house.send(request.body(Full::from(body)).unwrap()).await.status
}

#[tokio::test]
async fn what_comes_wrong_leaves_nothing_behind() {
    let house = House::new();
    let before = house.bench.state().index();
    let xml = [("content-type", "application/xml")];
    let bomb = br#"<!DOCTYPE a [<!ENTITY b "b">]><instance><app>&b;</app></instance>"#;
    assert_eq!(post(&house, "/eureka/apps/FOO", &xml, bomb.to_vec()).await, 400);
    let deep = "<a>".repeat(10_000).into_bytes();
    assert_eq!(post(&house, "/eureka/apps/FOO", &xml, deep).await, 400);
    let deep = "[".repeat(100_000).into_bytes();
    assert_eq!(post(&house, "/eureka/apps/FOO", &[], deep).await, 400);
    let large = vec![b' '; 300 * 1024];
    assert_eq!(post(&house, "/eureka/apps/FOO", &[], large).await, 413);
    for (more, status) in [
        (json!({"app": "BAR"}), 400),
        (json!({"status": "WEIRD"}), 400),
        (json!({"hostName": "x".repeat(600)}), 400),
        (json!({"hostName": "a\nb"}), 400),
        (json!({"port": 70_000}), 400),
        (json!({"metadata": [1]}), 400),
    ] {
        assert_eq!(house.register("FOO", "i1", more.clone()).await.status, status, "{more}");
    }
    assert_eq!(house.register("A%2FB", "i1", json!({"app": "A/B"})).await.status, 400);
    assert_eq!(house.bench.state().index(), before, "nothing was written");
}

#[tokio::test]
async fn compressed_bodies_are_read_and_bounded() {
    let house = House::new();
    let headers = [("content-encoding", "gzip"), ("content-type", "application/json")];
    let instance = json!({"instance": {"hostName": "h", "app": "FOO", "ipAddr": "10.0.0.1",
        "port": 8080, "dataCenterInfo": {"name": "MyOwn"}}});
    let body = support::gzip(instance.to_string().as_bytes());
    assert_eq!(post(&house, "/eureka/apps/FOO", &headers, body).await, 204);
    assert_eq!(house.instance("FOO", "h").await["port"]["$"], 8080);
    let bomb = support::gzip(&vec![b' '; 64 * 1024 * 1024]);
    assert!(bomb.len() < 256 * 1024);
    assert_eq!(post(&house, "/eureka/apps/FOO", &headers, bomb).await, 413);
    assert_eq!(post(&house, "/eureka/apps/FOO", &headers, b"no".to_vec()).await, 400);
}

#[tokio::test]
async fn large_lists_are_compressed_for_those_who_take_it() {
    let house = House::new();
    for number in 0..20 {
        house.register("FOO", &format!("i{number}"), json!({})).await;
    }
    let request = http::Request::get("/eureka/apps").header("accept-encoding", "gzip, deflate");
    let compressed = house.send(request.body(Full::default()).unwrap()).await;
    assert!(compressed.is_gzip);
    let request = http::Request::get("/eureka/apps").body(Full::default()).unwrap();
    assert_eq!(compressed.body, house.send(request).await.body);
}
