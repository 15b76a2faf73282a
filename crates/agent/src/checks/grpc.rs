//! gRPC's health protocol: SERVING passes.
//!
//! The protocol has one call with one text in and one number out, so its two messages are written
//! and read here by hand, over a plain HTTP/2 stream.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{Method, Request, Uri, Version};
use muster_health::check::Observation;
use muster_model::Status;
use muster_model::definition::TlsOptions;

use super::dial::{Dial, Tls};
use super::found;

/// Where the one call of the protocol is.
const PATH: &str = "/grpc.health.v1.Health/Check";
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 4_096;
/// What a server says in its answer when all is well.
const SERVING: u64 = 1;

/// Asks `host:port`, or `host:port/service`.
pub(super) async fn run(
    dial: &Dial,
    target: &str,
    tls: Option<&TlsOptions>,
) -> io::Result<Observation> {
    let (address, service) = target.split_once('/').unwrap_or((target, ""));
    let scheme = if tls.is_some() { "https" } else { "http" };
    let tls = tls.map(|options| Tls { options, protocol: b"h2" });
    let stream = dial.open(address, tls).await?;
    let (sender, connection) = h2::client::handshake(stream).await.map_err(io::Error::other)?;
    let uri = Uri::builder().scheme(scheme).authority(address).path_and_query(PATH).build();
    let asking = ask(sender, uri.map_err(io::Error::other)?, service);
    let mut asking = std::pin::pin!(asking);
    let answer = tokio::select! {
        answer = &mut asking => answer,
        _ = connection => asking.await,
    };
    Ok(match answer? {
        Answer::Status(SERVING) => found(Status::Passing, format!("gRPC check {target}: success")),
        Answer::Status(other) => {
            let word = status_word(other);
            found(Status::Critical, format!("gRPC {target} serving status: {word}"))
        }
        Answer::Failed(why) => {
            found(Status::Critical, format!("gRPC check {target} failed: {why}"))
        }
    })
}

/// What the server said.
enum Answer {
    /// A status.
    Status(u64),
    /// That the call failed.
    Failed(String),
}

async fn ask(
    sender: h2::client::SendRequest<Bytes>,
    uri: Uri,
    service: &str,
) -> io::Result<Answer> {
    let request = Request::builder()
        .method(Method::POST)
        .version(Version::HTTP_2)
        .uri(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "Consul Health Check")
        .body(())
        .map_err(io::Error::other)?;
    let mut sender = sender.ready().await.map_err(io::Error::other)?;
    let (response, mut body) = sender.send_request(request, false).map_err(io::Error::other)?;
    body.send_data(question(service), true).map_err(io::Error::other)?;
    let response = response.await.map_err(io::Error::other)?;
    if !response.status().is_success() {
        return Ok(Answer::Failed(format!("HTTP status {}", response.status())));
    }
    if let Some(failure) = failure_in(response.headers()) {
        return Ok(Answer::Failed(failure));
    }
    let mut body = response.into_body();
    let mut answer = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(io::Error::other)?;
        // Whoever sends more than that does not speak this protocol.
        if answer.len() + piece.len() > ANSWER_BYTES_MAX {
            return Ok(Answer::Failed("the answer is too long".into()));
        }
        body.flow_control().release_capacity(piece.len()).map_err(io::Error::other)?;
        answer.extend_from_slice(&piece);
    }
    let trailers = body.trailers().await.map_err(io::Error::other)?;
    if let Some(failure) = trailers.as_ref().and_then(failure_in) {
        return Ok(Answer::Failed(failure));
    }
    Ok(match status_in(&answer) {
        Some(status) => Answer::Status(status),
        None => Answer::Failed("the answer cannot be read".into()),
    })
}

/// The failure that headers or trailers tell of.
fn failure_in(headers: &http::HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let code = text("grpc-status").filter(|code| code != "0")?;
    let message = text("grpc-message").unwrap_or_default();
    Some(format!("rpc error: code = {code} desc = {message}"))
}

/// The question: one frame with a message whose field 1 is the service.
fn question(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        put_varint(&mut message, service.len() as u64);
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put_slice(&message);
    frame.freeze()
}

/// Field 1 of the message in the answer's frame. One that is left out is 0.
fn status_in(mut frame: &[u8]) -> Option<u64> {
    if frame.len() < 5 || frame[0] != 0 {
        return None;
    }
    frame.advance(1);
    let length = frame.get_u32() as usize;
    let mut message = frame.get(..length)?;
    let mut status = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match key & 7 {
            0 => {
                let value = varint(&mut message)?;
                status = if key >> 3 == 1 { value } else { status };
            }
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            1 => message = message.get(8..)?,
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn status_word(status: u64) -> &'static str {
    match status {
        0 => "UNKNOWN",
        1 => "SERVING",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "a status that is not in the protocol",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_is_what_protobuf_makes_of_it() {
        assert_eq!(&question("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&question("web")[..], b"\x00\x00\x00\x00\x05\x0a\x03web");
    }

    #[test]
    fn the_status_is_found_among_fields_that_are_not_known() {
        assert_eq!(status_in(b"\0\0\0\0\x02\x08\x01"), Some(SERVING));
        assert_eq!(status_in(b"\0\0\0\0\0"), Some(0));
        assert_eq!(status_in(b"\0\0\0\0\x06\x12\x02ab\x08\x02"), Some(2));
        for broken in [&b""[..], b"\x01\0\0\0\0", b"\0\0\0\0\x09\x08", b"\0\0\0\0\x02\x12\x7f"] {
            assert_eq!(status_in(broken), None);
        }
    }
}
