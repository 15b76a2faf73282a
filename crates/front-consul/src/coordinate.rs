//! `/v1/coordinate`: where nodes stand on the round-trip map.

use std::sync::Arc;

use http::Method;
use muster_model::answer;
use muster_model::coordinate::{Coordinate, DIMENSIONS, NodeCoordinate};
use muster_model::{Command, Query, Text};
use muster_registry::Call;
use muster_registry::cluster::Datacenter;
use serde::Serialize;
use serde_json::Value;

use crate::decode::Object;
use crate::failure::Failure;
use crate::front::Front;
use crate::reading::{Form, Reading, Shaping, mismatch};
use crate::reply::{Encoded, done, json_reply};
use crate::request::Request;
use crate::routes::{Later, Route};

pub(crate) const ROUTES: &[Route] = &[
    Route::later(
        Method::GET,
        "/v1/coordinate/datacenters",
        "Where the servers of each datacenter stand.",
        datacenters,
    ),
    Route::read("/v1/coordinate/nodes", "Where all nodes stand.", nodes),
    Route::read("/v1/coordinate/node/:node", "Where one node stands.", node),
    Route::later(Method::PUT, "/v1/coordinate/update", "Says where a node stands.", update),
];

/// A place on the map.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CoordinateShape {
    vec: [f64; DIMENSIONS],
    error: f64,
    adjustment: f64,
    height: f64,
}

impl From<&Coordinate> for CoordinateShape {
    fn from(coordinate: &Coordinate) -> CoordinateShape {
        CoordinateShape {
            vec: coordinate.vector,
            error: coordinate.error,
            adjustment: coordinate.adjustment,
            height: coordinate.height,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NodeCoordinateShape<'a> {
    node: &'a str,
    segment: &'a str,
    coord: CoordinateShape,
}

impl<'a> From<&'a NodeCoordinate> for NodeCoordinateShape<'a> {
    fn from(place: &'a NodeCoordinate) -> NodeCoordinateShape<'a> {
        NodeCoordinateShape {
            node: &place.node,
            segment: &place.segment,
            coord: (&place.coordinate).into(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DatacenterShape<'a> {
    datacenter: &'a str,
    #[serde(rename = "AreaID")]
    area_id: &'a str,
    coordinates: Vec<NodeCoordinateShape<'a>>,
}

impl<'a> From<&'a Datacenter> for DatacenterShape<'a> {
    /// The names of servers without their datacenter's at the end.
    fn from(datacenter: &'a Datacenter) -> DatacenterShape<'a> {
        let short = |place: &'a NodeCoordinate| {
            let node = place.node.strip_suffix(datacenter.name.as_str());
            NodeCoordinateShape {
                node: node.and_then(|node| node.strip_suffix('.')).unwrap_or(&place.node),
                ..place.into()
            }
        };
        DatacenterShape {
            datacenter: &datacenter.name,
            area_id: "wan",
            coordinates: datacenter.servers.iter().map(short).collect(),
        }
    }
}

fn datacenters(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        let call = Call { datacenter: None, ..request.call(&front) };
        let mut known = front.door().operator.datacenters(&call).await?;
        known.sort_by(|a, b| a.name.cmp(&b.name));
        let shapes: Vec<DatacenterShape<'_>> = known.iter().map(DatacenterShape::from).collect();
        Ok(json_reply(&shapes, request.style))
    })
}

fn nodes(front: &Front, request: &Request) -> Result<Reading, Failure> {
    const FORM: Form = Form { name: "coordinate/nodes", make: shape_nodes };
    let query = Query::Coordinates { node: None };
    Ok(Reading::new(front, request, query, &FORM)?.about(&segment(request)).uncached())
}

fn shape_nodes(shaping: &Shaping<'_>, body: &answer::Body) -> Result<Encoded, Failure> {
    shaping.json(&of_segment(shaping, body)?)
}

fn node(front: &Front, request: &Request) -> Result<Reading, Failure> {
    const FORM: Form = Form { name: "coordinate/node", make: shape_node };
    let query = Query::Coordinates { node: Some(request.name().into()) };
    Ok(Reading::new(front, request, query, &FORM)?.about(&segment(request)).uncached())
}

fn shape_node(shaping: &Shaping<'_>, body: &answer::Body) -> Result<Encoded, Failure> {
    let places = of_segment(shaping, body)?;
    if places.is_empty() { shaping.missing() } else { shaping.json(&places) }
}

/// The segment that is asked for: `=` and its name, or nothing where all are.
fn segment(request: &Request) -> String {
    request.parameters.find("segment").map_or(String::new(), |name| format!("={name}"))
}

fn of_segment<'a>(
    shaping: &Shaping<'_>,
    body: &'a answer::Body,
) -> Result<Vec<NodeCoordinateShape<'a>>, Failure> {
    let answer::Body::Coordinates(places) = body else { return Err(mismatch()) };
    let wanted = shaping.subject.strip_prefix('=');
    let is_wanted = |place: &&NodeCoordinate| wanted.is_none_or(|name| place.segment == *name);
    Ok(places.iter().filter(is_wanted).map(NodeCoordinateShape::from).collect())
}

/// A datacenter in the query string rules over one in the body.
fn update(front: Arc<Front>, mut request: Request) -> Later {
    Box::pin(async move {
        let (place, datacenter) = place(&request.body().await?)?;
        let mut call = request.call(&front);
        let is_named = !datacenter.is_empty() && datacenter != *front.datacenter();
        call.datacenter = call.datacenter.or(is_named.then_some(datacenter));
        let command = Command::PutCoordinates { coordinates: vec![place] };
        front.door().registry.submit(&call, command).await?;
        Ok(done())
    })
}

/// The place that a body tells, and the datacenter it names.
fn place(body: &[u8]) -> Result<(NodeCoordinate, Text), Failure> {
    let incompatible = || Failure::internal("incompatible coordinate");
    let mut object = Object::parse(body, "structs.CoordinateUpdateRequest")?;
    let (node, segment) = (object.text("Node")?, object.text("Segment")?);
    let coordinate = object.object("Coord", "coordinate.Coordinate")?;
    let datacenter = object.text("Datacenter")?;
    object.finish()?;
    let mut coordinate = coordinate.ok_or_else(incompatible)?;
    let numbers: Vec<f64> = match coordinate.take("Vec") {
        Some(Value::Array(numbers)) => numbers.iter().filter_map(Value::as_f64).collect(),
        _ => Vec::new(),
    };
    let coordinate = Coordinate {
        vector: numbers.try_into().map_err(|_| incompatible())?,
        error: coordinate.fraction("Error")?,
        adjustment: coordinate.fraction("Adjustment")?,
        height: coordinate.fraction("Height")?,
    };
    if !coordinate.is_finite() {
        return Err(Failure::internal("invalid coordinate"));
    }
    Ok((NodeCoordinate { node, segment, coordinate }, datacenter))
}
