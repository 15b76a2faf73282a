//! From a definition in a file to a declaration in the registry's words.
//!
//! Here a definition that names several kinds of check is settled for one, defaults that depend on
//! other keys are filled in, and what Consul refuses is refused: the agent gets declarations that are
//! right. Ids of a service's checks that have none are `service:ID`, or `service:ID:N` if there are
//! several, as Consul makes them.

use std::net::IpAddr;
use std::time::Duration;

use muster_model::definition::{CheckDefinition as CheckRule, Rule, TlsOptions};
use muster_model::instance::{Endpoint, Extras, NamedPort, Weights};
use muster_model::node::{Locality, Origin};
use muster_model::{Check, Instance, Meta, Status, Text, limits};
use muster_registry::local::{LocalCheckRegistration, LocalRegistration, Source};

use super::Config;
use super::definition::{CheckDefinition, ServiceDefinition};
use super::problem::{Problem, Problems};

/// The shortest pause between two runs of a check.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// The shortest time after which a critical instance is deregistered.
const DEREGISTER_AFTER_MIN: Duration = Duration::from_secs(60);

/// What the definitions of a configuration declare.
#[derive(Debug, Clone, Default)]
pub struct Declarations {
    /// Instances with their checks.
    pub services: Vec<LocalRegistration>,
    /// Checks of the node, or of instances declared elsewhere.
    pub checks: Vec<LocalCheckRegistration>,
}

impl Config {
    /// The declarations of all definitions, or why there cannot be any.
    pub fn declarations(&self) -> Result<Declarations, Problems> {
        let mut problems = Vec::new();
        let mut declarations = Declarations::default();
        for definition in &self.services {
            match service(definition) {
                Ok(registration) => declarations.services.push(registration),
                Err(why) => problems.push(Problem::general(why)),
            }
        }
        for definition in &self.checks {
            match check(definition) {
                Ok(registration) if !registration.check.id.is_empty() => {
                    declarations.checks.push(registration);
                }
                Ok(_) => problems.push(Problem::general("a check of the node needs a name")),
                Err(why) => problems.push(Problem::general(why)),
            }
        }
        if problems.is_empty() { Ok(declarations) } else { Err(Problems(problems)) }
    }
}

/// The declaration a service definition stands for, or why it cannot be one.
pub fn service(definition: &ServiceDefinition) -> Result<LocalRegistration, String> {
    if definition.name.is_empty() {
        return Err("a service needs a name".into());
    }
    let called = format!("service {:?}", definition.name);
    let wrong = |why: &str| Err(format!("{called}: {why}"));
    if definition.name.len() > limits::NAME_BYTES_MAX {
        return wrong("the name is too long");
    }
    if definition.tags.len() > limits::TAGS_MAX {
        return wrong("too many tags");
    }
    if definition.meta.len() > limits::META_PAIRS_MAX {
        return wrong("meta holds more than 64 pairs");
    }
    let address = definition.address.parse::<IpAddr>().ok();
    if address.is_some_and(|address| address.is_unspecified()) {
        return wrong("the address must be one that clients can connect to, not 0.0.0.0 or ::");
    }
    if definition.weights.passing == 0 {
        return wrong("weights.passing must be at least 1");
    }
    if !definition.socket_path.is_empty() && (definition.port != 0 || address.is_some()) {
        return wrong("socket_path excludes address and port");
    }
    if definition.port != 0 && !definition.ports.is_empty() {
        return wrong("port and ports exclude each other");
    }
    let instance = instance(definition);
    let several = definition.checks.len() > 1;
    let mut checks = Vec::with_capacity(definition.checks.len());
    for (n, check) in definition.checks.iter().enumerate() {
        let mut declared =
            self::check(check).map_err(|why| format!("{called}, check {}: {why}", n + 1))?;
        declared.check.instance_id = instance.id.clone();
        if check.id.is_empty() {
            let id = &instance.id;
            let made =
                if several { format!("service:{id}:{}", n + 1) } else { format!("service:{id}") };
            declared.check.id = made.into();
        }
        if check.name.is_empty() {
            declared.check.name = format!("Service '{}' check", definition.name).into();
        }
        checks.push(declared);
    }
    Ok(LocalRegistration {
        instance,
        checks,
        replace_checks: false,
        token: definition.token.clone(),
        source: Source::File,
    })
}

fn instance(definition: &ServiceDefinition) -> Instance {
    let id = if definition.id.is_empty() { &definition.name } else { &definition.id };
    let endpoint = |(purpose, own): (&String, &super::definition::EndpointDefinition)| {
        (Text::from(purpose), Endpoint { address: (&own.address).into(), port: own.port })
    };
    let port = |own: &super::definition::PortDefinition| NamedPort {
        name: (&own.name).into(),
        port: own.port,
        is_default: own.default,
    };
    let locality = Locality {
        region: (&definition.locality.region).into(),
        zone: (&definition.locality.zone).into(),
    };
    let extras = Extras {
        tagged_addresses: definition.tagged_addresses.iter().map(endpoint).collect(),
        socket_path: (&definition.socket_path).into(),
        ports: definition.ports.iter().map(port).collect(),
        locality: (locality != Locality::default()).then_some(locality),
        kind: (&definition.kind).into(),
        proxy: (&definition.proxy.0).into(),
        connect: (&definition.connect.0).into(),
        ..Extras::default()
    };
    let instance = Instance {
        id: id.into(),
        service: (&definition.name).into(),
        tags: definition.tags.iter().map(Text::from).collect(),
        address: (&definition.address).into(),
        port: definition.port,
        meta: Meta::from_iter(&definition.meta),
        weights: Weights {
            passing: definition.weights.passing,
            warning: definition.weights.warning,
        },
        enable_tag_override: definition.enable_tag_override,
        origin: Origin::Agent,
        extras: None,
    };
    instance.with_extras(extras)
}

/// The declaration a check definition stands for, or why it cannot be one.
pub fn check(definition: &CheckDefinition) -> Result<LocalCheckRegistration, String> {
    let rule = rule(definition)?;
    let is_run = !matches!(rule, Rule::None | Rule::Ttl { .. } | Rule::Alias { .. });
    if is_run && definition.interval.is_zero() {
        return Err("a check that runs needs an interval".into());
    }
    if matches!(rule, Rule::Ttl { .. }) && !definition.interval.is_zero() {
        return Err("ttl and interval exclude each other".into());
    }
    let critical = definition.failures_before_critical.max(1);
    let warning = match definition.failures_before_warning {
        0 => critical,
        failures => failures,
    };
    if warning > critical {
        return Err("failures_before_warning must not exceed failures_before_critical".into());
    }
    let status = match definition.status.as_str() {
        "" => Status::Critical,
        word => word.parse().map_err(|why| format!("status {word:?} {why}"))?,
    };
    let after = definition.deregister_critical_service_after;
    let name = if definition.name.is_empty() { &definition.id } else { &definition.name };
    let id = if definition.id.is_empty() { &definition.name } else { &definition.id };
    let check = Check {
        id: id.into(),
        name: name.into(),
        status,
        notes: (&definition.notes).into(),
        instance_id: (&definition.service_id).into(),
        kind: rule.kind().into(),
        origin: Origin::Agent,
        ..Check::default()
    };
    let definition_of_run = CheckRule {
        rule,
        interval: if is_run { definition.interval.max(INTERVAL_MIN) } else { Duration::ZERO },
        timeout: definition.timeout,
        success_before_passing: definition.success_before_passing.max(1),
        failures_before_warning: warning,
        failures_before_critical: critical,
        deregister_critical_after: if after.is_zero() {
            after
        } else {
            after.max(DEREGISTER_AFTER_MIN)
        },
        output_max: definition.output_max_size,
    };
    Ok(LocalCheckRegistration {
        check: with_schedule(check, definition),
        definition: definition_of_run,
        token: definition.token.clone(),
        source: Source::File,
    })
}

fn with_schedule(check: Check, definition: &CheckDefinition) -> Check {
    let shown = |duration: Duration| match duration.is_zero() {
        true => Text::default(),
        false => super::duration::show(duration).into(),
    };
    let extras = muster_model::check::CheckExtras {
        interval: shown(definition.interval),
        timeout: shown(definition.timeout),
        exposed_port: 0,
        definition: None,
        ..Default::default()
    };
    check.with_extras(extras)
}

/// The one kind of check a definition is, in Consul's order of precedence.
fn rule(definition: &CheckDefinition) -> Result<Rule, String> {
    let tls = || TlsOptions {
        server_name: (&definition.tls_server_name).into(),
        skip_verify: definition.tls_skip_verify,
    };
    let args = || definition.args.iter().map(Text::from).collect();
    let rule = if !definition.grpc.is_empty() {
        let target = (&definition.grpc).into();
        Rule::Grpc { target, use_tls: definition.grpc_use_tls, tls: tls() }
    } else if !definition.http.is_empty() {
        http_rule(definition, tls())
    } else if !definition.ttl.is_zero() {
        Rule::Ttl { ttl: definition.ttl }
    } else if !definition.tcp.is_empty() {
        let address = (&definition.tcp).into();
        Rule::Tcp { address, use_tls: definition.tcp_use_tls, tls: tls() }
    } else if !definition.udp.is_empty() {
        Rule::Udp { address: (&definition.udp).into() }
    } else if !definition.alias_node.is_empty() || !definition.alias_service.is_empty() {
        Rule::Alias {
            node: (&definition.alias_node).into(),
            instance_id: (&definition.alias_service).into(),
        }
    } else if !definition.docker_container_id.is_empty() {
        let container_id = (&definition.docker_container_id).into();
        Rule::Docker { container_id, shell: (&definition.shell).into(), args: args() }
    } else if !definition.args.is_empty() {
        Rule::Script { args: args() }
    } else if !definition.h2ping.is_empty() {
        let address = (&definition.h2ping).into();
        Rule::H2ping { address, use_tls: definition.h2ping_use_tls, tls: tls() }
    } else if !definition.os_service.is_empty() {
        Rule::OsService { name: (&definition.os_service).into() }
    } else {
        return Err("say what is tried: one of http, tcp, udp, grpc, h2ping, ttl, args, \
                    docker_container_id, os_service, alias_node or alias_service"
            .into());
    };
    Ok(rule)
}

fn http_rule(definition: &CheckDefinition, tls: TlsOptions) -> Rule {
    let header = |(name, values): (&String, &Vec<String>)| {
        (Text::from(name), values.iter().map(Text::from).collect())
    };
    let method = if definition.method.is_empty() { "GET" } else { &definition.method };
    Rule::Http {
        url: (&definition.http).into(),
        method: method.into(),
        headers: definition.header.iter().map(header).collect(),
        body: (&definition.body).into(),
        disable_redirects: definition.disable_redirects,
        tls,
    }
}
