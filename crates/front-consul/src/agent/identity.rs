//! `/v1/agent`: who this agent is, and on what machine it runs.

use std::sync::Arc;

use http::Method;
use muster_model::Query;
use muster_model::answer::Body;
use muster_registry::cluster::{Member, Pool};
use muster_registry::operator::SettingValue;
use muster_registry::{Call, Freshness};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::agent::stats::{Stats, stats};
use crate::coordinate::CoordinateShape;
use crate::failure::Failure;
use crate::front::{Front, Settings};
use crate::reply::{Reply, json_reply};
use crate::request::Request;
use crate::routes::{Later, Route};
use crate::shapes::Facts;
use crate::shapes::member::MemberShape;

pub(crate) const ROUTES: &[Route] = &[
    Route::later(Method::GET, "/v1/agent/self", "Who this agent is and how it is set up.", whole),
    Route::now(Method::GET, "/v1/agent/host", "Facts about its machine.", host),
    Route::now(Method::GET, "/v1/agent/version", "Which version of the API is served.", version),
];

/// Consul gives the instant of its build; ours is not known, and clients only parse it.
const BUILD_DATE: &str = "1970-01-01T00:00:01Z";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WholeShape<'a> {
    config: ConfigShape<'a>,
    debug_config: Value,
    coord: Option<CoordinateShape>,
    member: Option<MemberShape<'a>>,
    stats: Stats,
    meta: Facts<'a>,
    #[serde(rename = "xDS")]
    xds: Option<()>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigShape<'a> {
    datacenter: &'a str,
    primary_datacenter: &'a str,
    node_name: &'a str,
    #[serde(rename = "NodeID")]
    node_id: &'a str,
    revision: &'a str,
    server: bool,
    version: &'a str,
    build_date: &'a str,
    bind_addr: &'a str,
    /// This program's own version.
    muster_version: &'a str,
}

fn whole(front: Arc<Front>, request: Request) -> Later {
    Box::pin(async move {
        let identity = front.door().local.identity();
        let operator = &front.door().operator;
        let raft = if identity.is_server {
            operator.raft(&Call::default(), Freshness::Stale).await.ok()
        } else {
            None
        };
        let members = operator.members(Pool::Lan);
        let own = members.iter().find(|member| member.name == identity.node);
        let stats = stats(&front, &members, raft.as_ref());
        let settings = front.settings();
        let shape = whole_shape(&front, &settings, &request, own, stats);
        Ok(json_reply(&shape, request.style))
    })
}

fn whole_shape<'a>(
    front: &'a Front,
    settings: &'a Settings,
    request: &Request,
    own: Option<&'a Member>,
    stats: Stats,
) -> WholeShape<'a> {
    let identity = front.door().local.identity();
    WholeShape {
        config: ConfigShape {
            datacenter: &identity.datacenter,
            primary_datacenter: &identity.primary_datacenter,
            node_name: &identity.node,
            node_id: &identity.node_id,
            revision: "",
            server: identity.is_server,
            version: &settings.api_version,
            build_date: BUILD_DATE,
            bind_addr: &identity.address,
            muster_version: identity.version,
        },
        debug_config: Value::Object(debug_config(front, own)),
        coord: own_coordinate(front, request),
        member: own.map(MemberShape::from),
        stats,
        meta: Facts::present(&identity.node_meta),
        xds: None,
    }
}

/// The configuration in effect, and where gossip reaches this agent, which tests of clients read.
fn debug_config(front: &Front, own: Option<&Member>) -> Map<String, Value> {
    let mut settings = match value_of(&front.door().operator.settings()) {
        Value::Object(settings) => settings,
        _ => Map::new(),
    };
    if let Some(own) = own {
        let address = std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        let address = own.address.parse().unwrap_or(address);
        let gossip = std::net::SocketAddr::new(address, own.port);
        settings.insert("SerfAdvertiseAddrLAN".to_owned(), json!(format!("tcp://{gossip}")));
    }
    settings
}

/// Where the agent's own node stands on the round-trip map, if that is known here.
fn own_coordinate(front: &Front, request: &Request) -> Option<CoordinateShape> {
    let query = Query::Coordinates { node: Some(front.door().local.identity().node.clone()) };
    let answered = front.door().registry.peek(&request.call(front), &query)?;
    let Body::Coordinates(places) = &answered.answer.body else { return None };
    places.first().map(|place| CoordinateShape::from(&place.coordinate))
}

fn version(front: &Front, request: &Request) -> Result<Reply, Failure> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct VersionShape<'a> {
        #[serde(rename = "SHA")]
        sha: &'a str,
        build_date: &'a str,
        human_version: &'a str,
        #[serde(rename = "FIPS")]
        fips: &'a str,
    }
    let settings = front.settings();
    let human_version = settings.api_version.as_str();
    let shape = VersionShape { sha: "", build_date: BUILD_DATE, human_version, fips: "" };
    Ok(json_reply(&shape, request.style))
}

fn host(front: &Front, request: &Request) -> Result<Reply, Failure> {
    let host = front.door().operator.host();
    let used = |all: u64, free: u64| {
        let used = all.saturating_sub(free);
        let percent = if all == 0 { 0.0 } else { used as f64 * 100.0 / all as f64 };
        (used, percent)
    };
    let (memory_used, memory_percent) = used(host.memory_bytes, host.memory_available_bytes);
    let (disk_used, disk_percent) = used(host.disk_bytes, host.disk_free_bytes);
    let cpus: Vec<Value> = (0..host.n_processors).map(|cpu| json!({ "cpu": cpu })).collect();
    let shape = json!({
        "Memory": {
            "total": host.memory_bytes,
            "available": host.memory_available_bytes,
            "used": memory_used,
            "usedPercent": memory_percent,
        },
        "CPU": cpus,
        "Host": {
            "hostname": host.hostname.as_str(),
            "uptime": host.uptime_s,
            "bootTime": (host.collected_at / 1_000_000_000).saturating_sub(host.uptime_s),
            "os": host.os.as_str(),
            "kernelVersion": host.kernel.as_str(),
            "kernelArch": host.architecture.as_str(),
        },
        "Disk": {
            "total": host.disk_bytes,
            "free": host.disk_free_bytes,
            "used": disk_used,
            "usedPercent": disk_percent,
        },
        "CollectionTime": host.collected_at,
        "Errors": null,
    });
    Ok(json_reply(&shape, request.style))
}

/// A value of the configuration as JSON.
fn value_of(setting: &SettingValue) -> Value {
    match setting {
        SettingValue::Absent => Value::Null,
        SettingValue::Bool(flag) => json!(flag),
        SettingValue::Number(number) => json!(number),
        SettingValue::Fraction(number) => json!(number),
        SettingValue::Text(text) => json!(text.as_str()),
        SettingValue::List(items) => items.iter().map(value_of).collect(),
        SettingValue::Map(items) => Value::Object(
            items.iter().map(|(key, value)| (key.to_string(), value_of(value))).collect(),
        ),
    }
}
