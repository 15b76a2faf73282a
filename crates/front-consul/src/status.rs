//! `/v1/status`: who leads, and who votes, as the server that is asked has it. So these answer
//! while nobody leads.

use std::sync::Arc;

use http::Method;
use muster_registry::Freshness;

use crate::front::Front;
use crate::reply::json_reply;
use crate::request::Request;
use crate::routes::{Later, Route};

pub(crate) const ROUTES: &[Route] = &[
    Route::later(
        Method::GET,
        "/v1/status/leader",
        "The address of the server that leads, or an empty text.",
        leader,
    ),
    Route::later(Method::GET, "/v1/status/peers", "The addresses of the servers that vote.", peers),
];

fn leader(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        let raft = front.door().operator.raft(&request.call(&front), Freshness::Stale).await?;
        Ok(json_reply(raft.leader_address.unwrap_or_default().as_str(), request.style))
    })
}

fn peers(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        let raft = front.door().operator.raft(&request.call(&front), Freshness::Stale).await?;
        let peers: Vec<&str> = raft.servers.iter().map(|server| server.address.as_str()).collect();
        Ok(json_reply(&peers, request.style))
    })
}
