//! `/v1/operator/usage`: how much there is of what.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use muster_model::{Query, Text, answer};
use muster_registry::Call;
use muster_registry::cluster::Datacenter;
use serde::Serialize;

use crate::failure::Failure;
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
    usage: BTreeMap<&'a str, &'a UsageShape>,
    #[serde(flatten)]
    standing: StandingShape,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UsageShape {
    services: u64,
    service_instances: u64,
    connect_service_instances: BTreeMap<&'static str, u64>,
    billable_service_instances: u64,
    nodes: u64,
}

impl UsageShape {
    fn of(body: &answer::Body) -> Result<UsageShape, Failure> {
        let answer::Body::Usage(usage) = body else { return Err(mismatch()) };
        let of_kind = |kind| {
            let found = usage.n_instances_by_kind.iter().find(|(own, _)| *own == kind);
            found.map_or(0, |(_, n)| *n)
        };
        let mut by_kind: BTreeMap<&str, u64> =
            KINDS.into_iter().map(|kind| (kind, of_kind(kind))).collect();
        by_kind.insert("connect-native", usage.n_connect_native);
        Ok(UsageShape {
            services: usage.n_services,
            service_instances: usage.n_instances,
            connect_service_instances: by_kind,
            billable_service_instances: usage.n_billable,
            nodes: usage.n_nodes,
        })
    }
}

fn usage(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        let terms = Terms::parse(&front, &request)?;
        let call = request.call(&front);
        let answered = front.read(&call, &Query::Usage, &terms).await?;
        let own = call.datacenter.clone().unwrap_or_else(|| front.datacenter().clone());
        let mut all = BTreeMap::from([(own, UsageShape::of(&answered.answer.body)?)]);
        if request.parameters.has("global") {
            add_others(&front, &call, &mut all).await?;
        }
        let (standing, index) = (&answered.standing, answered.answer.index);
        let shape = ReplyShape {
            usage: all.iter().map(|(name, usage)| (name.as_str(), usage)).collect(),
            standing: StandingShape::new(standing, consistency(standing.freshness))
                .with_index(index),
        };
        let mut reply = json_reply(&shape, request.style);
        add_standing(&mut reply, standing, index);
        Ok(reply)
    })
}

/// Adds the other datacenters; those that do not answer are left out, as in Consul.
async fn add_others(
    front: &Front,
    call: &Call,
    all: &mut BTreeMap<Text, UsageShape>,
) -> Result<(), Failure> {
    let call = Call { datacenter: None, ..call.clone() };
    for Datacenter { name, .. } in front.door().operator.datacenters(&call).await? {
        if all.contains_key(&name) {
            continue;
        }
        let there = (name != *front.datacenter()).then(|| name.clone());
        let call = Call { datacenter: there, ..call.clone() };
        let asked = front.read(&call, &Query::Usage, &Terms::default()).await;
        if let Ok(answered) = asked {
            all.insert(name, UsageShape::of(&answered.answer.body)?);
        }
    }
    Ok(())
}
