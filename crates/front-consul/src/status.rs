//! `/v1/status`: who leads, and who votes.

use http::Method;
use muster_model::Text;

use crate::failure::Failure;
use crate::front::Front;
use crate::reply::{Reply, json_reply};
use crate::request::Request;
use crate::routes::Route;

pub(crate) const ROUTES: &[Route] = &[
    Route::now(
        Method::GET,
        "/v1/status/leader",
        "The address of the server that leads, or an empty text.",
        leader,
    ),
    Route::now(Method::GET, "/v1/status/peers", "The addresses of the servers that vote.", peers),
];

fn leader(front: &Front, request: &Request) -> Result<Reply, Failure> {
    refuse_other_datacenter(front, request)?;
    let leader = front.door().operator.raft().leader_address.unwrap_or_default();
    Ok(json_reply(leader.as_str(), request.style))
}

fn peers(front: &Front, request: &Request) -> Result<Reply, Failure> {
    refuse_other_datacenter(front, request)?;
    let raft = front.door().operator.raft();
    let peers: Vec<&str> = raft.servers.iter().map(|server| server.address.as_str()).collect();
    Ok(json_reply(&peers, request.style))
}

/// What only this agent can say is said for its own datacenter alone.
pub(crate) fn refuse_other_datacenter(front: &Front, request: &Request) -> Result<(), Failure> {
    match request.call(front).datacenter {
        None => Ok(()),
        Some(other) => Err(no_path(other)),
    }
}

fn no_path(datacenter: Text) -> Failure {
    muster_registry::Refusal::NoDatacenter(datacenter).into()
}
