//! What a whole configuration must satisfy, beyond each key by itself.
//!
//! Refusals name the key and say what to write; warnings are for what is allowed but should be seen.
//! A configuration that came through here is right: nothing later validates it again.
//!
//! This version enforces neither TLS, nor tokens, nor sealed gossip, so none of their keys makes an
//! address safe to bind: an agent that others can reach is refused unless the operator says
//! `insecure_bind`, or the program was called consul, whose files must keep working.

use std::net::IpAddr;
use std::time::Duration;

use muster_model::limits;

use super::listeners::{ListenAddress, listen_addresses};
use super::problem::{Problem, Problems};
use super::root::{CalledAs, Config};
use super::setting::Port;

/// Finishes and verifies a configuration; gives the warnings.
pub fn verify(
    config: &mut Config,
    called_as: CalledAs,
    is_dev: bool,
) -> Result<Vec<String>, Problems> {
    normalize(config);
    // What -dev switched on was meant for a server.
    config.bootstrap &= config.server || !is_dev;
    let mut report = Report::default();
    names(config, is_dev, &mut report);
    bounds(config, &mut report);
    addresses(config, &mut report);
    definitions(config, &mut report);
    exposure(config, called_as, &mut report);
    unserved(config, &mut report);
    if report.problems.is_empty() { Ok(report.warnings) } else { Err(Problems(report.problems)) }
}

#[derive(Default)]
struct Report {
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl Report {
    fn demand(&mut self, holds: bool, otherwise: impl Into<String>) {
        if !holds {
            self.problems.push(Problem::general(otherwise));
        }
    }
}

fn normalize(config: &mut Config) {
    config.datacenter = config.datacenter.to_lowercase();
    config.primary_datacenter = config.primary_datacenter.to_lowercase();
    config.log_level = match config.log_level.to_lowercase().as_str() {
        "err" => "error".into(),
        level => level.to_owned(),
    };
    for domain in [&mut config.domain, &mut config.alt_domain] {
        *domain = domain.to_lowercase();
        if !domain.is_empty() && !domain.ends_with('.') {
            domain.push('.');
        }
    }
    if config.limits.txn_max_req_len == 0 {
        config.limits.txn_max_req_len = config.limits.kv_max_value_size;
    }
    config.check_output_max_size = config.check_output_max_size.max(1);
}

fn names(config: &Config, is_dev: bool, report: &mut Report) {
    let is_label = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    report.demand(
        is_dev || !config.data_dir.is_empty(),
        "data_dir is needed: name a folder of this agent's own with -data-dir, \
         or keep everything in memory with -dev",
    );
    report.demand(
        is_label(&config.datacenter),
        format!("datacenter {:?}: letters, digits, '-' and '_' only", config.datacenter),
    );
    report.demand(!config.domain.is_empty(), "domain must not be empty");
    report.demand(
        config.node_name.len() <= limits::NAME_BYTES_MAX
            && !config.node_name.contains(|c: char| c.is_control()),
        "node_name is too long or has unprintable characters",
    );
    report.demand(
        config.node_id.is_empty() || is_uuid(&config.node_id),
        format!("node_id {:?} is not a UUID", config.node_id),
    );
    let cluster_id = &config.connect.ca_config.cluster_id;
    report.demand(
        cluster_id.is_empty() || is_uuid(cluster_id),
        format!("connect.ca_config.cluster_id {cluster_id:?} is not a UUID"),
    );
    report.demand(
        config.node_meta.len() <= limits::META_PAIRS_MAX,
        format!("node_meta holds more than {} pairs", limits::META_PAIRS_MAX),
    );
    for (key, value) in &config.node_meta {
        let is_fit = is_label(key) && key.len() <= limits::META_KEY_BYTES_MAX;
        report.demand(
            is_fit,
            format!(
                "node_meta key {key:?}: letters, digits, '-' and '_' only, at most 128 of them"
            ),
        );
        report.demand(
            !key.starts_with("consul-"),
            format!("node_meta key {key:?}: names that begin with consul- are reserved"),
        );
        report.demand(
            value.len() <= limits::META_VALUE_BYTES_MAX,
            format!("node_meta {key:?}: the value is longer than 512 bytes"),
        );
    }
    if config.node_name.contains(|c: char| !(c.is_ascii_alphanumeric() || c == '-')) {
        report.warnings.push(format!(
            "node_name {:?} cannot be asked for by DNS: letters, digits and '-' only",
            config.node_name
        ));
    }
}

fn bounds(config: &Config, report: &mut Report) {
    let multiplier = config.performance.raft_multiplier;
    report.demand(
        (1..=10).contains(&multiplier),
        format!("performance.raft_multiplier is {multiplier}; it must be 1 to 10"),
    );
    report.demand(
        matches!(config.log_level.as_str(), "trace" | "debug" | "info" | "warn" | "error"),
        format!("log_level {:?} is none of trace, debug, info, warn, error", config.log_level),
    );
    report.demand(
        config.raft_protocol == 3 || config.raft_protocol == 0,
        format!("raft_protocol {} is not spoken, only 3", config.raft_protocol),
    );
    report.demand(
        !config.max_query_time.is_zero() && !config.default_query_time.is_zero(),
        "max_query_time and default_query_time must be above 0s",
    );
    report.demand(
        config.max_query_time >= config.default_query_time
            || config.max_query_time >= Duration::from_secs(1),
        "max_query_time must be at least 1s",
    );
    report.demand(
        config.retry_interval >= Duration::from_secs(1),
        "retry_interval must be at least 1s",
    );
    report.demand(
        config.reconnect_timeout >= Duration::from_secs(8 * 3600),
        "reconnect_timeout must be at least 8h",
    );
    report.demand(
        (1..=10).contains(&config.dns_config.udp_answer_limit),
        "dns_config.udp_answer_limit must be 1 to 10",
    );
    report.demand(
        matches!(config.dns_config.recursor_strategy.as_str(), "sequential" | "random"),
        "dns_config.recursor_strategy must be sequential or random",
    );
    report.demand(
        !(config.bootstrap && config.bootstrap_expect > 1),
        "bootstrap and bootstrap_expect exclude each other",
    );
    report.demand(
        config.server || !(config.bootstrap || config.bootstrap_expect > 0),
        "bootstrap and bootstrap_expect are for servers: set server = true, or leave them out",
    );
    let is_key = config.encrypt.reveal().is_empty() || is_gossip_key(config.encrypt.reveal());
    report
        .demand(is_key, "encrypt must be base64 of 16, 24 or 32 bytes; `muster keygen` makes one");
}

fn addresses(config: &Config, report: &mut Report) {
    let singles = [
        ("bind_addr", &config.bind_addr),
        ("advertise_addr", &config.advertise_addr),
        ("advertise_addr_wan", &config.advertise_addr_wan),
        ("serf_lan", &config.serf_lan),
        ("serf_wan", &config.serf_wan),
    ];
    for (key, address) in singles {
        let is_address = address.is_empty() || address.parse::<IpAddr>().is_ok();
        report.demand(is_address, format!("{key}: {}", not_an_address(address)));
    }
    for (key, own) in client_listeners(config) {
        if let Err(why) = listen_addresses(own, &config.client_addr, Port::on(0)) {
            report.problems.push(Problem::general(format!("{key}: {why}")));
        }
    }
    for recursor in &config.recursors {
        let host =
            recursor.parse::<IpAddr>().is_ok() || recursor.parse::<std::net::SocketAddr>().is_ok();
        report.demand(
            host,
            format!("recursors: {recursor:?} is neither an address nor address:port"),
        );
    }
}

/// Why a text is no address, for the person who wrote it.
pub fn not_an_address(text: &str) -> String {
    if text.contains("{{") {
        format!("templates such as {text:?} are not evaluated; write the address itself")
    } else {
        format!("{text:?} is not an IP address")
    }
}

fn client_listeners(config: &Config) -> [(&'static str, &str); 4] {
    [
        ("addresses.http", &config.addresses.http),
        ("addresses.https", &config.addresses.https),
        ("addresses.dns", &config.addresses.dns),
        ("addresses.eureka", &config.addresses.eureka),
    ]
}

fn definitions(config: &Config, report: &mut Report) {
    let declared = match config.declarations() {
        Ok(declared) => declared,
        Err(problems) => return report.problems.extend(problems.0),
    };
    let of_services = declared.services.iter().flat_map(|service| &service.checks);
    let has_scripts = of_services.chain(&declared.checks).any(|check| {
        let kind = check.definition.rule.kind();
        kind == "script" || kind == "docker"
    });
    report.demand(
        !has_scripts || config.enable_script_checks || config.enable_local_script_checks,
        "a check runs a program, which this agent does not allow: set enable_local_script_checks \
         (checks of files only) or enable_script_checks",
    );
    for watch in &config.watches {
        if let Err(why) = watch.verified().and_then(|()| watch.verified_handler()) {
            report.problems.push(Problem::general(format!("watches: {why}")));
        }
    }
    if config.enable_script_checks {
        report.warnings.push(
            "enable_script_checks lets everyone who reaches the HTTP API run programs on this \
             host; enable_local_script_checks allows those of files only"
                .into(),
        );
    }
}

/// Refuses, or warns of, addresses that others can reach.
fn exposure(config: &Config, called_as: CalledAs, report: &mut Report) {
    let mut exposed: Vec<String> = Vec::new();
    for (key, own) in client_listeners(config) {
        let listeners = listen_addresses(own, &config.client_addr, Port::on(0)).unwrap_or_default();
        let open = listeners.iter().filter_map(ListenAddress::ip).find(|ip| !ip.is_loopback());
        if let Some(ip) = open {
            let key = if own.is_empty() { "client_addr" } else { key };
            exposed.push(format!("{key} {ip}"));
        }
    }
    if config.bind_addr.parse().is_ok_and(|ip: IpAddr| !ip.is_loopback()) {
        exposed.push(format!("bind_addr {}", config.bind_addr));
    }
    exposed.dedup();
    if exposed.is_empty() {
        return;
    }
    let what = format!(
        "{} can be reached by others, and this version has neither TLS nor tokens nor a gossip key \
         to keep them out",
        exposed.join(" and ")
    );
    match (config.insecure_bind, called_as) {
        (true, _) | (_, CalledAs::Consul) => report.warnings.push(what),
        (false, CalledAs::Muster) => report.problems.push(Problem::general(format!(
            "{what}: bind a loopback address, or say -insecure-bind if the network can be trusted"
        ))),
    }
}

/// Warns of what is read but not enforced or served yet.
fn unserved(config: &Config, report: &mut Report) {
    let mut warn = |is_set: bool, what: &str| {
        if is_set {
            report.warnings.push(what.to_owned());
        }
    };
    warn(config.acl.enabled, "acl.enabled: tokens are not enforced by this version");
    warn(config.ports.https != Port::OFF, "ports.https: TLS is not served by this version");
    warn(config.ports.grpc_tls != Port::OFF, "ports.grpc_tls: gRPC is not served by this version");
    warn(config.audit.enabled, "audit.enabled: no log of requests is kept");
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    lengths == [8, 4, 4, 4, 12]
        && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn is_gossip_key(text: &str) -> bool {
    use base64::Engine;
    let key = base64::engine::general_purpose::STANDARD.decode(text);
    key.is_ok_and(|key| matches!(key.len(), 16 | 24 | 32))
}
