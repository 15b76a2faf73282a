//! Replies: the few kinds of body.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderValue, Response, StatusCode};
use muster_listen::Body;

use crate::codec::Notation;
use crate::documents::Encoded;
use crate::failure::Failure;

/// A reply.
pub(crate) type Reply = Response<Body>;

/// A status without a body: clients take most bodies for an instance.
pub(crate) fn bare(status: StatusCode) -> Reply {
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = status;
    reply
}

/// A document.
pub(crate) fn document(status: StatusCode, notation: Notation, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Body::from(body.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, kind(notation));
    reply
}

/// A document that others share.
pub(crate) fn encoded(encoded: &Encoded) -> Reply {
    let mut reply = document(StatusCode::OK, encoded.notation, encoded.body.clone());
    let headers = reply.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding, X-Eureka-Accept"));
    if encoded.is_gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    reply
}

/// The reply to a request that was not granted.
pub(crate) fn failed(failure: &Failure) -> Reply {
    if failure.text.is_empty() {
        return bare(failure.status);
    }
    let mut reply = Response::new(Body::from(failure.text.clone().into_owned()));
    *reply.status_mut() = failure.status;
    let kind = match failure.text.as_bytes() {
        [b'{', ..] => kind(Notation::Json),
        [b'<', ..] => kind(Notation::Xml),
        _ => HeaderValue::from_static("text/plain; charset=utf-8"),
    };
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    reply
}

/// The path is there, but not with this method.
pub(crate) fn other_method(allowed: &'static str) -> Reply {
    let mut reply = bare(StatusCode::METHOD_NOT_ALLOWED);
    reply.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    reply
}

fn kind(notation: Notation) -> HeaderValue {
    HeaderValue::from_static(match notation {
        Notation::Json => "application/json",
        Notation::Xml => "application/xml",
    })
}
