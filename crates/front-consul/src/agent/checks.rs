//! `/v1/agent/check`: the checks this agent runs, and the words it is told on TTL checks.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use muster_model::definition::Rule;
use muster_model::{Status, Text};

use crate::agent::{kept, vouched};
use crate::bodies::local;
use crate::decode::Object;
use crate::failure::Failure;
use crate::front::Front;
use crate::reply::{Reply, done, json_reply};
use crate::request::Request;
use crate::routes::{Later, Route};
use crate::shapes::check::CheckShape;

pub(crate) const ROUTES: &[Route] = &[
    Route::now(Method::GET, "/v1/agent/checks", "The checks by id.", list),
    Route::later(
        Method::PUT,
        "/v1/agent/check/register",
        "Declares a check of the node or of an instance.",
        register,
    ),
    Route::later(Method::PUT, "/v1/agent/check/deregister/:id", "Withdraws a check.", deregister),
    Route::later(Method::PUT, "/v1/agent/check/pass/:id", "Says that a TTL check passes.", pass),
    Route::later(Method::PUT, "/v1/agent/check/warn/:id", "Says that a TTL check warns.", warn),
    Route::later(Method::PUT, "/v1/agent/check/fail/:id", "Says that a TTL check fails.", fail),
    Route::later(
        Method::PUT,
        "/v1/agent/check/update/:id",
        "Says how a TTL check is, with an output.",
        update,
    ),
];

fn list(front: &Front, request: &Request) -> Result<Reply, Failure> {
    let vouched = vouched(front);
    let node = &front.door().local.identity().node;
    let all = vouched.checks().map(|own| {
        let instance = vouched.instance(&own.check.instance_id).map(|own| &own.instance);
        CheckShape::local(node, &own.check, instance)
    });
    let kept = kept(request, all)?;
    let by_id: BTreeMap<&str, &CheckShape<'_>> =
        kept.iter().map(|check| (check.id(), check)).collect();
    Ok(json_reply(&by_id, request.style))
}

fn register(front: Arc<Front>, mut request: Request) -> Later {
    Box::pin(async move {
        let body = request.body().await?;
        let allows_scripts = front.settings().allows_remote_scripts;
        let registration = local::check_registration(&body, allows_scripts)?;
        let instance_id = &registration.check.instance_id;
        if !instance_id.is_empty() && vouched(&front).instance(instance_id).is_none() {
            let text = format!("ServiceID {instance_id:?} does not exist");
            return Err(Failure::not_found(text));
        }
        front.door().local.register_check(&request.call(&front), registration).await?;
        Ok(done())
    })
}

fn deregister(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        let id = known(&front, request.name())?;
        front.door().local.deregister_check(&request.call(&front), &id).await?;
        Ok(done())
    })
}

fn pass(front: Arc<Front>, request: Request) -> Later {
    say(front, request, Status::Passing)
}

fn warn(front: Arc<Front>, request: Request) -> Later {
    say(front, request, Status::Warning)
}

fn fail(front: Arc<Front>, request: Request) -> Later {
    say(front, request, Status::Critical)
}

fn say(front: Arc<Front>, request: Request, status: Status) -> Later {
    Box::pin(async move {
        let note = Text::from(request.parameters.text("note").unwrap_or(""));
        renew(&front, &request, status, note).await
    })
}

fn update(front: Arc<Front>, mut request: Request) -> Later {
    Box::pin(async move {
        let mut body = Object::parse(&request.body().await?, "agent.checkUpdate")?;
        let (word, output) = (body.text("Status")?, body.text("Output")?);
        body.finish()?;
        let status = word
            .parse()
            .map_err(|_| Failure::bad_request(format!("Invalid check status: '{word}'")))?;
        renew(&front, &request, status, output).await
    })
}

async fn renew(
    front: &Front,
    request: &Request,
    status: Status,
    output: Text,
) -> Result<Reply, Failure> {
    let id = known(front, request.name())?;
    let is_ttl = vouched(front)
        .check(&id)
        .is_some_and(|own| matches!(own.definition.rule, Rule::Ttl { .. }));
    if !is_ttl {
        return Err(Failure::internal(format!("CheckID {id:?} does not have associated TTL")));
    }
    front.door().local.renew_check(&request.call(front), &id, status, output).await?;
    Ok(done())
}

/// The id of a check that is vouched for.
fn known(front: &Front, id: &str) -> Result<Text, Failure> {
    match vouched(front).check(id) {
        Some(own) => Ok(own.check.id.clone()),
        None => Err(Failure::not_found(format!(
            "Unknown check ID {id:?}. Ensure that the check ID is passed, not the check name."
        ))),
    }
}
