//! What goes wrong, in Consul's status codes and words.
//!
//! Clients match on these texts, so this is the one place where a [`Refusal`] of the door or a
//! [`Denial`] of the state becomes one. Failures are plain text, never JSON.

use std::borrow::Cow;

use http::StatusCode;
use muster_model::outcome::Denial;
use muster_registry::Refusal;

/// The reply to a request that was not granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The status code.
    pub(crate) status: StatusCode,
    /// The body.
    pub(crate) text: Cow<'static, str>,
}

impl Failure {
    /// With this status code and text.
    pub(crate) fn new(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Failure {
        Failure { status, text: text.into() }
    }

    /// 400: the client must change the request.
    pub(crate) fn bad_request(text: impl Into<Cow<'static, str>>) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, text)
    }

    /// 404: it is not there.
    pub(crate) fn not_found(text: impl Into<Cow<'static, str>>) -> Failure {
        Failure::new(StatusCode::NOT_FOUND, text)
    }

    /// 403: not for this caller.
    pub(crate) fn forbidden(text: impl Into<Cow<'static, str>>) -> Failure {
        Failure::new(StatusCode::FORBIDDEN, text)
    }

    /// 500: everything else, as Consul has it.
    pub(crate) fn internal(text: impl Into<Cow<'static, str>>) -> Failure {
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }

    /// 413: the client must send less.
    pub(crate) fn too_large(n_bytes_max: usize) -> Failure {
        let text = format!("Request body too large, max size: {n_bytes_max} bytes.");
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        match refusal {
            Refusal::Invalid(text) => Failure::bad_request(text),
            Refusal::Unknown(text) => Failure::not_found(text),
            Refusal::Forbidden(text) => Failure::forbidden(format!("Permission denied: {text}")),
            Refusal::TooLarge { n_bytes_max, .. } => Failure::too_large(n_bytes_max),
            Refusal::TooMany(_) => Failure::new(StatusCode::TOO_MANY_REQUESTS, refusal.to_string()),
            Refusal::NoDatacenter(_) => Failure::internal("No path to datacenter"),
            Refusal::NoLeader => Failure::internal("No cluster leader"),
            Refusal::Stopping => Failure::new(StatusCode::SERVICE_UNAVAILABLE, refusal.to_string()),
            Refusal::Unwritable(_)
            | Refusal::Stalled(_)
            | Refusal::Late
            | Refusal::Unsupported(_)
            | Refusal::Internal(_) => Failure::internal(refusal.to_string()),
        }
    }
}

impl From<Denial> for Failure {
    fn from(denial: Denial) -> Failure {
        match denial {
            Denial::NodeNameTaken(name, id) => Failure::internal(format!(
                "failed inserting node: Error while renaming Node ID: {id:?}: \
                 Node name {name} is reserved by node {id} with name {name}"
            )),
            Denial::UnknownSession(id) if id.is_empty() => Failure::internal("missing session"),
            Denial::UnknownSession(id) => Failure::internal(format!("invalid session {id:?}")),
            other => Failure::internal(other.to_string()),
        }
    }
}
