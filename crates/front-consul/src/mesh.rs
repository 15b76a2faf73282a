//! The look-ups of the service mesh that plain registrations can answer: which instances speak for
//! a service inside the mesh (its proxies, and those that need none), and which gateways serve it.
//!
//! Gateways are bound to services by configuration entries, which are left out: nothing is ever
//! bound, and the answer is an empty list that wakes nobody.

use muster_model::answer::{self, InstanceDetail};
use muster_model::{Query, Status};

use crate::failure::Failure;
use crate::front::Front;
use crate::reading::{Form, Reading, Shaping, mismatch};
use crate::reply::Encoded;
use crate::request::Request;
use crate::routes::Route;
use crate::shapes::document::Document;
use crate::shapes::instance::{EntryShape, FlatInstanceShape};

pub(crate) const ROUTES: &[Route] = &[
    Route::read(
        "/v1/catalog/connect/:service",
        "The instances that speak for a service inside the mesh, with their nodes.",
        catalog_connect,
    ),
    Route::read(
        "/v1/catalog/gateway-services/:gateway",
        "The services bound to a gateway: none, while there are no configuration entries.",
        bound_to_gateway,
    ),
    Route::read(
        "/v1/health/connect/:service",
        "The instances that speak for a service inside the mesh, with nodes and checks.",
        health_connect,
    ),
    Route::read(
        "/v1/health/ingress/:service",
        "The ingress gateways of a service: none, while there are no configuration entries.",
        ingress_gateways,
    ),
];

fn catalog_connect(front: &Front, request: &Request) -> Result<Reading, Failure> {
    const FORM: Form = Form { name: "catalog/connect", make: shape_catalog };
    speakers(front, request, &FORM)
}

fn health_connect(front: &Front, request: &Request) -> Result<Reading, Failure> {
    const ALL: Form = Form { name: "health/connect", make: shape_health };
    const PASSING: Form = Form { name: "health/connect?passing", make: shape_passing };
    let form = if request.parameters.flag("passing")? { &PASSING } else { &ALL };
    speakers(front, request, form)
}

/// Registrations name the service they speak for in a document of their own, so all are looked at.
fn speakers(front: &Front, request: &Request, form: &'static Form) -> Result<Reading, Failure> {
    let service = request.required_name("service name")?.folded();
    let query = Query::AllInstances { node_meta: request.parameters.node_meta() };
    let reading = Reading::new(front, request, query, form)?;
    Ok(reading.about(&service).relaxed(front, request).uncached())
}

fn shape_catalog(shaping: &Shaping<'_>, body: &answer::Body) -> Result<Encoded, Failure> {
    let speakers = found(shaping, body)?;
    shaping.list(speakers.iter().map(|one| FlatInstanceShape::new(one, shaping.datacenter)))
}

fn shape_health(shaping: &Shaping<'_>, body: &answer::Body) -> Result<Encoded, Failure> {
    let speakers = found(shaping, body)?;
    shaping.list(speakers.iter().map(|one| EntryShape::new(one, shaping.datacenter)))
}

fn shape_passing(shaping: &Shaping<'_>, body: &answer::Body) -> Result<Encoded, Failure> {
    let mut speakers = found(shaping, body)?;
    speakers.retain(|one| one.status() == Status::Passing);
    shaping.list(speakers.iter().map(|one| EntryShape::new(one, shaping.datacenter)))
}

fn found<'a>(
    shaping: &Shaping<'_>,
    body: &'a answer::Body,
) -> Result<Vec<&'a InstanceDetail>, Failure> {
    let answer::Body::Instances(all) = body else { return Err(mismatch()) };
    Ok(all.iter().filter(|one| speaks_for(one, shaping.subject)).collect())
}

/// Whether an instance speaks for its service itself, without a proxy.
pub(crate) fn is_native(detail: &InstanceDetail) -> bool {
    speaks_for(detail, &detail.instance.service)
        && &*detail.instance.extras().kind != "connect-proxy"
}

/// Whether an instance is a proxy of the service, or an instance of it that needs none.
fn speaks_for(detail: &InstanceDetail, service: &str) -> bool {
    let extras = detail.instance.extras();
    if &*extras.kind == "connect-proxy" {
        let proxy = Document::proxy(&extras.proxy).as_proxy();
        return proxy.destination_service_name.eq_ignore_ascii_case(service);
    }
    let connect = Document::connect(&extras.connect).as_connect();
    connect.native && detail.instance.service.eq_ignore_ascii_case(service)
}

fn ingress_gateways(front: &Front, request: &Request) -> Result<Reading, Failure> {
    request.required_name("service name")?;
    nothing_bound(front, request)
}

fn bound_to_gateway(front: &Front, request: &Request) -> Result<Reading, Failure> {
    request.required_name("gateway name")?;
    nothing_bound(front, request)
}

/// Depends on the configuration entries of gateways, of which there are none to be written.
fn nothing_bound(front: &Front, request: &Request) -> Result<Reading, Failure> {
    const FORM: Form = Form { name: "gateways", make: shape_nothing };
    let query = Query::Settings { kind: "ingress-gateway".into(), name: None };
    Ok(Reading::new(front, request, query, &FORM)?.relaxed(front, request).uncached())
}

fn shape_nothing(shaping: &Shaping<'_>, _: &answer::Body) -> Result<Encoded, Failure> {
    let none: [(); 0] = [];
    shaping.json(&none)
}
