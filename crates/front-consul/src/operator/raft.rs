//! `/v1/operator/raft`: who leads and who votes, and how an operator changes that by hand.

use std::sync::Arc;

use http::Method;
use muster_model::Text;
use muster_registry::Refusal;
use muster_registry::cluster::ServerKey;
use serde::Serialize;

use crate::failure::Failure;
use crate::front::Front;
use crate::reading::Terms;
use crate::reply::{done, json_reply};
use crate::request::Request;
use crate::routes::{Later, Route};

pub(crate) const ROUTES: &[Route] = &[
    Route::later(
        Method::GET,
        "/v1/operator/raft/configuration",
        "The servers, and which of them votes and leads.",
        configuration,
    ),
    Route::later(Method::DELETE, "/v1/operator/raft/peer", "Takes a server out.", remove),
    Route::later(
        Method::POST,
        "/v1/operator/raft/transfer-leader",
        "Has another server lead.",
        transfer,
    ),
];

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
    protocol_version: String,
    voter: bool,
    last_index: u64,
}

fn configuration(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        let freshness = Terms::parse(&front, &request)?.freshness;
        let raft = front.door().operator.raft(&request.call(&front), freshness).await?;
        let servers = raft.servers.iter().map(|server| ServerShape {
            id: &server.id,
            node: if server.node.is_empty() { "(unknown)" } else { &server.node },
            address: &server.address,
            leader: server.is_leader,
            protocol_version: server
                .protocol_version
                .map_or_else(|| "unknown".to_owned(), |version| version.to_string()),
            voter: server.is_voter,
            last_index: server.last_index,
        });
        let shape = ConfigurationShape { servers: servers.collect(), index: raft.voters_index };
        Ok(json_reply(&shape, request.style))
    })
}

fn remove(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        let (key, unknown) =
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
                (Some(id), None) => (ServerKey::Id(id.into()), format!("id {id:?}")),
                (None, Some(at)) => (ServerKey::Address(at.into()), format!("address {at:?}")),
            };
        let removed = front.door().operator.remove_server(&request.call(&front), key).await;
        removed.map_err(|refusal| {
            told(refusal, || format!("{unknown} was not found in the Raft configuration"))
        })?;
        Ok(done())
    })
}

fn transfer(front: Arc<Front>, request: Request) -> Later {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct DoneShape {
        success: bool,
    }
    Box::pin(async move {
        let to = request.parameters.text("id").map(Text::from);
        let call = request.call(&front);
        let transferred = front.door().operator.transfer_leadership(&call, to.clone()).await;
        transferred.map_err(|refusal| {
            let id = to.unwrap_or_default();
            told(refusal, || format!("Could not find address for server id {id}"))
        })?;
        Ok(json_reply(&DoneShape { success: true }, request.style))
    })
}

/// What a wish about the group comes to that was not granted: these endpoints blame the server,
/// whoever is to blame.
fn told(refusal: Refusal, unknown: impl FnOnce() -> String) -> Failure {
    match refusal {
        Refusal::Unknown(_) => Failure::internal(unknown()),
        Refusal::Invalid(text) => Failure::internal(text),
        other => other.into(),
    }
}
