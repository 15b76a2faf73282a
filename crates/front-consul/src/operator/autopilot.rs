//! `/v1/operator/autopilot`: whether the servers are well, and the document that says how they are
//! looked after.
//!
//! The wish is kept in the replicated state, where the leader reads it; how the servers are is the
//! leader's own judgment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use muster_model::server_care::ServerCare;
use muster_model::{Command, Index, Outcome, Query, answer};
use muster_registry::cluster::{MemberStatus, ServerHealth};
use serde::Serialize;

use crate::decode::{self, Object};
use crate::duration;
use crate::failure::Failure;
use crate::front::Front;
use crate::parameters::NumberError;
use crate::reading::{Terms, mismatch};
use crate::reply::json_reply;
use crate::request::Request;
use crate::routes::{Later, Route};
use crate::shapes::Facts;
use crate::wall_time;

pub(crate) const ROUTES: &[Route] = &[
    Route::later(
        Method::GET,
        "/v1/operator/autopilot/configuration",
        "How servers are looked after.",
        configuration,
    ),
    Route::later(
        Method::PUT,
        "/v1/operator/autopilot/configuration",
        "Says how servers are looked after.",
        configure,
    ),
    Route::later(
        Method::GET,
        "/v1/operator/autopilot/health",
        "Whether the servers are well: 200, or 429 with the same body.",
        health,
    ),
    Route::later(Method::GET, "/v1/operator/autopilot/state", "How each server is.", state),
];

// ------------------------------------------------------------------------------------------------
// Configuration
// ------------------------------------------------------------------------------------------------

/// The document in Consul's words. Durations are in Go's notation.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigurationShape<'a> {
    cleanup_dead_servers: bool,
    last_contact_threshold: String,
    max_trailing_logs: u64,
    min_quorum: u64,
    server_stabilization_time: String,
    redundancy_zone_tag: &'a str,
    disable_upgrade_migration: bool,
    upgrade_version_tag: &'a str,
    create_index: Index,
    modify_index: Index,
}

fn configuration(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        let terms = Terms { seen: 0, ..Terms::parse(&front, &request)? };
        let (kind, name) = (ServerCare::KIND.into(), Some(ServerCare::NAME.into()));
        let query = Query::Settings { kind, name };
        let answered = front.read(&request.call(&front), &query, &terms).await?;
        let answer::Body::Settings(settings) = &answered.answer.body else {
            return Err(mismatch());
        };
        let kept = settings.first();
        let care = kept.map(|row| ServerCare::from_body(&row.body)).unwrap_or_default();
        let shape = ConfigurationShape {
            cleanup_dead_servers: care.removes_failed,
            last_contact_threshold: duration::format(care.last_contact_max),
            max_trailing_logs: care.entries_behind_max,
            min_quorum: care.voters_min,
            server_stabilization_time: duration::format(care.stabilization),
            redundancy_zone_tag: &care.zone_key,
            disable_upgrade_migration: care.skips_migration,
            upgrade_version_tag: &care.version_key,
            create_index: kept.map_or(0, |row| row.create_index),
            modify_index: kept.map_or(0, |row| row.modify_index),
        };
        Ok(json_reply(&shape, request.style))
    })
}

fn configure(front: Arc<Front>, mut request: Request) -> Later {
    Box::pin(async move {
        let if_index = request.parameters.natural("cas").transpose().map_err(refused_cas)?;
        let care = parse(&request.body().await?).map_err(reworded)?;
        let command = Command::PutSetting { setting: care.to_setting(), if_index };
        let committed = front.door().registry.submit(&request.call(&front), command).await?;
        match committed.outcome {
            Outcome::Done => Ok(json_reply(&true, request.style)),
            Outcome::Unmet => Ok(json_reply(&false, request.style)),
            Outcome::Denied(denial) => Err(denial.into()),
            _ => Err(mismatch()),
        }
    })
}

fn refused_cas(error: NumberError) -> Failure {
    Failure::bad_request(format!("Error parsing cas value: {error}"))
}

/// This endpoint begins its refusals of a body with other words than all others.
fn reworded(failure: Failure) -> Failure {
    let problem = failure.text.strip_prefix(decode::REFUSED).unwrap_or(&failure.text);
    Failure::bad_request(format!("Error parsing autopilot config: {problem}"))
}

/// What a body wishes; what it does not mention is as usual.
fn parse(body: &[u8]) -> Result<ServerCare, Failure> {
    let mut object = Object::parse(body, "api.AutopilotConfiguration")?;
    let usual = ServerCare::default();
    let has_cleanup = object.has("CleanupDeadServers");
    let cleanup = object.flag("CleanupDeadServers")?;
    let trailing = object.natural("MaxTrailingLogs")?;
    let care = ServerCare {
        removes_failed: if has_cleanup { cleanup } else { usual.removes_failed },
        last_contact_max: period(&mut object, "LastContactThreshold", usual.last_contact_max)?,
        entries_behind_max: if trailing == 0 { usual.entries_behind_max } else { trailing },
        voters_min: object.natural("MinQuorum")?,
        stabilization: period(&mut object, "ServerStabilizationTime", usual.stabilization)?,
        zone_key: object.text("RedundancyZoneTag")?,
        skips_migration: object.flag("DisableUpgradeMigration")?,
        version_key: object.text("UpgradeVersionTag")?,
    };
    for ignored in ["CreateIndex", "ModifyIndex"] {
        object.take(ignored);
    }
    object.finish()?;
    Ok(care)
}

fn period(object: &mut Object, key: &str, usual: Duration) -> Result<Duration, Failure> {
    if !object.has(key) {
        // Go clients send `null` for what they leave open.
        object.take(key);
        return Ok(usual);
    }
    object.duration(key)
}

// ------------------------------------------------------------------------------------------------
// Health
// ------------------------------------------------------------------------------------------------

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct HealthShape<'a> {
    healthy: bool,
    failure_tolerance: u32,
    servers: Vec<ServerHealthShape<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServerHealthShape<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    name: &'a str,
    address: &'a str,
    serf_status: &'a str,
    version: &'a str,
    leader: bool,
    last_contact: String,
    last_term: u64,
    last_index: u64,
    healthy: bool,
    voter: bool,
    stable_since: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StateShape<'a> {
    healthy: bool,
    failure_tolerance: u32,
    optimistic_failure_tolerance: u32,
    servers: BTreeMap<&'a str, ServerStateShape<'a>>,
    leader: &'a str,
    voters: Vec<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServerStateShape<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    name: &'a str,
    address: &'a str,
    node_status: &'a str,
    version: &'a str,
    last_contact: String,
    last_term: u64,
    last_index: u64,
    healthy: bool,
    stable_since: String,
    read_replica: bool,
    status: &'a str,
    meta: Facts<'a>,
    node_type: &'a str,
}

fn health(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        let view = front.door().operator.autopilot(&request.call(&front)).await?;
        let servers = view.servers.iter().map(|server| ServerHealthShape {
            id: &server.id,
            name: &server.node,
            address: &server.address,
            serf_status: status_of(server),
            version: &server.version,
            leader: server.is_leader,
            last_contact: last_contact(server),
            last_term: server.last_term,
            last_index: server.last_index,
            healthy: server.is_healthy,
            voter: server.is_voter,
            stable_since: stable_since(server),
        });
        let shape = HealthShape {
            healthy: view.is_healthy,
            failure_tolerance: view.failure_tolerance,
            servers: servers.collect(),
        };
        let mut reply = json_reply(&shape, request.style);
        if !view.is_healthy {
            *reply.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        }
        Ok(reply)
    })
}

fn state(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        let view = front.door().operator.autopilot(&request.call(&front)).await?;
        let voters = view.servers.iter().filter(|server| server.is_voter);
        let shape = StateShape {
            healthy: view.is_healthy,
            failure_tolerance: view.failure_tolerance,
            optimistic_failure_tolerance: NO_ZONES,
            servers: view.servers.iter().map(server_state).collect(),
            leader: &view.leader_id,
            voters: voters.map(|server| server.id.as_str()).collect(),
        };
        Ok(json_reply(&shape, request.style))
    })
}

/// How many more servers may fail while there are spare ones in other redundancy zones, which only
/// Consul's enterprise edition has.
const NO_ZONES: u32 = 0;

fn server_state(server: &ServerHealth) -> (&str, ServerStateShape<'_>) {
    let shape = ServerStateShape {
        id: &server.id,
        name: &server.node,
        address: &server.address,
        node_status: status_of(server),
        version: &server.version,
        last_contact: last_contact(server),
        last_term: server.last_term,
        last_index: server.last_index,
        healthy: server.is_healthy,
        stable_since: stable_since(server),
        read_replica: false,
        status: match (server.is_leader, server.is_voter) {
            (true, _) => "leader",
            (false, true) => "voter",
            (false, false) => "non-voter",
        },
        meta: Facts::nullable(&server.meta),
        node_type: "voter",
    };
    (server.id.as_str(), shape)
}

/// A server that is about to go still counts as there.
fn status_of(server: &ServerHealth) -> &'static str {
    match server.member_status {
        MemberStatus::Alive | MemberStatus::Leaving => "alive",
        MemberStatus::Left => "left",
        MemberStatus::Failed => "failed",
    }
}

/// A server that never heard from a leader says 0, as in Consul.
fn last_contact(server: &ServerHealth) -> String {
    duration::format(server.last_contact.unwrap_or_default())
}

fn stable_since(server: &ServerHealth) -> String {
    wall_time::rfc3339(server.stable_since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_document_does_not_mention_is_as_usual() {
        let found = parse(br#"{"CleanupDeadServers":false,"lastContactThreshold":"100ms"}"#);
        let expected = ServerCare {
            removes_failed: false,
            last_contact_max: Duration::from_millis(100),
            ..ServerCare::default()
        };
        assert_eq!(found.unwrap(), expected);
        assert_eq!(parse(b"{}").unwrap(), ServerCare::default());
    }

    proptest::proptest! {
        #[test]
        fn no_document_panics(body in r#"\{"(MinQuorum|CleanupDeadServers|LastContactThreshold|MaxTrailingLogs)":(-?[0-9]{1,20}|"[0-9smh-]{0,6}"|true|null)\}"#) {
            let _ = parse(body.as_bytes());
        }
    }
}
