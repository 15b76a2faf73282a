//! `/v1/agent/health/service`: the status of local instances as a status code, for load balancers
//! that understand nothing else.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use muster_model::Status;
use muster_registry::local::{LocalInstance, Vouched};
use serde::Serialize;

use crate::agent::vouched;
use crate::failure::Failure;
use crate::front::Front;
use crate::reply::{Reply, json_reply, text_reply};
use crate::request::Request;
use crate::routes::Route;
use crate::shapes::local::{BareCheckShape, LocalInstanceShape, LocalStatusShape};

pub(crate) const ROUTES: &[Route] = &[
    Route::now(
        Method::GET,
        "/v1/agent/health/service/id/:id",
        "The status of one instance: 200 passing, 429 warning, 503 critical or in maintenance.",
        by_id,
    ),
    Route::now(
        Method::GET,
        "/v1/agent/health/service/name/:service",
        "The worst status of a service's local instances, likewise.",
        by_name,
    ),
];

/// A status, or an operator's switch, which is worse than any.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    Status(Status),
    Maintenance,
}

impl Word {
    /// What decides about an instance.
    fn of(vouched: &Vouched, own: &LocalInstance) -> Word {
        let words = vouched.checks_of(&own.instance.id).map(|own| {
            let is_switch = own.check.is_maintenance();
            if is_switch { Word::Maintenance } else { Word::Status(own.check.status) }
        });
        words.max().unwrap_or(Word::Status(Status::Passing))
    }

    fn as_str(self) -> &'static str {
        match self {
            Word::Status(status) => status.as_str(),
            Word::Maintenance => "maintenance",
        }
    }

    fn code(self) -> StatusCode {
        match self {
            Word::Status(Status::Passing) => StatusCode::OK,
            Word::Status(Status::Warning) => StatusCode::TOO_MANY_REQUESTS,
            Word::Status(Status::Critical) | Word::Maintenance => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

fn by_id(front: &Front, request: &Request) -> Result<Reply, Failure> {
    if request.name().is_empty() {
        return Err(Failure::internal("Missing serviceID"));
    }
    let vouched = vouched(front);
    let Some(own) = vouched.instance(request.name()) else {
        let reason = format!("ServiceId {} not found", request.name());
        let nothing =
            LocalStatusShape { aggregated_status: "critical", service: None, checks: None };
        return Ok(answer(request, StatusCode::NOT_FOUND, &reason, &nothing));
    };
    let word = Word::of(&vouched, own);
    let shape = shape(front, &vouched, own, word);
    Ok(answer(request, word.code(), word.as_str(), &shape))
}

fn by_name(front: &Front, request: &Request) -> Result<Reply, Failure> {
    if request.name().is_empty() {
        return Err(Failure::internal("Missing service Name"));
    }
    let vouched = vouched(front);
    let found: Vec<_> = vouched
        .instances()
        .filter(|own| *own.instance.service == *request.name())
        .map(|own| (own, Word::of(&vouched, own)))
        .collect();
    let shapes: Vec<_> =
        found.iter().map(|(own, word)| shape(front, &vouched, own, *word)).collect();
    match found.iter().map(|(_, word)| *word).max() {
        Some(worst) => Ok(answer(request, worst.code(), worst.as_str(), &shapes)),
        None => {
            let reason = format!("ServiceName {} Not Found", request.name());
            Ok(answer(request, StatusCode::NOT_FOUND, &reason, &shapes))
        }
    }
}

fn shape<'a>(
    front: &'a Front,
    vouched: &'a Vouched,
    own: &'a LocalInstance,
    word: Word,
) -> LocalStatusShape<'a> {
    let node = &front.door().local.identity().node;
    let checks = vouched.checks_of(&own.instance.id).map(|check| {
        let instance = (!check.check.is_about_node()).then_some(&own.instance);
        BareCheckShape::new(node, &check.check, instance)
    });
    LocalStatusShape {
        aggregated_status: word.as_str(),
        service: Some(LocalInstanceShape::new(&own.instance, front.datacenter(), None)),
        checks: Some(checks.collect()),
    }
}

/// The whole story as JSON, or just the word for who asks for text.
fn answer<T: Serialize>(request: &Request, code: StatusCode, reason: &str, story: &T) -> Reply {
    let accepts_text = request.headers.get(ACCEPT).is_some_and(|value| value == "text/plain");
    let is_text = match request.parameters.text("format") {
        Some(format) => format == "text",
        None => accepts_text,
    };
    let mut reply = if is_text {
        let mut reply = text_reply(code, reason.to_owned());
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        reply
    } else {
        json_reply(story, request.style)
    };
    *reply.status_mut() = code;
    if let Ok(reason) = HeaderValue::from_str(reason) {
        reply.headers_mut().insert(HeaderName::from_static("x-consul-reason"), reason);
    }
    reply
}
