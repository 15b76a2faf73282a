//! `/v1/event`: user events, small words to all nodes or some.
//!
//! Events are no part of the replicated state, so their list has no index. What stands in for it is
//! made of the id of the last event: it is not higher than the one before, only another, and a
//! client waits as long as it is the same.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use muster_registry::local::{Event, NewEvent};
use regex::RegexBuilder;
use serde::Serialize;

use crate::failure::Failure;
use crate::filter::PATTERN_SIZE_MAX;
use crate::front::Front;
use crate::limits::EVENT_BYTES_MAX;
use crate::reading::Terms;
use crate::reply::json_reply;
use crate::request::Request;
use crate::routes::{Later, Route};
use crate::shapes::pair::Base64;

pub(crate) const ROUTES: &[Route] = &[
    Route::later(Method::PUT, "/v1/event/fire/:name", "Fires a user event.", fire),
    Route::later(Method::GET, "/v1/event/list", "The user events seen last.", list),
];

/// The version of the format in which events travel.
const EVENT_VERSION: u32 = 1;
/// What stands for the index where there is no event.
const NO_EVENT: u64 = 1;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct EventShape<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    name: &'a str,
    payload: Base64<'a>,
    node_filter: &'a str,
    service_filter: &'a str,
    tag_filter: &'a str,
    version: u32,
    #[serde(rename = "LTime")]
    lamport_time: u64,
}

impl<'a> From<&'a Event> for EventShape<'a> {
    fn from(event: &'a Event) -> EventShape<'a> {
        EventShape {
            id: &event.id,
            name: &event.fired.name,
            payload: Base64(&event.fired.payload),
            node_filter: &event.fired.node_filter,
            service_filter: &event.fired.service_filter,
            tag_filter: &event.fired.tag_filter,
            version: EVENT_VERSION,
            lamport_time: event.lamport_time,
        }
    }
}

// ------------------------------------------------------------------------------------------------
// Firing
// ------------------------------------------------------------------------------------------------

fn fire(front: Arc<Front>, mut request: Request) -> Later {
    Box::pin(async move {
        let name = request.required_name("name")?;
        let filter = |key| request.parameters.text(key).unwrap_or("").into();
        let (node_filter, service_filter, tag_filter) =
            (filter("node"), filter("service"), filter("tag"));
        let payload = request.body_up_to(EVENT_BYTES_MAX).await;
        let payload = payload.map_err(|failure| too_large(failure, &request))?;
        let event = NewEvent { name, payload, node_filter, service_filter, tag_filter };
        check(&event)?;
        let fired = front.door().local.fire(&request.call(&front), event).await?;
        // Consul answers before its gossip has given the event a time.
        let shape = EventShape { lamport_time: 0, ..EventShape::from(&*fired) };
        Ok(json_reply(&shape, request.style))
    })
}

fn too_large(failure: Failure, request: &Request) -> Failure {
    if failure.status != StatusCode::PAYLOAD_TOO_LARGE {
        return failure;
    }
    let size = request.promised_bytes().map_or(String::new(), |n| format!(", received {n} bytes"));
    let text = format!(
        "Event payload too large{size}, max size: {EVENT_BYTES_MAX} bytes. \
         User events should be kept small for efficient gossip propagation."
    );
    Failure::new(StatusCode::PAYLOAD_TOO_LARGE, text)
}

fn check(event: &NewEvent) -> Result<(), Failure> {
    if event.service_filter.is_empty() && !event.tag_filter.is_empty() {
        return Err(Failure::internal("Cannot provide tag filter without service filter"));
    }
    let filters = [
        ("node", &event.node_filter),
        ("service", &event.service_filter),
        ("tag", &event.tag_filter),
    ];
    for (what, pattern) in filters {
        if let Err(error) = RegexBuilder::new(pattern).size_limit(PATTERN_SIZE_MAX).build() {
            let error = error.to_string();
            let problem = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            let text = format!("Invalid {what} filter: error parsing regexp: {problem}");
            return Err(Failure::internal(text));
        }
    }
    Ok(())
}

// ------------------------------------------------------------------------------------------------
// Listing
// ------------------------------------------------------------------------------------------------

fn list(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        let terms = Terms::parse(&front, &request)?;
        let wanted = request.parameters.text("name");
        let is_wanted = |event: &&Arc<Event>| wanted.is_none_or(|name| *event.fired.name == *name);
        let mut events = front.door().local.events();
        let until = front.wait_until(terms.wait);
        loop {
            let seen = events.borrow_and_update().clone();
            let last = seen.iter().rfind(is_wanted);
            let index = last.map_or(NO_EVENT, |event| index_of(&event.id));
            let waits = terms.seen == index && terms.seen != 0;
            if waits && matches!(front.within_wait(until, events.changed()).await, Some(Ok(()))) {
                continue;
            }
            let shapes: Vec<EventShape<'_>> =
                seen.iter().filter(is_wanted).map(|event| EventShape::from(&**event)).collect();
            let mut reply = json_reply(&shapes, request.style);
            let name = HeaderName::from_static("x-consul-index");
            reply.headers_mut().insert(name, HeaderValue::from(index));
            return Ok(reply);
        }
    })
}

/// Both halves of a UUID, laid over each other.
fn index_of(id: &str) -> u64 {
    let digits = id.bytes().filter_map(|byte| char::from(byte).to_digit(16));
    let (mut halves, mut n_digits) = ([0u64; 2], 0);
    for digit in digits.take(32) {
        let half = &mut halves[n_digits / 16];
        *half = *half << 4 | u64::from(digit);
        n_digits += 1;
    }
    halves[0] ^ halves[1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_made_of_both_halves_of_the_id() {
        assert_eq!(index_of("c1f53954-5793-2cec-4bba-94512714a2cd"), 9_966_374_739_268_570_657);
        assert_eq!(index_of("not a uuid"), index_of("aud"));
    }

    #[test]
    fn filters_must_be_expressions_and_a_tag_needs_a_service() {
        let event = NewEvent { node_filter: "(".into(), ..NewEvent::default() };
        let text = check(&event).unwrap_err().text;
        assert!(text.starts_with("Invalid node filter: error parsing regexp: "), "{text}");
        let event = NewEvent { tag_filter: "a".into(), ..NewEvent::default() };
        let text = check(&event).unwrap_err().text;
        assert_eq!(text, "Cannot provide tag filter without service filter");
    }

    proptest::proptest! {
        #[test]
        fn no_id_and_no_filter_panics(text in ".{0,60}") {
            let _ = index_of(&text);
            let _ = check(&NewEvent { node_filter: text.into(), ..NewEvent::default() });
        }
    }
}
