//! A ping of HTTP/2 that is acknowledged passes.

use std::io;

use bytes::Bytes;
use h2::Ping;
use muster_health::check::Observation;
use muster_model::Status;
use muster_model::definition::TlsOptions;

use super::dial::{Dial, Tls};
use super::found;

pub(super) async fn run(
    dial: &Dial,
    address: &str,
    tls: Option<&TlsOptions>,
) -> io::Result<Observation> {
    let tls = tls.map(|options| Tls { options, protocol: b"h2" });
    let stream = dial.open(address, tls).await?;
    let (_sender, mut connection): (h2::client::SendRequest<Bytes>, _) =
        h2::client::handshake(stream).await.map_err(io::Error::other)?;
    let mut pings = connection.ping_pong().expect("it is taken once");
    tokio::select! {
        answered = pings.ping(Ping::opaque()) => answered.map_err(io::Error::other)?,
        closed = connection => {
            closed.map_err(io::Error::other)?;
            return Ok(found(Status::Critical, "the connection was closed before the ping"));
        }
    };
    Ok(found(Status::Passing, "HTTP2 ping was successful"))
}
