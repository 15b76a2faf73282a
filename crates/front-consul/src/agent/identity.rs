//! `/v1/agent`: who this agent is, whom it knows, and on what machine it runs.

use std::collections::BTreeMap;

use http::Method;
use muster_model::Query;
use muster_model::answer::Body;
use muster_registry::operator::{HostFacts, RaftView, SettingValue};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::agent::{kept, vouched};
use crate::coordinate::CoordinateShape;
use crate::failure::Failure;
use crate::front::Front;
use crate::reply::{Reply, json_reply};
use crate::request::Request;
use crate::routes::Route;
use crate::shapes::Facts;
use crate::shapes::member::MemberShape;

pub(crate) const ROUTES: &[Route] = &[
    Route::now(Method::GET, "/v1/agent/self", "Who this agent is and how it is set up.", whole),
    Route::now(Method::GET, "/v1/agent/members", "The members it knows.", members),
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
    stats: BTreeMap<&'static str, BTreeMap<&'static str, String>>,
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

fn whole(front: &Front, request: &Request) -> Result<Reply, Failure> {
    let identity = front.door().local.identity();
    let members = front.door().operator.members();
    let own = members.iter().find(|member| member.name == identity.node);
    let mut debug_config = match value_of(&front.door().operator.settings()) {
        Value::Object(settings) => settings,
        _ => Map::new(),
    };
    if let Some(own) = own {
        let address = std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        let address = own.address.parse().unwrap_or(address);
        let gossip = std::net::SocketAddr::new(address, own.port);
        debug_config.insert("SerfAdvertiseAddrLAN".to_owned(), json!(format!("tcp://{gossip}")));
    }
    let shape = WholeShape {
        config: ConfigShape {
            datacenter: &identity.datacenter,
            primary_datacenter: &identity.primary_datacenter,
            node_name: &identity.node,
            node_id: &identity.node_id,
            revision: "",
            server: identity.is_server,
            version: &front.settings().api_version,
            build_date: BUILD_DATE,
            bind_addr: &identity.address,
            muster_version: identity.version,
        },
        debug_config: Value::Object(debug_config),
        coord: own_coordinate(front, request),
        member: own.map(|own| MemberShape::new(own, None)),
        stats: stats(front),
        meta: Facts::present(&identity.node_meta),
        xds: None,
    };
    Ok(json_reply(&shape, request.style))
}

/// Where the agent's own node stands on the round-trip map, if that is known here.
fn own_coordinate(front: &Front, request: &Request) -> Option<CoordinateShape> {
    let query = Query::Coordinates { node: Some(front.door().local.identity().node.clone()) };
    let answered = front.door().registry.peek(&request.call(front), &query)?;
    let Body::Coordinates(places) = &answered.answer.body else { return None };
    places.first().map(|place| CoordinateShape::from(&place.coordinate))
}

/// Numbers about the parts of the agent, as words: what `consul info` prints.
fn stats(front: &Front) -> BTreeMap<&'static str, BTreeMap<&'static str, String>> {
    let identity = front.door().local.identity();
    let vouched = vouched(front);
    let raft = front.door().operator.raft();
    let host = front.door().operator.host();
    let is_leader =
        raft.servers.iter().any(|server| server.is_leader && server.id == identity.node_id);
    let text = |value: &dyn ToString| value.to_string();
    BTreeMap::from([
        (
            "agent",
            BTreeMap::from([
                ("checks", text(&vouched.n_checks())),
                ("services", text(&vouched.n_instances())),
            ]),
        ),
        (
            "build",
            BTreeMap::from([
                ("prerelease", String::new()),
                ("revision", String::new()),
                ("version", text(&front.settings().api_version)),
                ("version_metadata", String::new()),
            ]),
        ),
        (
            "consul",
            BTreeMap::from([
                ("acl", "disabled".to_owned()),
                ("bootstrap", text(&(raft.servers.len() == 1))),
                ("known_datacenters", "1".to_owned()),
                ("leader", text(&is_leader)),
                ("leader_addr", raft.leader_address.as_deref().unwrap_or("").to_owned()),
                ("server", text(&identity.is_server)),
            ]),
        ),
        ("raft", raft_stats(&raft, is_leader)),
        ("runtime", runtime_stats(&host)),
    ])
}

fn raft_stats(raft: &RaftView, is_leader: bool) -> BTreeMap<&'static str, String> {
    let n_peers = raft.servers.iter().filter(|server| server.is_voter).count().saturating_sub(1);
    BTreeMap::from([
        ("applied_index", raft.applied_index.to_string()),
        ("commit_index", raft.commit_index.to_string()),
        ("last_log_index", raft.last_index.to_string()),
        ("last_snapshot_index", raft.snapshot_index.to_string()),
        ("latest_configuration_index", raft.voters_index.to_string()),
        ("num_peers", n_peers.to_string()),
        ("protocol_version", "3".to_owned()),
        ("state", if is_leader { "Leader" } else { "Follower" }.to_owned()),
        ("term", raft.term.to_string()),
    ])
}

fn runtime_stats(host: &HostFacts) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("arch", host.architecture.to_string()),
        ("cpu_count", host.n_processors.to_string()),
        ("os", host.os.to_string()),
    ])
}

fn members(front: &Front, request: &Request) -> Result<Reply, Failure> {
    if request.parameters.text("segment").is_some_and(|segment| segment != "_all") {
        let text = "Network segments are not supported in this version of Consul";
        return Err(Failure::internal(text));
    }
    let members = front.door().operator.members();
    let is_server = |tags: &[(muster_model::Text, muster_model::Text)]| {
        tags.iter().any(|(key, value)| key == "role" && value == "consul")
    };
    let wan = request.parameters.text("wan").map(|_| front.datacenter().as_str());
    let all = members
        .iter()
        .filter(|member| wan.is_none() || is_server(&member.tags))
        .map(|member| MemberShape::new(member, wan));
    Ok(json_reply(&kept(request, all)?, request.style))
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
    let human_version = front.settings().api_version.as_str();
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
