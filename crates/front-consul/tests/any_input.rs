//! No request, however it is made, panics the front-end or goes without a reply.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use bytes::Bytes;
use http_body_util::Full;
use muster_front_consul::{Front, Settings, endpoints};
use muster_testkit::{Agent, Bench};
use proptest::prelude::*;

/// A path of the table with something in its open part, or any path at all.
fn target() -> impl Strategy<Value = String> {
    let patterns: Vec<&str> = endpoints().iter().map(|endpoint| endpoint.pattern).collect();
    let open = prop_oneof![Just("web".to_owned()), "[a-zA-Z0-9%/:_. -]{0,20}"];
    let parameters =
        "(([a-z-]{1,8}|index|wait|filter|tag|near|passing|pretty)=[a-zA-Z0-9%:=. ]{0,12}&?){0,4}";
    let known = (proptest::sample::select(patterns), open).prop_map(|(pattern, open)| {
        let fixed = pattern.split(':').next().unwrap_or(pattern);
        format!("{fixed}{}", if pattern.contains(':') { open } else { String::new() })
    });
    (prop_oneof![9 => known, 1 => "/[!-~]{0,40}"], parameters)
        .prop_map(|(path, parameters)| format!("{path}?{parameters}").replace(' ', "+"))
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        Just("null".to_owned()),
        Just("-1".to_owned()),
        Just("99999999999".to_owned()),
        Just("\"x\"".to_owned()),
        Just("\"passing\"".to_owned()),
        Just("\"10s\"".to_owned()),
        Just("[{}]".to_owned()),
        Just("{}".to_owned()),
        Just("[\"a\"]".to_owned()),
        Just("true".to_owned()),
    ];
    let names = vec![
        "Node",
        "Address",
        "Name",
        "ID",
        "Service",
        "Check",
        "Checks",
        "Tags",
        "Meta",
        "Port",
        "Ports",
        "Weights",
        "TTL",
        "HTTP",
        "Interval",
        "Status",
        "Definition",
        "Coord",
        "Vec",
        "TaggedAddresses",
        "Locality",
        "Proxy",
        "Token",
    ];
    let field = (proptest::sample::select(names), value)
        .prop_map(|(name, value)| format!("\"{name}\":{value}"));
    prop_oneof![
        4 => proptest::collection::vec(field, 0..6)
            .prop_map(|fields| format!("{{{}}}", fields.join(",")).into_bytes()),
        1 => proptest::collection::vec(any::<u8>(), 0..64),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn every_request_gets_a_reply(
        method in proptest::sample::select(vec!["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD"]),
        target in target(),
        body in body(),
    ) {
        let Ok(request) = http::Request::builder()
            .method(method)
            .uri(&target)
            .body(Full::new(Bytes::from(body)))
        else {
            return Ok(());
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime can be made");
        let status = runtime.block_on(async {
            let front = Front::new(Agent::door(&Bench::new()), Settings::default(), 1);
            front.serve(request, None).await.status()
        });
        prop_assert!(status.as_u16() >= 200);
    }
}
