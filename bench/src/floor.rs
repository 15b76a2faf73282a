//! The floors: the least that a server of this kind can cost on this machine.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, UdpSocket};

use crate::Result;

/// As many header lines, and as long, as the front-end sends with a list.
const HEADER_LINES: [(HeaderName, HeaderValue); 8] = [
    (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
    (header::VARY, HeaderValue::from_static("Accept-Encoding")),
    (HeaderName::from_static("x-bench-default-acl-policy"), HeaderValue::from_static("allow")),
    (HeaderName::from_static("x-bench-effective-consistency"), HeaderValue::from_static("leader")),
    (HeaderName::from_static("x-bench-index"), HeaderValue::from_static("127")),
    (HeaderName::from_static("x-bench-knownleader"), HeaderValue::from_static("true")),
    (HeaderName::from_static("x-bench-lastcontact"), HeaderValue::from_static("0")),
    (HeaderName::from_static("x-bench-query-backend"), HeaderValue::from_static("blocking-query")),
];

/// Runs a floor until it is killed.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let ready =
        arguments.iter().position(|word| word == "--ready-file").ok_or("no --ready-file")?;
    let ready = arguments.get(ready + 1).ok_or("no --ready-file")?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    match arguments.first().map(String::as_str) {
        Some("http") => {
            let n_bytes: usize = arguments.get(1).ok_or("how many bytes?")?.parse()?;
            runtime.block_on(http(n_bytes, ready))
        }
        Some("udp") => runtime.block_on(udp(ready)),
        _ => Err("floor http BYTES | udp".into()),
    }
}

/// Answers every request with the same bytes and as many header lines as the front-end sends.
async fn http(n_bytes: usize, ready: &str) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let bound = serde_json::json!({ "http": listener.local_addr()?.to_string() });
    std::fs::write(ready, bound.to_string())?;
    let body = Bytes::from(vec![b'x'; n_bytes]);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let body = body.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |_: Request<hyper::body::Incoming>| {
                let mut response = Response::builder();
                for (name, value) in HEADER_LINES {
                    response = response.header(name, value);
                }
                let response = response.body(Full::new(body.clone()));
                async move { Ok::<_, Infallible>(response.expect("a plain response is valid")) }
            });
            // The client may close at any moment.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

/// Sends every datagram back.
async fn udp(ready: &str) -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    let bound = serde_json::json!({ "dns": socket.local_addr()?.to_string() });
    std::fs::write(ready, bound.to_string())?;
    let mut buffer = vec![0; 65_535];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await?;
        // A full buffer drops, as the network would.
        let _ = socket.try_send_to(&buffer[..length], from);
    }
}
