//! `/v1/operator/raft`: who leads and who votes.
//!
//! This server is alone: it can neither hand its leadership to another nor be taken out, and says
//! so in the words that Consul has for a server that is alone.

use http::Method;
use serde::Serialize;

use crate::failure::Failure;
use crate::front::Front;
use crate::reply::{Reply, json_reply};
use crate::request::Request;
use crate::routes::Route;
use crate::status::refuse_other_datacenter;

pub(crate) const ROUTES: &[Route] = &[
    Route::now(
        Method::GET,
        "/v1/operator/raft/configuration",
        "The servers, and which of them votes and leads.",
        configuration,
    ),
    Route::now(Method::DELETE, "/v1/operator/raft/peer", "Takes a server out.", remove),
    Route::now(
        Method::POST,
        "/v1/operator/raft/transfer-leader",
        "Has another server lead.",
        transfer,
    ),
];

/// The version of the protocol among servers, as Consul counts it; tools compare it.
const PROTOCOL_VERSION: &str = "3";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigurationShape<'a> {
    servers: Vec<ServerShape<'a>>,
    index: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServerShape<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    node: &'a str,
    address: &'a str,
    leader: bool,
    protocol_version: &'a str,
    voter: bool,
    last_index: u64,
}

fn configuration(front: &Front, request: &Request) -> Result<Reply, Failure> {
    refuse_other_datacenter(front, request)?;
    let raft = front.door().operator.raft();
    let servers = raft.servers.iter().map(|server| ServerShape {
        id: &server.id,
        node: &server.node,
        address: &server.address,
        leader: server.is_leader,
        protocol_version: PROTOCOL_VERSION,
        voter: server.is_voter,
        last_index: server.last_index,
    });
    let shape = ConfigurationShape { servers: servers.collect(), index: raft.voters_index };
    Ok(json_reply(&shape, request.style))
}

fn remove(front: &Front, request: &Request) -> Result<Reply, Failure> {
    refuse_other_datacenter(front, request)?;
    let servers = front.door().operator.raft().servers;
    let (what, wished, is_known) =
        match (request.parameters.find("id"), request.parameters.find("address")) {
            (None, None) => {
                return Err(Failure::bad_request(
                    "Must specify either ?id with the server's ID or ?address with IP:port of \
                     peer to remove",
                ));
            }
            (Some(_), Some(_)) => {
                return Err(Failure::bad_request("Must specify only one of ?id or ?address"));
            }
            (Some(id), None) => ("id", id, servers.iter().any(|own| *own.id == *id)),
            (None, Some(address)) => {
                ("address", address, servers.iter().any(|own| *own.address == *address))
            }
        };
    let problem = if is_known {
        "is the last server that votes; it cannot be removed"
    } else {
        "was not found in the Raft configuration"
    };
    Err(Failure::internal(format!("{what} {wished:?} {problem}")))
}

fn transfer(front: &Front, request: &Request) -> Result<Reply, Failure> {
    refuse_other_datacenter(front, request)?;
    let servers = front.door().operator.raft().servers;
    Err(Failure::internal(match request.parameters.text("id") {
        None => "cannot find peer".to_owned(),
        Some(id) if servers.iter().any(|own| *own.id == *id) => {
            "cannot transfer leadership to itself".to_owned()
        }
        Some(id) => format!("Could not find address for server id {id}"),
    }))
}
