//! The few messages of etcd's gRPC interface that the bench needs: protobuf by hand, over HTTP/2.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::SendRequest;

use crate::Result;
use crate::tcp::connect_http2;

/// The longest message that is read.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// One connection, which carries any number of calls.
pub(super) struct Channel {
    sender: SendRequest<Said>,
    authority: String,
}

/// What is said in a call: one or more messages, after which the stream is closed or kept open.
pub(super) struct Said {
    messages: Option<Bytes>,
    stays_open: bool,
}

impl Body for Said {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        match self.messages.take() {
            Some(messages) => Poll::Ready(Some(Ok(Frame::data(messages)))),
            None if self.stays_open => Poll::Pending,
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.messages.is_none() && !self.stays_open
    }
}

impl Channel {
    pub(super) async fn open(to: SocketAddr) -> Result<Channel> {
        Ok(Channel { sender: connect_http2(to).await?, authority: to.to_string() })
    }

    /// One message for another.
    pub(super) async fn call(&mut self, method: &str, message: Vec<u8>) -> Result<Vec<u8>> {
        let mut answer = self.say(method, framed(&message)?, false).await?.into_body();
        let mut stream = Vec::new();
        let mut trailers = None;
        while let Some(frame) = answer.frame().await {
            match frame?.into_data() {
                Ok(data) => stream.extend_from_slice(&data),
                Err(other) => trailers = other.into_trailers().ok(),
            }
        }
        if let Some(status) = trailers.as_ref().and_then(|lines| lines.get("grpc-status"))
            && status != "0"
        {
            return Err(format!("{method} was answered with {status:?}").into());
        }
        Ok(take_message(&mut stream)?.ok_or("an answer without a message")?)
    }

    /// The same watch so many times on one stream, as long as that is kept.
    pub(super) async fn watch(&mut self, message: Vec<u8>, n_watches: usize) -> Result<Stream> {
        let messages = framed(&message)?.repeat(n_watches);
        let body = self.say("Watch/Watch", messages, true).await?.into_body();
        Ok(Stream { body, buffer: Vec::new(), n_watches })
    }

    async fn say(
        &mut self,
        method: &str,
        messages: Vec<u8>,
        stays_open: bool,
    ) -> Result<http::Response<Incoming>> {
        let request =
            http::Request::post(format!("http://{}/etcdserverpb.{method}", self.authority))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(Said { messages: Some(messages.into()), stays_open })?;
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        // An error without a message is all in the head.
        match answer.headers().get("grpc-status") {
            Some(status) if status != "0" => {
                Err(format!("{method} was answered with {status:?}").into())
            }
            _ => Ok(answer),
        }
    }
}

/// What watches tell.
pub(super) struct Stream {
    body: Incoming,
    buffer: Vec<u8>,
    n_watches: usize,
}

impl Stream {
    /// The next message of each watch.
    pub(super) async fn next_of_each(&mut self) -> Result<()> {
        for _ in 0..self.n_watches {
            self.next().await?;
        }
        Ok(())
    }

    /// The next message.
    pub(super) async fn next(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(message) = take_message(&mut self.buffer)? {
                return Ok(message);
            }
            let frame = self.body.frame().await.ok_or("the watch ended")??;
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }
}

/// A message as it stands on a stream.
fn framed(message: &[u8]) -> Result<Vec<u8>> {
    Ok([&[0][..], &u32::try_from(message.len())?.to_be_bytes(), message].concat())
}

/// Takes the first whole message off a stream.
fn take_message(stream: &mut Vec<u8>) -> Result<Option<Vec<u8>>> {
    let Some((head, rest)) = stream.split_first_chunk::<5>() else { return Ok(None) };
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err("a message that is too long".into());
    }
    let Some(message) = rest.get(..length).map(<[u8]>::to_vec) else { return Ok(None) };
    stream.drain(..5 + length);
    Ok(Some(message))
}

/// `PutRequest`: key and value.
pub(super) fn put(key: &str, value: &str) -> Vec<u8> {
    let mut out = field(1, key.as_bytes());
    out.extend(field(2, value.as_bytes()));
    out
}

/// `RangeRequest` for one key, linearizable.
pub(super) fn range(key: &str) -> Vec<u8> {
    field(1, key.as_bytes())
}

/// `RangeRequest` for all keys that begin with these letters: up to the next word of the same length.
pub(super) fn range_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    let mut out = field(1, prefix.as_bytes());
    out.extend(field(2, &end));
    out
}

/// `TxnRequest` that puts a key provided that it was never created: a comparison of its creation
/// with 0, which as every other default is not spelled out.
pub(super) fn create(key: &str, value: &str) -> Vec<u8> {
    const TARGET: [u8; 2] = [2 << 3, 1];
    let compare = [&TARGET[..], &field(3, key.as_bytes())].concat();
    let put = field(2, &put(key, value));
    [field(1, &compare), field(2, &put)].concat()
}

/// Whether what a `TxnResponse` is about was done.
pub(super) fn has_succeeded(answer: &[u8]) -> bool {
    find(answer, 2).is_ok_and(|found| found == Some(Value::Number(1)))
}

/// `WatchRequest` that creates a watch of one key.
pub(super) fn watch(key: &str) -> Vec<u8> {
    field(1, &field(1, key.as_bytes()))
}

/// Whether a `RangeResponse` has a pair.
pub(super) fn has_pair(answer: &[u8]) -> bool {
    find(answer, 2).is_ok_and(|found| found.is_some())
}

/// Whether the server that gave this `StatusResponse` leads: its own id is in the header.
pub(super) fn is_leader(status: &[u8]) -> Result<bool> {
    let Some(Value::Bytes(header)) = find(status, 1)? else { return Err("no header".into()) };
    let own = find(header, 2)?;
    let leader = find(status, 4)?;
    Ok(own.is_some() && own == leader)
}

/// A field of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
    out
}

#[derive(Debug, PartialEq, Eq)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The first field of this number in a message.
fn find(mut message: &[u8], number: u64) -> Result<Option<Value<'_>>> {
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut message)?),
            1 => Value::Bytes(take(&mut message, 8)?),
            2 => {
                let length = usize::try_from(varint(&mut message)?)?;
                Value::Bytes(take(&mut message, length)?)
            }
            5 => Value::Bytes(take(&mut message, 4)?),
            kind => return Err(format!("a field of kind {kind}").into()),
        };
        if tag >> 3 == number {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

fn varint(message: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(message, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number that does not end".into())
}

fn take<'a>(message: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (taken, rest) = message.split_at_checked(length).ok_or("a message that is cut off")?;
    *message = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_number() {
        let message = put("key", &"v".repeat(300));
        assert_eq!(find(&message, 1).expect("well formed"), Some(Value::Bytes(b"key")));
        let Ok(Some(Value::Bytes(value))) = find(&message, 2) else { panic!("no value") };
        assert_eq!(value.len(), 300);
        assert_eq!(find(&message, 3).expect("well formed"), None);
    }

    #[test]
    fn a_server_leads_whose_id_is_the_leaders() {
        // header { member_id: 300 }, leader: 300
        let status = |leader: u8| [&[0x0a, 3, 0x10, 0xac, 0x02, 0x20, leader, 0x02][..]].concat();
        assert!(is_leader(&status(0xac)).expect("well formed"));
        assert!(!is_leader(&status(0xad)).expect("well formed"));
    }

    #[test]
    fn what_is_cut_off_is_an_error_and_no_panic() {
        let message = put("key", &"v".repeat(300));
        for length in 1..message.len() {
            let _ = find(&message[..length], 9);
        }
        assert!(find(&[0xff; 20], 9).is_err());
    }

    #[test]
    fn messages_are_taken_off_a_stream_once_they_are_whole() {
        let mut stream = vec![0, 0, 0, 0, 2, 7];
        assert_eq!(take_message(&mut stream).expect("short"), None);
        stream.extend([8, 0, 0]);
        assert_eq!(take_message(&mut stream).expect("short"), Some(vec![7, 8]));
        assert_eq!(stream, [0, 0]);
    }
}
