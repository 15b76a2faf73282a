//! `/v1/catalog`: nodes, services and instances, and writing them straight into the catalog.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use muster_model::answer::{self, NodeDetail};
use muster_model::outcome::Denial;
use muster_model::query::{InstanceFilter, NodeFilter};
use muster_model::{Command, Outcome, Query, Text};
use muster_registry::Call;
use serde::Serialize;

use crate::bodies::registration::{self, Wish};
use crate::caching::{self, CacheControl};
use crate::failure::Failure;
use crate::front::Front;
use crate::reading::{Form, Reading, Shaping, Terms, mismatch};
use crate::reply::{Encoded, Reply, json_reply};
use crate::request::Request;
use crate::routes::{Later, Route};
use crate::shapes::Words;
use crate::shapes::instance::{FlatInstanceShape, InstanceShape};
use crate::shapes::node::NodeShape;

pub(crate) const ROUTES: &[Route] = &[
    Route::later(
        Method::PUT,
        "/v1/catalog/register",
        "Registers a node with, if wished, an instance and checks.",
        register,
    ),
    Route::later(
        Method::PUT,
        "/v1/catalog/deregister",
        "Deregisters a node, one of its instances or one of its checks.",
        deregister,
    ),
    Route::later(
        Method::GET,
        "/v1/catalog/datacenters",
        "The datacenters, the nearest first.",
        datacenters,
    ),
    Route::read("/v1/catalog/nodes", "The nodes.", nodes),
    Route::read("/v1/catalog/services", "The services with their tags.", services),
    Route::read(
        "/v1/catalog/service/:service",
        "The instances of a service with their nodes.",
        service,
    ),
    Route::read("/v1/catalog/node/:node", "A node with its instances by id.", node),
    Route::read(
        "/v1/catalog/node-services/:node",
        "A node with its instances as a list.",
        node_services,
    ),
];

fn register(front: Arc<Front>, mut request: Request) -> Later {
    Box::pin(async move {
        let wish = registration::register(&request.body().await?)?;
        submit(&front, &request, wish).await
    })
}

fn deregister(front: Arc<Front>, mut request: Request) -> Later {
    Box::pin(async move {
        let wish = registration::deregister(&request.body().await?)?;
        submit(&front, &request, wish).await
    })
}

/// Submits a wish; a datacenter in the body rules over one in the query string.
async fn submit(front: &Front, request: &Request, wish: Wish) -> Result<Reply, Failure> {
    let mut call = request.call(front);
    if !wish.datacenter.is_empty() {
        call.datacenter = Some(wish.datacenter).filter(|name| name != front.datacenter());
    }
    let checks = match &wish.command {
        Command::Register(registration) => registration
            .checks
            .iter()
            .map(|check| (check.instance_id.clone(), check.id.clone()))
            .collect(),
        _ => Vec::new(),
    };
    let committed = front.door().registry.submit(&call, wish.command).await?;
    match committed.outcome {
        Outcome::Denied(Denial::UnknownInstance(_, instance)) => {
            let check = checks.iter().find(|(id, _)| *id == instance).map(|(_, check)| check);
            let check = check.cloned().unwrap_or_default();
            let text = format!("Unknown service ID '{instance}' for check ID '{check}'");
            Err(Failure::internal(text))
        }
        Outcome::Denied(denial) => Err(denial.into()),
        _ => Ok(json_reply(&true, request.style)),
    }
}

/// Whichever agent is asked: `dc` means nothing here.
fn datacenters(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        Terms::parse(&front, &request)?;
        let control = CacheControl::parse(&request.headers)?;
        let call = Call { datacenter: None, ..request.call(&front) };
        let known = front.door().operator.datacenters(&call).await?;
        let names: Vec<&str> = known.iter().map(|datacenter| datacenter.name.as_str()).collect();
        let mut reply = json_reply(&names, request.style);
        if request.parameters.has("cached") && front.settings().use_cache {
            let question = front.hashing().hash_one((call.caller, "datacenters"));
            let is_at_hand = front.asked().again(question) && !control.must_revalidate;
            caching::mark(&mut reply, is_at_hand.then_some(Duration::ZERO));
        }
        Ok(reply)
    })
}

// ------------------------------------------------------------------------------------------------
// Nodes
// ------------------------------------------------------------------------------------------------

fn nodes(front: &Front, request: &Request) -> Result<Reading, Failure> {
    let filter = NodeFilter {
        meta: request.parameters.node_meta(),
        near: request.parameters.near(&front.door().local.identity().node),
    };
    const FORM: Form = Form { name: "catalog/nodes", make: shape_nodes };
    Ok(Reading::new(front, request, Query::Nodes(filter), &FORM)?
        .relaxed(front, request)
        .uncached())
}

fn shape_nodes(shaping: &Shaping<'_>, body: &answer::Body) -> Result<Encoded, Failure> {
    let answer::Body::Nodes(nodes) = body else { return Err(mismatch()) };
    shaping.list(nodes.iter().map(|node| NodeShape::new(node, shaping.datacenter)))
}

fn node(front: &Front, request: &Request) -> Result<Reading, Failure> {
    const FORM: Form = Form { name: "catalog/node", make: shape_node };
    one_node(front, request, &FORM)
}

fn node_services(front: &Front, request: &Request) -> Result<Reading, Failure> {
    const FORM: Form = Form { name: "catalog/node-services", make: shape_node_services };
    one_node(front, request, &FORM)
}

fn one_node(front: &Front, request: &Request, form: &'static Form) -> Result<Reading, Failure> {
    let query = Query::Node { name_or_id: request.required_name("node name")? };
    Ok(Reading::new(front, request, query, form)?.relaxed(front, request).uncached())
}

/// A node with its instances, by id or as a list.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NodeServices<'a, T> {
    node: Option<NodeShape<'a>>,
    services: Option<T>,
}

fn shape_node(shaping: &Shaping<'_>, body: &answer::Body) -> Result<Encoded, Failure> {
    let answer::Body::Node(detail) = body else { return Err(mismatch()) };
    let found = detail.as_ref().map(|detail| node_of(shaping, detail)).transpose()?;
    shaping.json(&found.map(|(node, instances)| {
        let by_id: BTreeMap<&str, InstanceShape<'_>> =
            instances.into_iter().map(|instance| (instance.id(), instance)).collect();
        NodeServices { node: Some(node), services: Some(by_id) }
    }))
}

fn shape_node_services(shaping: &Shaping<'_>, body: &answer::Body) -> Result<Encoded, Failure> {
    let answer::Body::Node(detail) = body else { return Err(mismatch()) };
    let found = detail.as_ref().map(|detail| node_of(shaping, detail)).transpose()?;
    let (node, services) = found.unzip();
    shaping.json(&NodeServices { node, services })
}

/// The node, and its instances that the filter keeps.
fn node_of<'a>(
    shaping: &Shaping<'a>,
    detail: &'a NodeDetail,
) -> Result<(NodeShape<'a>, Vec<InstanceShape<'a>>), Failure> {
    let instances = shaping.kept(detail.instances.iter().map(|one| InstanceShape::new(one)))?;
    Ok((NodeShape::new(&detail.node, shaping.datacenter), instances))
}

// ------------------------------------------------------------------------------------------------
// Services
// ------------------------------------------------------------------------------------------------

/// A filter speaks about instances, so only without one the list of names is enough.
fn services(front: &Front, request: &Request) -> Result<Reading, Failure> {
    const NAMES: Form = Form { name: "catalog/services", make: shape_services };
    const KEPT: Form = Form { name: "catalog/services?filter", make: shape_kept_services };
    let node_meta = request.parameters.node_meta();
    let reading = if request.parameters.text("filter").is_some() {
        Reading::new(front, request, Query::AllInstances { node_meta }, &KEPT)?
    } else {
        Reading::new(front, request, Query::Services { node_meta }, &NAMES)?
    };
    Ok(reading.relaxed(front, request))
}

fn shape_services(shaping: &Shaping<'_>, body: &answer::Body) -> Result<Encoded, Failure> {
    let answer::Body::Services(services) = body else { return Err(mismatch()) };
    let by_name: BTreeMap<&str, Words<'_>> =
        services.iter().map(|(name, tags)| (name.as_str(), Words(tags))).collect();
    shaping.json(&by_name)
}

fn shape_kept_services(shaping: &Shaping<'_>, body: &answer::Body) -> Result<Encoded, Failure> {
    let answer::Body::Instances(details) = body else { return Err(mismatch()) };
    let all = details.iter().map(|detail| FlatInstanceShape::new(detail, shaping.datacenter));
    let kept = shaping.kept(all)?;
    let mut by_name: BTreeMap<&str, Vec<Text>> = BTreeMap::new();
    for instance in &kept {
        let (service, tags) = instance.service_and_tags();
        let own = by_name.entry(service).or_default();
        own.extend(tags.iter().cloned());
    }
    for tags in by_name.values_mut() {
        tags.sort();
        tags.dedup();
    }
    let by_name: BTreeMap<&str, Words<'_>> =
        by_name.iter().map(|(name, tags)| (*name, Words(tags))).collect();
    shaping.json(&by_name)
}

fn service(front: &Front, request: &Request) -> Result<Reading, Failure> {
    const FORM: Form = Form { name: "catalog/service", make: shape_service };
    let filter = instances_asked_for(front, request)?;
    Ok(Reading::new(front, request, Query::Instances(filter), &FORM)?.relaxed(front, request))
}

/// Which instances the path and the parameters ask for, whatever their status.
pub(crate) fn instances_asked_for(
    front: &Front,
    request: &Request,
) -> Result<InstanceFilter, Failure> {
    let parameters = &request.parameters;
    Ok(InstanceFilter {
        service: request.required_name("service name")?.folded(),
        tags: parameters.all("tag").filter(|tag| !tag.is_empty()).map(Text::from).collect(),
        node_meta: parameters.node_meta(),
        near: parameters.near(&front.door().local.identity().node),
        ..InstanceFilter::default()
    })
}

fn shape_service(shaping: &Shaping<'_>, body: &answer::Body) -> Result<Encoded, Failure> {
    let answer::Body::Instances(details) = body else { return Err(mismatch()) };
    shaping.list(details.iter().map(|detail| FlatInstanceShape::new(detail, shaping.datacenter)))
}
