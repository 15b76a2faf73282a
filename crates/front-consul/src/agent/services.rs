//! `/v1/agent/service`: the instances this agent vouches for.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};
use muster_model::Text;

use crate::agent::{enable, kept, vouched};
use crate::bodies::local;
use crate::failure::Failure;
use crate::front::Front;
use crate::reading::Terms;
use crate::reply::{Reply, done, json_reply};
use crate::request::Request;
use crate::routes::{Later, Route};
use crate::shapes::content_hash;
use crate::shapes::local::LocalInstanceShape;

pub(crate) const ROUTES: &[Route] = &[
    Route::now(Method::GET, "/v1/agent/services", "The instances by id.", list),
    Route::later(
        Method::GET,
        "/v1/agent/service/:id",
        "One instance; waits while its content hash is the one given.",
        one,
    ),
    Route::later(
        Method::PUT,
        "/v1/agent/service/register",
        "Declares an instance with its checks.",
        register,
    ),
    Route::later(
        Method::PUT,
        "/v1/agent/service/deregister/:id",
        "Withdraws an instance with its checks.",
        deregister,
    ),
    Route::later(
        Method::PUT,
        "/v1/agent/service/maintenance/:id",
        "Switches an instance off or on again.",
        maintain,
    ),
];

fn list(front: &Front, request: &Request) -> Result<Reply, Failure> {
    let vouched = vouched(front);
    let all = vouched
        .instances()
        .map(|own| LocalInstanceShape::new(&own.instance, front.datacenter(), None));
    let kept = kept(request, all)?;
    let by_id: BTreeMap<&str, &LocalInstanceShape<'_>> =
        kept.iter().map(|instance| (instance.id(), instance)).collect();
    Ok(json_reply(&by_id, request.style))
}

fn one(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        let id = Text::from(request.name());
        let style = request.style;
        let terms = Terms::parse(&front, &request)?;
        let seen = Text::from(request.parameters.text("hash").unwrap_or(""));
        drop(request);
        let until = front.wait_until(terms.wait);
        let mut changes = front.door().local.vouched();
        loop {
            let vouched = changes.borrow_and_update().clone();
            let Some(own) = vouched.instance(&id) else {
                return Err(Failure::not_found(format!("unknown service ID: {id}")));
            };
            let hash = content_hash::of(&own.instance);
            let is_news = seen.is_empty() || hash != *seen;
            // A closed channel is an agent that stops: the present answer is the last one.
            if is_news || !matches!(front.within_wait(until, changes.changed()).await, Some(Ok(())))
            {
                let shape = LocalInstanceShape::new(&own.instance, front.datacenter(), Some(&hash));
                let mut reply = json_reply(&shape, style);
                let value = HeaderValue::from_str(&hash).expect("hexadecimal digits are fine");
                reply.headers_mut().insert(HeaderName::from_static("x-consul-contenthash"), value);
                return Ok(reply);
            }
        }
    })
}

fn register(front: Arc<Front>, mut request: Request) -> Later {
    Box::pin(async move {
        let replace_checks = request.parameters.has("replace-existing-checks")
            && request.parameters.text("replace-existing-checks") != Some("false");
        let body = request.body().await?;
        let allows_scripts = front.settings().allows_remote_scripts;
        let registration = local::registration(&body, replace_checks, allows_scripts)?;
        front.door().local.register(&request.call(&front), registration).await?;
        Ok(done())
    })
}

fn deregister(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        let id = known(&front, request.name())?;
        front.door().local.deregister(&request.call(&front), &id).await?;
        Ok(done())
    })
}

fn maintain(front: Arc<Front>, request: Request) -> Later {
    const NO_REASON: &str = "Maintenance mode is enabled for this service, but no reason was \
                             provided. This is a default message.";
    Box::pin(async move {
        request.required_name("service ID")?;
        let is_on = enable(&request)?;
        let id = known(&front, request.name())?;
        let reason = request.parameters.text("reason").unwrap_or(NO_REASON);
        let off = is_on.then(|| Text::from(reason));
        front.door().local.maintain(&request.call(&front), Some(&id), off).await?;
        Ok(done())
    })
}

/// The id of an instance that is vouched for.
fn known(front: &Front, id: &str) -> Result<Text, Failure> {
    match vouched(front).instance(id) {
        Some(own) => Ok(own.instance.id.clone()),
        None => Err(Failure::not_found(format!(
            "Unknown service ID {id:?}. Ensure that the service ID is passed, not the service name."
        ))),
    }
}
