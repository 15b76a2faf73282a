//! `/v1/agent/members`: whom this agent knows, in its own pool or in that of all datacenters'
//! servers.

use http::Method;
use muster_registry::cluster::Pool;

use crate::agent::kept;
use crate::failure::Failure;
use crate::front::Front;
use crate::reply::{Reply, json_reply};
use crate::request::Request;
use crate::routes::Route;
use crate::shapes::member::MemberShape;

pub(crate) const ROUTES: &[Route] =
    &[Route::now(Method::GET, "/v1/agent/members", "The members it knows.", members)];

fn members(front: &Front, request: &Request) -> Result<Reply, Failure> {
    let is_wan = request.parameters.text("wan").is_some();
    if request.parameters.text("segment").is_some_and(|segment| segment != "_all") {
        return Err(if is_wan {
            Failure::bad_request("Cannot provide a segment with wan=true")
        } else {
            let text = "Network segments are not supported in this version of Consul";
            Failure::internal(text)
        });
    }
    let pool = if is_wan { Pool::Wan } else { Pool::Lan };
    let members = front.door().operator.members(pool);
    let kept = kept(request, members.iter().map(MemberShape::from))?;
    if members.is_empty() {
        // An agent that is no server has no such pool; in Go that list is nothing.
        return Ok(json_reply(&(), request.style));
    }
    Ok(json_reply(&kept, request.style))
}
