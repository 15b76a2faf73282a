//! `/v1/operator/usage`: how much there is of what.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use muster_model::{Query, answer};
use serde::Serialize;

use crate::front::Front;
use crate::reading::{Terms, add_standing, consistency, mismatch};
use crate::reply::json_reply;
use crate::request::Request;
use crate::routes::{Later, Route};
use crate::shapes::standing::StandingShape;

pub(crate) const ROUTES: &[Route] = &[Route::later(
    Method::GET,
    "/v1/operator/usage",
    "How many nodes, services and instances there are.",
    usage,
)];

/// The kinds of instances that are told apart, be there any or not.
const KINDS: [&str; 5] =
    ["api-gateway", "connect-proxy", "ingress-gateway", "mesh-gateway", "terminating-gateway"];

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ReplyShape<'a> {
    usage: BTreeMap<&'a str, UsageShape<'a>>,
    #[serde(flatten)]
    standing: StandingShape,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UsageShape<'a> {
    services: u64,
    service_instances: u64,
    connect_service_instances: BTreeMap<&'a str, u64>,
    billable_service_instances: u64,
    nodes: u64,
}

impl<'a> UsageShape<'a> {
    fn new(usage: &answer::Usage) -> UsageShape<'a> {
        let of_kind = |kind| {
            let found = usage.n_instances_by_kind.iter().find(|(own, _)| *own == kind);
            found.map_or(0, |(_, n)| *n)
        };
        let mut by_kind: BTreeMap<&str, u64> =
            KINDS.into_iter().map(|kind| (kind, of_kind(kind))).collect();
        by_kind.insert("connect-native", usage.n_connect_native);
        UsageShape {
            services: usage.n_services,
            service_instances: usage.n_instances,
            connect_service_instances: by_kind,
            billable_service_instances: usage.n_billable,
            nodes: usage.n_nodes,
        }
    }
}

fn usage(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        let terms = Terms::parse(&front, &request)?;
        let answered = front.read(&request.call(&front), &Query::Usage, &terms).await?;
        let answer::Body::Usage(usage) = &answered.answer.body else { return Err(mismatch()) };
        let (standing, index) = (&answered.standing, answered.answer.index);
        let shape = ReplyShape {
            usage: [(front.datacenter().as_str(), UsageShape::new(usage))].into(),
            standing: StandingShape::new(standing, consistency(standing.freshness))
                .with_index(index),
        };
        let mut reply = json_reply(&shape, request.style);
        add_standing(&mut reply, standing, index);
        Ok(reply)
    })
}
