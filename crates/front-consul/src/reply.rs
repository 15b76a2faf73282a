//! Replies: the few kinds of body, and the header lines they all carry.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use muster_listen::Body;
use muster_model::answer::Encoding;
use serde::Serialize;

use crate::failure::Failure;
use crate::json;
use crate::limits::GZIP_BYTES_MIN;
use crate::request::Style;

/// A reply.
pub(crate) type Reply = Response<Body>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const JSON_UTF8: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// An encoded body with what its header lines need; what an answer keeps for the next who asks.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    pub(crate) status: StatusCode,
    pub(crate) kind: Kind,
    pub(crate) is_gzip: bool,
    pub(crate) body: Bytes,
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// JSON.
    Json,
    /// Words.
    Text,
    /// Bytes that nobody may take for something to be run.
    Raw,
    /// No body.
    Nothing,
}

impl Encoding for Encoded {
    fn n_bytes(&self) -> usize {
        self.body.len()
    }
}

impl Encoded {
    /// A value as JSON.
    pub(crate) fn json<T: Serialize + ?Sized>(value: &T, is_pretty: bool) -> Encoded {
        let body = if is_pretty { json::pretty(value) } else { json::compact(value) };
        Encoded::plain(StatusCode::OK, Kind::Json, body)
    }

    /// A body of this kind.
    pub(crate) fn plain(status: StatusCode, kind: Kind, body: impl Into<Bytes>) -> Encoded {
        Encoded { status, kind, is_gzip: false, body: body.into() }
    }

    /// A failure that depends on nothing but the answer and the request.
    pub(crate) fn failure(failure: Failure) -> Encoded {
        Encoded::plain(failure.status, Kind::Text, failure.text.into_owned())
    }

    /// The same compressed, where that is worth it.
    pub(crate) fn compressed(&self) -> Encoded {
        if self.is_gzip || self.body.len() < GZIP_BYTES_MIN {
            return self.clone();
        }
        let room = Vec::with_capacity(self.body.len() / 4);
        let mut encoder = GzEncoder::new(room, Compression::new(3));
        encoder.write_all(&self.body).expect("a Vec takes all bytes");
        let body = encoder.finish().expect("a Vec takes all bytes");
        Encoded { is_gzip: true, body: body.into(), ..*self }
    }

    /// The reply with this body.
    pub(crate) fn reply(&self) -> Reply {
        let mut reply = Response::new(Body::from(self.body.clone()));
        *reply.status_mut() = self.status;
        let headers = reply.headers_mut();
        headers.reserve(12);
        match self.kind {
            Kind::Json => {
                headers.insert(CONTENT_TYPE, JSON);
            }
            Kind::Text => {
                headers.insert(CONTENT_TYPE, TEXT);
            }
            Kind::Raw => raw_headers(headers),
            Kind::Nothing => {}
        }
        if self.is_gzip {
            headers.insert(CONTENT_ENCODING, GZIP);
        }
        reply
    }
}

/// Bytes of a client's making must not be run by the next client's browser.
fn raw_headers(headers: &mut HeaderMap) {
    const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");
    const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox");
    headers.insert(CONTENT_TYPE, TEXT);
    headers.insert(HeaderName::from_static("x-content-type-options"), NO_SNIFF);
    headers.insert(HeaderName::from_static("content-security-policy"), SANDBOX);
}

/// A value as JSON, in the style asked for.
pub(crate) fn json_reply<T: Serialize + ?Sized>(value: &T, style: Style) -> Reply {
    let encoded = Encoded::json(value, style.is_pretty);
    if style.is_gzip { encoded.compressed().reply() } else { encoded.reply() }
}

/// The reply to a wish that was granted and gives nothing back.
pub(crate) fn done() -> Reply {
    let mut reply = Response::new(Body::empty());
    reply.headers_mut().insert(CONTENT_TYPE, JSON_UTF8);
    reply
}

/// Plain words.
pub(crate) fn text_reply(status: StatusCode, text: impl Into<Bytes>) -> Reply {
    Encoded::plain(status, Kind::Text, text).reply()
}

/// A status without a body.
pub(crate) fn bare(status: StatusCode) -> Reply {
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = status;
    reply
}

/// The reply to a request that was not granted.
pub(crate) fn failed(failure: &Failure) -> Reply {
    text_reply(failure.status, failure.text.clone().into_owned())
}

/// Which methods a path knows: 200 for who asks for just that, else 405.
pub(crate) fn allow(methods: &str, refused: Option<&http::Method>) -> Reply {
    let mut reply = match refused {
        None => done(),
        Some(method) => {
            text_reply(StatusCode::METHOD_NOT_ALLOWED, format!("method {method} not allowed"))
        }
    };
    let methods = HeaderValue::from_str(methods).expect("methods are plain words");
    reply.headers_mut().insert(ALLOW, methods);
    reply
}

/// The header lines that every reply under `/v1` carries.
pub(crate) fn add_common(headers: &mut HeaderMap, configured: &[(HeaderName, HeaderValue)]) {
    const DEFAULT_POLICY: HeaderName = HeaderName::from_static("x-consul-default-acl-policy");
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(DEFAULT_POLICY, HeaderValue::from_static("allow"));
    for (name, value) in configured {
        headers.insert(name.clone(), value.clone());
    }
}
