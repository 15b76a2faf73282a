//! A bare answer, over this crate's loop or over hyper alone: what the loop costs.
//!
//! `cargo run --release -p muster-listen --example bare -- listen|hyper PORT`. The same 6 kB are
//! answered to everything; `/parked` never answers, to weigh a parked request.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use muster_listen::{Answering, Census, Handler, Limits, Peer, Request, Response, serve};
use muster_world::{Address, Real, World as _};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Bare(Bytes);

/// Ready, or never.
struct Answer(Option<Response>);

impl Future for Answer {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Response> {
        self.0.take().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Answering for Answer {
    fn is_parked(&self) -> bool {
        true
    }
}

impl Handler for Bare {
    type Answering = Answer;

    fn handle(&self, request: Request, _peer: Peer) -> Answer {
        let is_answered = request.uri().path() != "/parked";
        Answer(is_answered.then(|| Response::new(self.0.clone().into())))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [way, port] = arguments.as_slice() else {
        return Err(std::io::Error::other("say listen or hyper, and a port"));
    };
    let port: u16 = port.parse().map_err(std::io::Error::other)?;
    let answer = Bytes::from(vec![b'x'; 6_000]);
    if way == "listen" {
        let listener = Real::new().listen(&Address::Inet(([127, 0, 0, 1], port).into()))?;
        let limits = Limits { connections_per_client_max: 65_536, ..Limits::default() };
        let _running = serve(listener, Arc::new(Bare(answer.clone())), Census::new(limits))?;
        std::future::pending::<()>().await;
    }
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answer = answer.clone();
        let service = service_fn(move |request: Request| {
            let answer = answer.clone();
            async move {
                if request.uri().path() == "/parked" {
                    std::future::pending::<()>().await;
                }
                Ok::<_, Infallible>(hyper::Response::new(Full::new(answer)))
            }
        });
        let engine = hyper::server::conn::http1::Builder::new();
        tokio::spawn(engine.serve_connection(TokioIo::new(stream), service));
    }
}
