//! From the configuration to what each part is told.
//!
//! Every part has settings of its own, in its own words; this file is where the configuration's words
//! become theirs: at the start, and again at a reload for what may change while an agent runs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use http::{HeaderName, HeaderValue};
use muster_agent::checks::{Allowed, CheckTerms};
use muster_agent::local::LocalSetup;
use muster_agent::membership::Membership;
use muster_agent::ports::PortSetup;
use muster_agent::setup::{Declared, GossipSetup, Setup};
use muster_agent::telemetry::Style;
use muster_agent::{CheckSettings, ConsensusSettings, GossipSettings, GuardSettings, Joins, Key};
use muster_front_consul as front;
use muster_front_dns as dns;
use muster_listen::Limits;
use muster_model::Text;
use muster_model::server_care::ServerCare;
use muster_registry::local::Identity;
use muster_registry::operator::{LogLevel, SettingValue};

use crate::cli::local::API_VERSION;
use crate::config::Config;
use crate::config::cluster::GossipConfig;
use crate::config::setting::Port;
use crate::reload::Reload;

/// Where `--dev` keeps its files, in memory.
const FOLDER_IN_MEMORY: &str = "/muster";
/// Consul's usual scale of suspicion, which stands for our own usual one.
const SUSPICION_OF_CONSUL: u32 = 4;
/// The port of a recursor that names none.
const DNS_PORT: u16 = 53;

/// The folder for everything that outlives the agent.
pub fn data_folder(config: &Config) -> PathBuf {
    match config.data_dir.as_str() {
        "" => FOLDER_IN_MEMORY.into(),
        folder => folder.into(),
    }
}

/// Which log lines are printed, and how.
pub fn logging(config: &Config) -> Result<(LogLevel, Style), String> {
    let style = if config.log_json { Style::Json } else { Style::Plain };
    Ok((log_level(&config.log_level)?, style))
}

fn log_level(word: &str) -> Result<LogLevel, String> {
    Ok(match word.to_ascii_lowercase().as_str() {
        "trace" => LogLevel::Trace,
        "debug" => LogLevel::Debug,
        "info" => LogLevel::Info,
        "warn" => LogLevel::Warn,
        "err" | "error" => LogLevel::Error,
        _ => return Err(format!("log_level {word:?}: one of trace, debug, info, warn, error")),
    })
}

/// What the agent is told.
pub fn agent(
    config: &Config,
    identity: Identity,
    data_folder: PathBuf,
    dns_address: Option<SocketAddr>,
    reload: Arc<Reload>,
) -> Setup {
    let authority = config.connect.enabled.then(|| cluster_id(config, &identity));
    Setup {
        settings: settings(config, &identity, dns_address),
        consensus: ConsensusSettings {
            snapshot_after: config.raft_snapshot_threshold,
            raft_multiplier: config.performance.raft_multiplier,
            ..ConsensusSettings::default()
        },
        expects: expects(config),
        care: care(config),
        gossip: gossip(config),
        guard: guard(config),
        identity,
        data_folder,
        authority,
        write_timeout: config.performance.rpc_hold_timeout,
        reload: Arc::new(move || reload.clone().run()),
        api_version: API_VERSION.into(),
    }
}

/// How many servers found the group together; 0: this one waits to be taken in.
fn expects(config: &Config) -> usize {
    if config.bootstrap { 1 } else { config.bootstrap_expect as usize }
}

fn guard(config: &Config) -> GuardSettings {
    let guard = &config.guard;
    GuardSettings {
        is_on: guard.enabled,
        window: guard.window,
        n_failed_min: guard.failures_min.max(1) as usize,
        release_percent: guard.release_percent.clamp(1, 100),
        doubt_max: guard.doubt_max,
        ..GuardSettings::default()
    }
}

fn care(config: &Config) -> ServerCare {
    let autopilot = &config.autopilot;
    ServerCare {
        removes_failed: autopilot.cleanup_dead_servers,
        last_contact_max: autopilot.last_contact_threshold,
        entries_behind_max: autopilot.max_trailing_logs,
        stabilization: autopilot.server_stabilization_time,
        voters_min: u64::from(autopilot.min_quorum),
        ..ServerCare::default()
    }
}

/// How the agent gossips. The key was verified with the rest of the configuration.
fn gossip(config: &Config) -> GossipSetup {
    let ports = (config.ports.serf_lan.0.unwrap_or(0), config.ports.serf_wan.0.unwrap_or(0));
    let joins = |addresses: &[String], interval, tries_max| Joins {
        addresses: addresses.to_vec(),
        interval,
        tries_max,
    };
    let reaped = |settings: GossipSettings, reap_failed_after| GossipSettings {
        reap_failed_after,
        ..settings
    };
    let lan = pool(&config.gossip_lan, GossipSettings::lan());
    let wan = pool(&config.gossip_wan, GossipSettings::wan());
    GossipSetup {
        lan: reaped(lan, config.reconnect_timeout),
        wan: reaped(wan, config.reconnect_timeout_wan),
        lan_joins: joins(&config.retry_join, config.retry_interval, config.retry_max),
        wan_joins: joins(&config.retry_join_wan, config.retry_interval_wan, config.retry_max_wan),
        key: gossip_key(config.encrypt.reveal()),
        usual_ports: match ports {
            (0, 0) => GossipSetup::default().usual_ports,
            ports => ports,
        },
    }
}

fn gossip_key(text: &str) -> Option<Key> {
    let bytes = base64::prelude::BASE64_STANDARD.decode(text).ok()?;
    Key::new(&bytes).ok()
}

/// The timing of a pool: what the configuration changes of what is usual.
fn pool(config: &GossipConfig, usual: GossipSettings) -> GossipSettings {
    GossipSettings {
        gossip_interval: config.gossip_interval,
        gossip_nodes: config.gossip_nodes as usize,
        probe_interval: config.probe_interval,
        probe_timeout: config.probe_timeout,
        retransmit_mult: config.retransmit_mult,
        suspicion_mult: match config.suspicion_mult {
            SUSPICION_OF_CONSUL => usual.suspicion_mult,
            chosen => f64::from(chosen),
        },
        ..usual
    }
}

/// Where the ports towards other agents are to be bound.
///
/// # Errors
/// If an address is none.
pub fn ports(config: &Config, identity: &Identity) -> Result<PortSetup, String> {
    let bound = |address: &str, port: Port| -> Result<SocketAddr, String> {
        let first = address.split_whitespace().next().unwrap_or_default();
        let bare = first.trim_start_matches('[').trim_end_matches(']');
        let ip = bare.parse().map_err(|_| format!("bind_addr {address:?} is not an IP address"))?;
        Ok(SocketAddr::new(ip, port.0.unwrap_or(0)))
    };
    let or_bind = |address: &str| match address {
        "" => config.bind_addr.clone(),
        own => own.to_owned(),
    };
    let takes_part = identity.is_server && config.ports.serf_wan.0.is_some();
    let wan = takes_part.then(|| bound(&or_bind(&config.serf_wan), config.ports.serf_wan));
    Ok(PortSetup {
        server: bound(&config.bind_addr, config.ports.server)?,
        lan: bound(&or_bind(&config.serf_lan), config.ports.serf_lan)?,
        wan: wan.transpose()?,
    })
}

/// The trust domain of the certificate authority: the one configured, else the node that began it.
fn cluster_id(config: &Config, identity: &Identity) -> Text {
    match config.connect.ca_config.cluster_id.as_str() {
        "" => identity.node_id.clone(),
        id => id.into(),
    }
}

/// The configuration in effect as other tools look for it, in their words.
fn settings(config: &Config, identity: &Identity, dns_address: Option<SocketAddr>) -> SettingValue {
    let text = |text: &str| SettingValue::Text(text.into());
    let port = |port: Option<u16>| SettingValue::Number(port.map_or(-1, i64::from));
    let dns_port = dns_address.map(|address| address.port());
    let dns_addresses = dns_address
        .into_iter()
        .flat_map(|address| [format!("tcp://{address}"), format!("udp://{address}")])
        .map(|address| SettingValue::Text(address.into()));
    let gossip = format!("tcp://{}:{}", identity.address, config.ports.serf_lan.0.unwrap_or(0));
    let entries = [
        ("AdvertiseAddrLAN", text(&identity.address)),
        ("BindAddr", text(&config.bind_addr)),
        ("Bootstrap", SettingValue::Bool(config.bootstrap)),
        ("ConnectEnabled", SettingValue::Bool(config.connect.enabled)),
        ("DNSAddrs", SettingValue::List(dns_addresses.collect())),
        ("DNSDomain", text(&config.domain)),
        ("DNSPort", port(dns_port)),
        ("Datacenter", text(&identity.datacenter)),
        ("EnableDebug", SettingValue::Bool(config.enable_debug)),
        ("GRPCPort", port(config.ports.grpc.0)),
        ("GRPCTLSPort", port(config.ports.grpc_tls.0)),
        ("HTTPPort", port(config.ports.http.0)),
        ("LogLevel", text(&config.log_level)),
        ("NodeID", text(&identity.node_id)),
        ("NodeName", text(&identity.node)),
        ("SerfAdvertiseAddrLAN", text(&gossip)),
        ("ServerMode", SettingValue::Bool(config.server)),
        ("Version", text(API_VERSION)),
    ];
    SettingValue::Map(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

/// What the agent vouches for from the start, and how its checks run.
pub fn local(
    config: &Config,
    identity: Identity,
    data_folder: PathBuf,
    spread: Arc<Membership>,
) -> Result<(LocalSetup, Declared), String> {
    let setup = LocalSetup {
        identity,
        spread: Some(spread),
        folder: data_folder.join("local"),
        terms: check_terms(config),
    };
    Ok((setup, declared(config)?))
}

/// What checks may do, and how much of what they say is kept.
pub fn check_terms(config: &Config) -> CheckTerms {
    CheckTerms {
        settings: CheckSettings {
            update_interval: config.check_update_interval,
            discard_output: config.discard_check_output,
            output_bytes_max: config.check_output_max_size as usize,
        },
        allowed: Allowed {
            scripts_of_clients: config.enable_script_checks,
            scripts_of_files: config.enable_script_checks || config.enable_local_script_checks,
            ..Allowed::default()
        },
    }
}

/// What the definitions of the configuration declare.
pub fn declared(config: &Config) -> Result<Declared, String> {
    let declarations = config.declarations().map_err(|problems| problems.to_string())?;
    Ok(Declared { instances: declarations.services, checks: declarations.checks })
}

/// What Consul's front-end is told.
pub fn front_consul(config: &Config) -> Result<front::Settings, String> {
    let http = &config.http_config;
    let header = |(name, value): (&String, &String)| {
        let name = HeaderName::try_from(name.as_str()).map_err(|_| format!("header {name:?}"))?;
        let value = HeaderValue::try_from(value.as_str()).map_err(|_| format!("header {name}"))?;
        Ok((name, value))
    };
    let headers: Result<Vec<_>, String> = http.response_headers.iter().map(header).collect();
    Ok(front::Settings {
        api_version: API_VERSION.into(),
        is_pretty: false,
        wait_default: config.default_query_time,
        wait_max: config.max_query_time,
        discovery_max_stale: config.discovery_max_stale,
        use_cache: http.use_cache,
        response_headers: headers.map_err(|why| format!("http_config.response_headers: {why}"))?,
        block_endpoints: http.block_endpoints.clone(),
        allow_write_http_from: http
            .allow_write_http_from
            .iter()
            .map(|network| front::Network { address: network.address, prefix: network.prefix })
            .collect(),
        serves_prometheus: !config.telemetry.prometheus_retention_time.is_zero(),
        is_connect_enabled: config.connect.enabled,
        allows_remote_scripts: config.enable_script_checks,
        value_bytes_max: bounded(config.limits.kv_max_value_size),
        transaction_bytes_max: bounded(config.limits.txn_max_req_len),
        checks_keys: !config.disable_kv_key_validation,
        session_ttl_min: config.session_ttl_min,
        serves_profiles: config.enable_debug,
        ..front::Settings::default()
    })
}

/// A bound on a body: beyond what one command may have there is nothing to be gained.
fn bounded(n_bytes: u64) -> usize {
    usize::try_from(n_bytes).unwrap_or(usize::MAX).min(muster_model::limits::COMMAND_BYTES_MAX)
}

/// The bounds of the HTTP listeners.
pub fn http_limits(config: &Config) -> Limits {
    let usual = Limits::default();
    let per_client = match config.limits.http_max_conns_per_client {
        0 => usual.connections_max,
        limit => limit as usize,
    };
    Limits {
        connections_per_client_max: per_client,
        head_bytes_max: match config.http_config.max_header_bytes {
            0 => usual.head_bytes_max,
            limit => (limit as usize).max(8_192),
        },
        ..usual
    }
}

/// What DNS is told.
pub fn front_dns(config: &Config) -> Result<dns::Settings, String> {
    let dns = &config.dns_config;
    let recursors: Result<Vec<_>, String> =
        config.recursors.iter().map(|recursor| recursor_address(recursor)).collect();
    Ok(dns::Settings {
        domain: config.domain.as_str().into(),
        alt_domain: config.alt_domain.as_str().into(),
        node_ttl: dns.node_ttl,
        service_ttl: dns
            .service_ttl
            .iter()
            .map(|(name, ttl)| (name.as_str().into(), *ttl))
            .collect(),
        only_passing: dns.only_passing,
        allow_stale: dns.allow_stale,
        max_stale: dns.max_stale,
        udp_answer_limit: dns.udp_answer_limit as usize,
        a_record_limit: dns.a_record_limit as usize,
        enable_truncate: dns.enable_truncate,
        disable_compression: dns.disable_compression,
        node_meta_txt: dns.enable_additional_node_meta_txt,
        translate_wan_addresses: config.translate_wan_addrs,
        soa: dns::settings::Soa {
            refresh: dns.soa.refresh,
            retry: dns.soa.retry,
            expire: dns.soa.expire,
            min_ttl: dns.soa.min_ttl,
        },
        recursors: recursors?,
        recursor_strategy: match dns.recursor_strategy.as_str() {
            "random" => dns::settings::RecursorStrategy::Random,
            _ => dns::settings::RecursorStrategy::Sequential,
        },
        recursor_timeout: dns.recursor_timeout,
        ..dns::Settings::default()
    })
}

fn recursor_address(text: &str) -> Result<SocketAddr, String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address = text.parse().or_else(|_| bare.parse().map(|ip| SocketAddr::new(ip, DNS_PORT)));
    address
        .map_err(|_| format!("recursor {text:?}: write an IP address, with :port if it is not 53"))
}
