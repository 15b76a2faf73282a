//! `/v1/agent`: maintenance of the node, reload, joining and leaving.

use std::sync::Arc;

use http::{Method, StatusCode};
use muster_model::Text;

use crate::agent::enable;
use crate::failure::Failure;
use crate::front::Front;
use crate::reply::{Reply, done};
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
        front.door().operator.reload(&request.call(&front)).await?;
        Ok(done())
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
        let call = request.call(&front);
        let joined = front.door().operator.join(&call, request.name(), is_wan).await;
        joined.map_err(|refusal| Failure::internal(refusal.to_string()))?;
        Ok(done())
    })
}

fn force_leave(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        let is_prune = request.parameters.has("prune");
        let call = request.call(&front);
        let operator = &front.door().operator;
        match operator.force_leave(&call, request.name(), is_prune).await {
            Ok(()) => Ok(done()),
            Err(muster_registry::Refusal::Unknown(_)) => {
                let text = format!("agent: No node found with name '{}'", request.name());
                Err(Failure::internal(text))
            }
            Err(refusal) => Err(refusal.into()),
        }
    })
}

fn token(_: &Front, _: &Request) -> Result<Reply, Failure> {
    Err(Failure::new(StatusCode::UNAUTHORIZED, "ACL support disabled"))
}
