//! The floors: the least that a server of this kind can cost on this machine.
//!
//! A floor is this program itself, started with `floor http` or `floor udp`: a bare hyper handler
//! that answers `GET /N` with N bytes and as many header lines as a front-end, with the allocator
//! of muster; and a loop that sends every datagram back.

use std::cell::Cell;
use std::convert::Infallible;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, UdpSocket};

use super::consul_api::FIRST_QUESTION;
use crate::Result;
use crate::contestant::{Addresses, Connection, Contestant, Deed, Doing, Kind, Plan};
use crate::dns::Resolver;
use crate::http::{self as client, get};
use crate::process::Launch;

/// The longest answer of the bare handler.
const ANSWER_BYTES_MAX: usize = 64 << 20;

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

/// Which floor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Floor {
    /// A bare HTTP handler.
    Http,
    /// A bare echo of datagrams.
    Udp,
}

impl Floor {
    fn word(self) -> &'static str {
        match self {
            Floor::Http => "http",
            Floor::Udp => "udp",
        }
    }
}

impl Contestant for Floor {
    fn name(&self) -> &str {
        crate::report::FLOOR
    }

    fn can(&self, kind: Kind) -> bool {
        match self {
            Floor::Http => kind == Kind::Bare,
            Floor::Udp => kind == Kind::Ask,
        }
    }

    fn install(&self) -> Result<String> {
        Ok("of this bench".into())
    }

    fn plans(&self, folders: &[PathBuf]) -> Result<Vec<Plan>> {
        let program = std::env::current_exe()?;
        let plan = |folder: &PathBuf| {
            let ready_file = folder.join("ready.json");
            let written = ready_file.display().to_string();
            let arguments = vec!["floor".into(), self.word().into(), written];
            let (program, folder) = (program.clone(), folder.clone());
            let launch = Launch { program, arguments, folder, ..Launch::default() };
            Plan { launch, addresses: Addresses::new(), ready_file: Some(ready_file) }
        };
        Ok(folders.iter().map(plan).collect())
    }

    fn first_deed(&self) -> Deed {
        match self {
            Floor::Http => Deed::Bare(1),
            Floor::Udp => FIRST_QUESTION,
        }
    }

    fn connect<'a>(&'a self, to: &'a Addresses) -> Doing<'a, Box<dyn Connection>> {
        Box::pin(async move {
            let at = *to.get(self.word()).ok_or("the floor has no address")?;
            Ok(match self {
                Floor::Http => Box::new(Bare(client::Connection::open(at).await?)),
                Floor::Udp => Box::new(Resolver::new(at)) as Box<dyn Connection>,
            })
        })
    }
}

struct Bare(client::Connection);

impl Connection for Bare {
    fn perform(&mut self, deed: Deed) -> Doing<'_, usize> {
        Box::pin(async move {
            match deed {
                Deed::Bare(n_bytes) => self.0.exchange(&get(&format!("/{n_bytes}"))).await,
                deed => Err(format!("a floor does not know {deed:?}").into()),
            }
        })
    }
}

/// Runs a floor until it is killed: `http|udp READY_FILE`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    match arguments {
        [which, ready] if which == "http" => runtime.block_on(http(Path::new(ready))),
        [which, ready] if which == "udp" => runtime.block_on(udp(Path::new(ready))),
        _ => Err("floor http|udp READY_FILE".into()),
    }
}

/// Answers `GET /N` with N bytes.
async fn http(ready: &Path) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let bound = serde_json::json!({ "http": listener.local_addr()?.to_string() });
    std::fs::write(ready, bound.to_string())?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // A front-end keeps what it answers; so does this connection.
            let kept = Cell::new(Bytes::new());
            let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
                let body = body(&request, kept.take());
                kept.set(body.clone());
                let mut response = Response::builder();
                for (name, value) in HEADER_LINES {
                    response = response.header(name, value);
                }
                let response = response.body(Full::new(body));
                async move { Ok::<_, Infallible>(response.expect("a plain response is valid")) }
            });
            // The client may close at any moment.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

/// As many bytes as the path says: the kept ones if they are as many.
fn body(request: &Request<hyper::body::Incoming>, kept: Bytes) -> Bytes {
    let n_bytes = request.uri().path().trim_start_matches('/').parse().unwrap_or(0);
    let n_bytes = ANSWER_BYTES_MAX.min(n_bytes);
    if kept.len() == n_bytes { kept } else { Bytes::from(vec![b'x'; n_bytes]) }
}

/// Sends every datagram back.
async fn udp(ready: &Path) -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    let bound = serde_json::json!({ "udp": socket.local_addr()?.to_string() });
    std::fs::write(ready, bound.to_string())?;
    let mut buffer = vec![0; 65_535];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await?;
        // A full buffer drops, as the network would.
        let _ = socket.try_send_to(&buffer[..length], from);
    }
}
