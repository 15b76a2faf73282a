//! Checks in request bodies: how one is run, and how it stands in the catalog.

use std::time::Duration;

use muster_model::check::CheckExtras;
use muster_model::declared::{DeclaredCheck, Misfit};
use muster_model::definition::{Rule, TlsOptions};
use muster_model::limits::NAME_BYTES_MAX;
use muster_model::{Check, Status, Text};
use serde_json::Value;

use crate::decode::{Object, refused};
use crate::failure::Failure;

/// The part of a body that says how a check is run: the same fields in an agent's definitions and,
/// without their snake-case spellings, in the catalog's.
pub(crate) fn declared(object: &mut Object) -> Result<DeclaredCheck, Failure> {
    let mut args = object.texts("ScriptArgs")?;
    for spelling in ["args", "script_args"] {
        let other = object.texts(spelling)?;
        if args.is_empty() {
            args = other;
        }
    }
    let h2ping = object.text("H2PING")?;
    let h2ping_use_tls = match (h2ping.is_empty(), object.has("H2PingUseTLS")) {
        (false, false) => true,
        _ => object.flag("H2PingUseTLS")?,
    };
    Ok(DeclaredCheck {
        grpc: object.text("GRPC")?,
        grpc_use_tls: either_flag(object, "GRPCUseTLS", "grpc_use_tls")?,
        http: object.text("HTTP")?,
        method: object.text("Method")?,
        headers: headers(object)?,
        body: object.text("Body")?,
        disable_redirects: either_flag(object, "DisableRedirects", "disable_redirects")?,
        ttl: object.duration("TTL")?,
        tcp: object.text("TCP")?,
        tcp_use_tls: either_flag(object, "TCPUseTLS", "tcp_use_tls")?,
        udp: object.text("UDP")?,
        alias_node: object.text("AliasNode")?,
        alias_instance: object.text("AliasService")?,
        docker_container_id: either_text(object, "DockerContainerID", "docker_container_id")?,
        shell: object.text("Shell")?,
        args,
        h2ping,
        h2ping_use_tls: either_flag_or(object, "h2ping_use_tls", h2ping_use_tls)?,
        os_service: object.text("OSService")?,
        tls: TlsOptions {
            server_name: either_text(object, "TLSServerName", "tls_server_name")?,
            skip_verify: either_flag(object, "TLSSkipVerify", "tls_skip_verify")?,
        },
        interval: object.duration("Interval")?,
        timeout: object.duration("Timeout")?,
        success_before_passing: object.integer("SuccessBeforePassing")?,
        failures_before_warning: object.integer("FailuresBeforeWarning")?,
        failures_before_critical: object.integer("FailuresBeforeCritical")?,
        deregister_critical_after: either_duration(
            object,
            "DeregisterCriticalServiceAfter",
            "deregister_critical_service_after",
        )?,
        output_max: object.integer("OutputMaxSize")?,
    })
}

/// A text that may be spelled in two ways; the first wins.
pub(crate) fn either_text(object: &mut Object, key: &str, other: &str) -> Result<Text, Failure> {
    let (first, second) = (object.text(key)?, object.text(other)?);
    Ok(if first.is_empty() { second } else { first })
}

fn either_flag(object: &mut Object, key: &str, other: &str) -> Result<bool, Failure> {
    let first = object.flag(key)?;
    either_flag_or(object, other, first)
}

fn either_flag_or(object: &mut Object, key: &str, otherwise: bool) -> Result<bool, Failure> {
    if object.has(key) { object.flag(key) } else { Ok(otherwise) }
}

fn either_duration(object: &mut Object, key: &str, other: &str) -> Result<Duration, Failure> {
    let (first, second) = (object.duration(key)?, object.duration(other)?);
    Ok(if first.is_zero() { second } else { first })
}

/// Header lines: several values under each name.
fn headers(object: &mut Object) -> Result<Vec<(Text, Vec<Text>)>, Failure> {
    let wrong = || refused("json: cannot unmarshal into field Header of type map[string][]string");
    let Some(value) = object.take("Header") else { return Ok(Vec::new()) };
    let Value::Object(lines) = value else { return Err(wrong()) };
    lines
        .into_iter()
        .map(|(name, values)| {
            let Value::Array(values) = values else { return Err(wrong()) };
            let values = values.iter().map(|value| value.as_str().map(Text::from));
            Ok((name.into(), values.collect::<Option<Vec<Text>>>().ok_or_else(wrong)?))
        })
        .collect()
}

/// Consul's words for what does not fit together.
pub(crate) fn misfit(misfit: Misfit) -> Failure {
    let text = match misfit {
        Misfit::IntervalWithTtl => "Interval and TTL cannot both be specified",
        Misfit::IntervalMissing => {
            "Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"
        }
        Misfit::IntervalWithAlias => "Interval cannot be set for Alias checks",
        Misfit::TtlWithAlias => "TTL must be not be set for Alias checks",
        Misfit::NothingToTry => "TTL must be > 0 for TTL checks",
        Misfit::OutputMaxNegative => "MaxOutputMaxSize must be positive",
        Misfit::ThresholdsReversed => {
            "FailuresBeforeWarning can't be higher than FailuresBeforeCritical"
        }
    };
    Failure::bad_request(format!("Invalid check: {text}"))
}

/// A check of the catalog, with the node it names.
pub(crate) struct CatalogCheck {
    pub(crate) node: Text,
    pub(crate) check: Check,
}

/// A check as it is registered straight into the catalog.
pub(crate) fn catalog_check(object: &mut Object) -> Result<CatalogCheck, Failure> {
    let node = object.text("Node")?;
    let name = object.text("Name")?;
    let id = object.text("CheckID")?;
    let (status, status_word) = catalog_status(object.text("Status")?)?;
    let definition = match object.object("Definition", "structs.HealthCheckDefinition")? {
        Some(mut definition) => Some(declared_in_catalog(&mut definition)?),
        None => None,
    };
    let definition = definition.filter(|definition| *definition != DeclaredCheck::default());
    let definition = definition.map(DeclaredCheck::settle_unchecked);
    let given_kind = object.text("Type")?;
    let kind = match (&*given_kind, &definition) {
        ("", Some(definition)) if definition.rule != Rule::None => definition.rule.kind().into(),
        _ => given_kind,
    };
    let extras = CheckExtras {
        interval: object.text("Interval")?,
        timeout: object.text("Timeout")?,
        exposed_port: object.port("ExposedPort")?,
        definition: definition.map(Box::new),
        status_word,
    };
    let check = Check {
        id: if id.is_empty() { name.clone() } else { id },
        name,
        status,
        notes: object.text("Notes")?,
        output: object.text("Output")?,
        instance_id: object.text("ServiceID")?,
        kind,
        ..Check::default()
    };
    for ignored in [
        "ServiceName",
        "ServiceTags",
        "PeerName",
        "CreateIndex",
        "ModifyIndex",
        "Namespace",
        "Partition",
    ] {
        object.take(ignored);
    }
    Ok(CatalogCheck { node, check: check.with_extras(extras) })
}

/// The status of a check in the catalog, which takes any word: without one it is critical, and with
/// one that nobody knows it is not passing and not critical either.
fn catalog_status(word: Text) -> Result<(Status, Text), Failure> {
    if word.len() > NAME_BYTES_MAX {
        let text = format!("Check status too long; the limit is {NAME_BYTES_MAX} bytes");
        return Err(Failure::bad_request(text));
    }
    Ok(match word.parse() {
        Ok(status) => (status, Text::default()),
        Err(_) if word.is_empty() => (Status::Critical, word),
        Err(_) => (Status::Warning, word),
    })
}

/// The definition inside a check of the catalog. Clients send durations twice, as text and as
/// number; what else they add is not looked at.
fn declared_in_catalog(object: &mut Object) -> Result<DeclaredCheck, Failure> {
    let mut declared = declared(object)?;
    let numbers = [
        ("IntervalDuration", &mut declared.interval),
        ("TimeoutDuration", &mut declared.timeout),
        ("DeregisterCriticalServiceAfterDuration", &mut declared.deregister_critical_after),
    ];
    for (key, duration) in numbers {
        let number = object.duration(key)?;
        if duration.is_zero() {
            *duration = number;
        }
    }
    Ok(declared)
}
