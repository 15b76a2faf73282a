//! `/v1/operator/keyring`: the keys with which gossip is sealed.
//!
//! A wish goes to every member of both pools. If one of them refuses or does not answer, the reply
//! is a failure that names it, also where the others did what was wished.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use http::Method;
use muster_registry::Call;
use muster_registry::call::Secret;
use muster_registry::cluster::{KeyUse, KeyringReach, KeyringReport, KeyringWish, Pool};
use serde::Serialize;

use crate::decode::Object;
use crate::failure::Failure;
use crate::front::Front;
use crate::parameters::parse_bool;
use crate::reply::{done, json_reply};
use crate::request::Request;
use crate::routes::{Later, Route};

pub(crate) const ROUTES: &[Route] = &[
    Route::later(Method::GET, "/v1/operator/keyring", "Lists the keys of gossip.", list),
    Route::later(Method::POST, "/v1/operator/keyring", "Installs a key.", install),
    Route::later(Method::PUT, "/v1/operator/keyring", "Has a key used.", seal),
    Route::later(Method::DELETE, "/v1/operator/keyring", "Removes a key.", remove),
];

/// How many other members may pass an answer on.
const RELAYS_MAX: i64 = 5;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ReportShape<'a> {
    #[serde(rename = "WAN")]
    wan: bool,
    datacenter: &'a str,
    segment: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    messages: BTreeMap<&'a str, &'a str>,
    keys: BTreeMap<&'a str, u32>,
    primary_keys: BTreeMap<&'a str, u32>,
    num_nodes: u32,
}

impl<'a> From<&'a KeyringReport> for ReportShape<'a> {
    fn from(report: &'a KeyringReport) -> ReportShape<'a> {
        let counted = |count: fn(&KeyUse) -> u32| {
            let counts = report.keys.iter().map(move |own| (own.key.reveal().as_str(), count(own)));
            counts.filter(|(_, n)| *n > 0).collect()
        };
        let messages = report.messages.iter().map(|(node, text)| (node.as_str(), text.as_str()));
        ReportShape {
            wan: report.pool == Pool::Wan,
            datacenter: &report.datacenter,
            segment: "",
            messages: messages.collect(),
            keys: counted(|own| own.n_members),
            primary_keys: counted(|own| own.n_primary),
            num_nodes: report.n_members,
        }
    }
}

fn list(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        let reach = reach(&request, true)?;
        let reports = ask(&front, &request.call(&front), KeyringWish::List, reach).await?;
        let shapes: Vec<ReportShape<'_>> = reports.iter().map(ReportShape::from).collect();
        Ok(json_reply(&shapes, request.style))
    })
}

fn install(front: Arc<Front>, request: Request) -> Later {
    change(front, request, KeyringWish::Install)
}

fn seal(front: Arc<Front>, request: Request) -> Later {
    change(front, request, KeyringWish::Use)
}

fn remove(front: Arc<Front>, request: Request) -> Later {
    change(front, request, KeyringWish::Remove)
}

fn change(front: Arc<Front>, mut request: Request, wish: fn(Secret) -> KeyringWish) -> Later {
    Box::pin(async move {
        let key = key(&request.body().await?)?;
        let reach = reach(&request, false)?;
        ask(&front, &request.call(&front), wish(key), reach).await?;
        Ok(done())
    })
}

async fn ask(
    front: &Front,
    call: &Call,
    wish: KeyringWish,
    reach: KeyringReach,
) -> Result<Vec<KeyringReport>, Failure> {
    if !front.door().local.identity().is_server {
        return Err(Failure::internal("keyring operations must run against a server node"));
    }
    let reports = front.door().operator.keyring(call, wish, reach).await?;
    complaints(&reports).map_or(Ok(reports), |text| Err(Failure::internal(text)))
}

/// What stands in the way, in the words of Go's list of errors; nothing where all went well.
fn complaints(reports: &[KeyringReport]) -> Option<String> {
    let mut lines = Vec::new();
    for report in reports {
        let KeyringReport { n_members, n_answers, n_errors, .. } = report;
        let problem = if *n_errors > 0 {
            format!("{n_errors}/{n_members} nodes reported failure")
        } else if n_answers != n_members {
            format!("{n_answers}/{n_members} nodes reported success")
        } else {
            continue;
        };
        lines.push(match report.pool {
            Pool::Lan => format!("{} (LAN) error: {problem}", report.datacenter),
            Pool::Wan => format!("WAN error: {problem}"),
        });
        lines.extend(report.messages.iter().map(|(node, text)| format!("{node}: {text}")));
    }
    let mut text = match lines.len() {
        0 => return None,
        1 => "1 error occurred:\n".to_owned(),
        n => format!("{n} errors occurred:\n"),
    };
    for line in lines {
        writeln!(text, "\t* {line}").expect("a String takes all text");
    }
    text.push('\n');
    Some(text)
}

fn key(body: &[u8]) -> Result<Secret, Failure> {
    let mut object = Object::parse(body, "agent.keyringArgs")?;
    let key = object.text("Key")?;
    for overruled in ["Token", "RelayFactor", "LocalOnly"] {
        object.take(overruled);
    }
    object.finish()?;
    Ok(key.into())
}

fn reach(request: &Request, is_list: bool) -> Result<KeyringReach, Failure> {
    let mut reach = KeyringReach::default();
    if let Some(text) = request.parameters.text("relay-factor") {
        let number: i64 = text.parse().map_err(|_| {
            let problem = format!("strconv.Atoi: parsing {text:?}: invalid syntax");
            Failure::bad_request(format!("Error parsing relay factor: {problem}"))
        })?;
        let factor = u8::try_from(number).ok().filter(|_| number <= RELAYS_MAX);
        reach.relay_factor = factor.ok_or_else(|| {
            let problem = format!("Relay factor must be in range: [0, {RELAYS_MAX}]");
            Failure::bad_request(format!("Invalid relay-factor: {problem}"))
        })?;
    }
    if let Some(text) = request.parameters.text("local-only") {
        reach.is_local_only = parse_bool(text).ok_or_else(|| {
            let problem = format!("strconv.ParseBool: parsing {text:?}: invalid syntax");
            Failure::bad_request(format!("Error parsing local-only: {problem}"))
        })?;
        if reach.is_local_only && !is_list {
            return Err(Failure::bad_request(
                "Invalid use of local-only: local-only can only be set for list requests",
            ));
        }
    }
    Ok(reach)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_refuses_or_is_silent_is_complained_of() {
        let well = KeyringReport { n_members: 3, n_answers: 3, ..KeyringReport::default() };
        assert_eq!(complaints(std::slice::from_ref(&well)), None);
        let silent = KeyringReport { n_answers: 2, datacenter: "dc1".into(), ..well.clone() };
        assert_eq!(
            complaints(&[well, silent]).unwrap(),
            "1 error occurred:\n\t* dc1 (LAN) error: 2/3 nodes reported success\n\n"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_key_panics(body in r#"\{"(Key|key|RelayFactor|x)":(-?[0-9]{1,20}|"[A-Za-z0-9+/=]{0,50}"|true|null)\}"#) {
            let _ = key(body.as_bytes());
        }
    }
}
