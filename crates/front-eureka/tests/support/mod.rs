//! A front-end over a registry without a log, and how tests speak to it.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use muster_front_eureka::Front;
use muster_testkit::{Agent, Bench};
use serde_json::{Value, json};

/// When the tests take place.
pub(crate) const NOW: Duration = Duration::from_millis(1_795_000_000_000);

/// A front-end with the registry behind it.
pub(crate) struct House {
    pub(crate) bench: Arc<Bench>,
    pub(crate) front: Arc<Front>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) kind: String,
    /// Decompressed, if it came compressed.
    pub(crate) body: String,
    pub(crate) is_gzip: bool,
}

/// Bytes, compressed.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

impl House {
    pub(crate) fn new() -> House {
        let bench = Bench::new();
        House::over(&bench)
    }

    /// Another front-end over the same registry.
    pub(crate) fn over(bench: &Arc<Bench>) -> House {
        let door = Agent::door(bench);
        let front = Front::new(door, Arc::default(), Box::new(|| NOW));
        House { bench: bench.clone(), front }
    }

    pub(crate) async fn send(&self, request: http::Request<Full<Bytes>>) -> Said {
        let (head, body) = self.front.clone().serve(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let kind = head.headers.get("content-type").map_or("", |kind| kind.to_str().unwrap());
        let is_gzip = head.headers.get("content-encoding").is_some_and(|coding| coding == "gzip");
        let mut text = String::new();
        if is_gzip {
            flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
        } else {
            text = String::from_utf8(body.to_vec()).unwrap();
        }
        Said { status: head.status.as_u16(), kind: kind.to_owned(), body: text, is_gzip }
    }

    pub(crate) async fn ask(&self, method: &str, target: &str) -> Said {
        let request = http::Request::builder().method(method).uri(target);
        let request = request.header("accept", "application/json");
        self.send(request.body(Full::default()).unwrap()).await
    }

    /// The JSON document at a path.
    pub(crate) async fn json(&self, path: &str) -> Value {
        let said = self.ask("GET", path).await;
        assert_eq!(said.status, StatusCode::OK, "{path}: {}", said.body);
        serde_json::from_str(&said.body).unwrap()
    }

    /// The instance at a path.
    pub(crate) async fn instance(&self, app: &str, id: &str) -> Value {
        self.json(&format!("/eureka/apps/{app}/{id}")).await["instance"].take()
    }

    /// Registers an instance; `more` replaces members of a plain one.
    pub(crate) async fn register(&self, app: &str, id: &str, more: Value) -> Said {
        let mut instance = json!({
            "instanceId": id, "hostName": "h1", "app": app, "ipAddr": "10.0.0.1", "status": "UP",
            "port": {"$": 8080, "@enabled": "true"}, "vipAddress": app,
            "dataCenterInfo": {"name": "MyOwn"},
        });
        for (name, value) in more.as_object().unwrap() {
            instance[name] = value.clone();
        }
        let body = json!({ "instance": instance }).to_string();
        let request = http::Request::post(format!("/eureka/apps/{app}"));
        let request = request.header("content-type", "application/json");
        self.send(request.body(Full::from(body)).unwrap()).await
    }
}
