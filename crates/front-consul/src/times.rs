//! `/v1/internal/times`: how long ago the checks were spoken on that decide about a service's instances.
//!
//! This program's own, for `muster explain`. The catalog knows indexes and no times; what is told here
//! comes from the memory of this agent: of the checks it runs itself, what it heard and when; of all
//! others, when it saw the index at which they changed last. What it cannot know is left out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use muster_model::answer::{self, InstanceDetail};
use muster_model::node::Origin;
use muster_model::query::InstanceFilter;
use muster_model::{Check, Indexed, Query};
use muster_registry::local::CheckTimes;
use serde::Serialize;

use crate::front::Front;
use crate::reading::{Terms, mismatch};
use crate::reply::json_reply;
use crate::request::Request;
use crate::routes::{Later, Route};

pub(crate) const ROUTES: &[Route] = &[Route::later(
    Method::GET,
    "/v1/internal/times/:service",
    "How long ago the checks of a service's instances were spoken on.",
    times,
)];

/// The times of one check, in milliseconds.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TimesShape<'a> {
    node: &'a str,
    #[serde(rename = "CheckID")]
    check_id: &'a str,
    /// How long ago this agent saw its last change.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_ms_ago: Option<u64>,
    /// How long it has had its status.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_for_ms: Option<u64>,
    /// How long ago it was heard of.
    #[serde(skip_serializing_if = "Option::is_none")]
    heard_ms_ago: Option<u64>,
    /// After how long its word no longer holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_ms: Option<u64>,
    /// After how long its instance is deregistered.
    #[serde(skip_serializing_if = "Option::is_none")]
    deregisters_in_ms: Option<u64>,
}

fn times(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        let service = request.required_name("service name")?.folded();
        let query = Query::Instances(InstanceFilter { service, ..InstanceFilter::default() });
        let terms = Terms { seen: 0, ..Terms::parse(&front, &request)? };
        let answered = front.read(&request.call(&front), &query, &terms).await?;
        let answer::Body::Instances(details) = &answered.answer.body else {
            return Err(mismatch());
        };
        let mut told = BTreeSet::new();
        let mut shapes = Vec::new();
        for InstanceDetail { node, checks, .. } in details {
            // The checks of a node stand with each of its instances.
            let new = checks.iter().filter(|check| told.insert((&*node.name, &*check.id)));
            shapes.extend(new.map(|check| shape(&front, &node.name, check)).collect::<Vec<_>>());
        }
        Ok(json_reply(&shapes, request.style))
    })
}

fn shape<'a>(front: &Front, node: &'a str, check: &'a Indexed<Check>) -> TimesShape<'a> {
    let local = &front.door().local;
    let is_own = check.origin == Origin::Agent && *node == *local.identity().node;
    let own = if is_own { local.check_times(&check.id) } else { None };
    let CheckTimes { status_for, heard_ago, expires_after, deregisters_after } =
        own.unwrap_or_default();
    TimesShape {
        node,
        check_id: &check.id,
        changed_ms_ago: ms(front.door().registry.age_of(check.modify_index)),
        status_for_ms: ms(status_for),
        heard_ms_ago: ms(heard_ago),
        expires_in_ms: ms(expires_after),
        deregisters_in_ms: ms(deregisters_after),
    }
}

fn ms(duration: Option<Duration>) -> Option<u64> {
    duration.map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
