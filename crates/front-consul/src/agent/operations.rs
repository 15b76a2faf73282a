//! `/v1/agent`: maintenance of the node, reload, joining and leaving.

use std::sync::Arc;

use http::{Method, StatusCode};
use muster_model::Text;
use muster_registry::Refusal;
use muster_registry::cluster::Pool;

use crate::agent::enable;
use crate::failure::Failure;
use crate::front::Front;
use crate::reply::{Reply, done, text_reply};
use crate::request::Request;
use crate::routes::{Later, Route};

pub(crate) const ROUTES: &[Route] = &[
    Route::later(
        Method::PUT,
        "/v1/agent/maintenance",
        "Switches the node off or on again.",
        maintain,
    ),
    Route::later(Method::PUT, "/v1/agent/reload", "Reads the configuration again.", reload),
    Route::later(Method::PUT, "/v1/agent/leave", "Leaves gracefully and stops.", leave),
    Route::later(Method::PUT, "/v1/agent/join/:address", "Joins the pool of another agent.", join),
    Route::later(
        Method::PUT,
        "/v1/agent/force-leave/:node",
        "Has a failed member count as left.",
        force_leave,
    ),
    Route::now(
        Method::PUT,
        "/v1/agent/token/:kind",
        "Sets a token of the agent; refused while there are no ACLs.",
        token,
    ),
];

fn maintain(front: Arc<Front>, request: Request) -> Later {
    const NO_REASON: &str = "Maintenance mode is enabled for this node, but no reason was \
                             provided. This is a default message.";
    Box::pin(async move {
        let is_on = enable(&request)?;
        let reason = request.parameters.text("reason").unwrap_or(NO_REASON);
        let off = is_on.then(|| Text::from(reason));
        front.door().local.maintain(&request.call(&front), None, off).await?;
        Ok(done())
    })
}

fn reload(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        let remarks = front.door().operator.reload(&request.call(&front)).await?;
        if remarks.is_empty() {
            return Ok(done());
        }
        let lines: String = remarks.iter().map(|remark| format!("{remark}\n")).collect();
        Ok(text_reply(StatusCode::OK, lines))
    })
}

fn leave(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        front.door().operator.leave(&request.call(&front)).await?;
        Ok(done())
    })
}

fn join(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        let is_wan = request.parameters.text("wan").is_some();
        if is_wan && !front.door().local.identity().is_server {
            return Err(Failure::internal("Must be a server to join WAN cluster"));
        }
        let pool = if is_wan { Pool::Wan } else { Pool::Lan };
        let call = request.call(&front);
        match front.door().operator.join(&call, request.name(), pool).await {
            Ok(()) => Ok(done()),
            Err(refusal @ Refusal::Forbidden(_)) => Err(refusal.into()),
            Err(refusal) => Err(Failure::internal(refusal.to_string())),
        }
    })
}

/// Without `wan` a server is sought in both pools, under its name in each.
fn force_leave(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        let identity = front.door().local.identity();
        let is_wan = request.parameters.has("wan");
        if is_wan && !identity.is_server {
            let text = "Must be a server to force-leave a node from the WAN cluster";
            return Err(Failure::internal(text));
        }
        let prune = request.parameters.has("prune");
        let (name, ending) = (request.name(), format!(".{}", identity.datacenter));
        let mut sought = Vec::new();
        if !is_wan {
            sought.push((name.to_owned(), Pool::Lan));
        }
        if identity.is_server {
            let is_whole = is_wan || name.ends_with(&ending);
            let name = if is_whole { name.to_owned() } else { format!("{name}{ending}") };
            sought.push((name, Pool::Wan));
        }
        let (call, mut is_found) = (request.call(&front), false);
        for (node, pool) in sought {
            match front.door().operator.force_leave(&call, &node, prune, pool).await {
                Ok(()) => is_found = true,
                Err(Refusal::Unknown(_)) => {}
                Err(refusal) => return Err(refusal.into()),
            }
        }
        if !is_found {
            let text = format!("agent: No node found with name '{name}'");
            return Err(Failure::internal(text));
        }
        Ok(done())
    })
}

fn token(_: &Front, _: &Request) -> Result<Reply, Failure> {
    Err(Failure::new(StatusCode::UNAUTHORIZED, "ACL support disabled"))
}
