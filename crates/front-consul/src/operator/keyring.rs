//! `/v1/operator/keyring`: the keys that gossip is encrypted with.
//!
//! There is no gossip, and so no key to be listed or changed; that is what these endpoints say, in
//! the words of a Consul whose gossip is not encrypted.

use http::Method;

use crate::failure::Failure;
use crate::front::Front;
use crate::parameters::parse_bool;
use crate::reply::Reply;
use crate::request::Request;
use crate::routes::Route;

pub(crate) const ROUTES: &[Route] = &[
    Route::now(Method::GET, "/v1/operator/keyring", "Lists the keys of gossip.", list),
    Route::now(Method::POST, "/v1/operator/keyring", "Installs a key.", change),
    Route::now(Method::PUT, "/v1/operator/keyring", "Has a key used.", change),
    Route::now(Method::DELETE, "/v1/operator/keyring", "Removes a key.", change),
];

/// How many other members may pass an answer on.
const RELAYS_MAX: i64 = 5;

fn list(front: &Front, request: &Request) -> Result<Reply, Failure> {
    parameters(request, true)?;
    Err(no_keys(front))
}

fn change(front: &Front, request: &Request) -> Result<Reply, Failure> {
    parameters(request, false)?;
    Err(no_keys(front))
}

fn no_keys(front: &Front) -> Failure {
    let node = &front.door().local.identity().node;
    let datacenter = front.datacenter();
    Failure::internal(format!(
        "4 errors occurred:\n\
         \t* WAN error: 1/1 nodes reported failure\n\
         \t* {node}.{datacenter}: Keyring is empty (encryption not enabled)\n\
         \t* {datacenter} (LAN) error: 1/1 nodes reported failure\n\
         \t* {node}: Keyring is empty (encryption not enabled)\n\n"
    ))
}

fn parameters(request: &Request, is_list: bool) -> Result<(), Failure> {
    if let Some(text) = request.parameters.text("relay-factor") {
        let number: i64 = text.parse().map_err(|_| {
            let problem = format!("strconv.Atoi: parsing {text:?}: invalid syntax");
            Failure::bad_request(format!("Error parsing relay factor: {problem}"))
        })?;
        if !(0..=RELAYS_MAX).contains(&number) {
            let problem = format!("Relay factor must be in range: [0, {RELAYS_MAX}]");
            return Err(Failure::bad_request(format!("Invalid relay-factor: {problem}")));
        }
    }
    if let Some(text) = request.parameters.text("local-only") {
        let is_local = parse_bool(text).ok_or_else(|| {
            let problem = format!("strconv.ParseBool: parsing {text:?}: invalid syntax");
            Failure::bad_request(format!("Error parsing local-only: {problem}"))
        })?;
        if is_local && !is_list {
            return Err(Failure::bad_request(
                "Invalid use of local-only: local-only can only be set for list requests",
            ));
        }
    }
    Ok(())
}
