//! `/v1/coordinate`: where nodes stand on the round-trip map.

use std::sync::Arc;

use http::Method;
use muster_model::answer;
use muster_model::coordinate::{Coordinate, DIMENSIONS, NodeCoordinate};
use muster_model::{Command, Query};
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

/// The map between datacenters has the servers of this one only: there is no other yet.
fn datacenters(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        let node = front.door().local.identity().node.clone();
        let query = Query::Coordinates { node: Some(node.clone()) };
        let call = request.call(&front);
        let terms = crate::reading::Terms::default();
        let answered = front.read(&call, &query, &terms).await?;
        let answer::Body::Coordinates(places) = &answered.answer.body else {
            return Err(mismatch());
        };
        let unknown = NodeCoordinate { node, ..NodeCoordinate::default() };
        let own = places.first().unwrap_or(&unknown);
        let shape = DatacenterShape {
            datacenter: front.datacenter(),
            area_id: "wan",
            coordinates: vec![own.into()],
        };
        Ok(json_reply(&[shape], request.style))
    })
}

fn nodes(front: &Front, request: &Request) -> Result<Reading, Failure> {
    const FORM: Form = Form { name: "coordinate/nodes", make: shape_nodes };
    let query = Query::Coordinates { node: None };
    let segment = request.parameters.text("segment").unwrap_or("");
    Ok(Reading::new(front, request, query, &FORM)?.about(segment).uncached())
}

fn shape_nodes(shaping: &Shaping<'_>, body: &answer::Body) -> Result<Encoded, Failure> {
    let answer::Body::Coordinates(places) = body else { return Err(mismatch()) };
    let of_segment = places.iter().filter(|place| place.segment == *shaping.subject);
    shaping.json(&of_segment.map(NodeCoordinateShape::from).collect::<Vec<_>>())
}

fn node(front: &Front, request: &Request) -> Result<Reading, Failure> {
    const FORM: Form = Form { name: "coordinate/node", make: shape_node };
    let query = Query::Coordinates { node: Some(request.name().into()) };
    Ok(Reading::new(front, request, query, &FORM)?.uncached())
}

fn shape_node(shaping: &Shaping<'_>, body: &answer::Body) -> Result<Encoded, Failure> {
    let answer::Body::Coordinates(places) = body else { return Err(mismatch()) };
    if places.is_empty() {
        return shaping.missing();
    }
    shaping.json(&places.iter().map(NodeCoordinateShape::from).collect::<Vec<_>>())
}

fn update(front: Arc<Front>, mut request: Request) -> Later {
    Box::pin(async move {
        let body = request.body().await?;
        let place = place(&body)?;
        let command = Command::PutCoordinates { coordinates: vec![place] };
        front.door().registry.submit(&request.call(&front), command).await?;
        Ok(done())
    })
}

fn place(body: &[u8]) -> Result<NodeCoordinate, Failure> {
    let incompatible = || Failure::internal("incompatible coordinate");
    let mut object = Object::parse(body, "structs.CoordinateUpdateRequest")?;
    let (node, segment) = (object.text("Node")?, object.text("Segment")?);
    let coordinate = object.object("Coord", "coordinate.Coordinate")?;
    object.take("Datacenter");
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
    Ok(NodeCoordinate { node, segment, coordinate })
}
