//! `/v1/agent`: what this agent vouches for, who it is, and what its operator may do with it.
//!
//! None of this is replicated and no index stands beside it; the agent speaks for itself alone.

pub(crate) mod checks;
pub(crate) mod health;
pub(crate) mod identity;
pub(crate) mod members;
pub(crate) mod metrics;
pub(crate) mod monitor;
pub(crate) mod operations;
pub(crate) mod services;
pub(crate) mod stats;

use std::sync::Arc;

use muster_registry::local::Vouched;

use crate::failure::Failure;
use crate::filter::{Fields, Filter, Shaped};
use crate::front::Front;
use crate::request::Request;

/// What the agent vouches for now.
fn vouched(front: &Front) -> Arc<Vouched> {
    front.door().local.vouched().borrow().clone()
}

/// The objects that the filter of a request keeps.
fn kept<T: Fields + Shaped>(
    request: &Request,
    objects: impl Iterator<Item = T>,
) -> Result<Vec<T>, Failure> {
    let expression = request.parameters.text("filter").unwrap_or("");
    let filter = Filter::compile(expression, T::SHAPE)
        .map_err(|error| Failure::internal(error.to_string()))?;
    Ok(objects.filter(|object| filter.keeps(object)).collect())
}

/// The value of `?enable`, without which maintenance is not switched.
fn enable(request: &Request) -> Result<bool, Failure> {
    let Some(value) = request.parameters.text("enable") else {
        return Err(Failure::bad_request("Missing value for enable"));
    };
    crate::parameters::parse_bool(value)
        .ok_or_else(|| Failure::bad_request(format!("Invalid value for enable: {value:?}")))
}
