//! What goes wrong, in status codes that Eureka's clients understand.
//!
//! A 404 has no body: some clients take any body for an instance, and then never register again. A
//! client goes on to its next server at a 5xx. Other texts are plain, for people.

use std::borrow::Cow;

use http::StatusCode;
use muster_model::outcome::Denial;
use muster_registry::Refusal;

/// The reply to a request that was not granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) text: Cow<'static, str>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Failure {
        Failure { status, text: text.into() }
    }

    /// 400: the client must change the request.
    pub(crate) fn bad_request(text: impl Into<Cow<'static, str>>) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, text)
    }

    /// 404: it is not there, and its client shall register it.
    pub(crate) fn not_found() -> Failure {
        Failure::new(StatusCode::NOT_FOUND, "")
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        let status = match &refusal {
            Refusal::Unknown(_) => return Failure::not_found(),
            Refusal::Invalid(_) => StatusCode::BAD_REQUEST,
            Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
            Refusal::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::TooMany(_)
            | Refusal::NoLeader
            | Refusal::Unwritable(_)
            | Refusal::Stalled(_)
            | Refusal::Late
            | Refusal::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::NoDatacenter(_) | Refusal::Unsupported(_) | Refusal::Internal(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Failure::new(status, refusal.to_string())
    }
}

impl From<Denial> for Failure {
    fn from(denial: Denial) -> Failure {
        Failure::bad_request(denial.to_string())
    }
}
