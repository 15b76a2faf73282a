//! The bodies of `/v1/agent/service/register` and `/v1/agent/check/register`.

use muster_model::check::CheckExtras;
use muster_model::declared::{self, DeclaredCheck, MetaMisfit, WeightMisfit};
use muster_model::definition::{CheckDefinition, Rule};
use muster_model::instance::{NamedPort, Weights};
use muster_model::{Check, Instance, Status, Text};
use muster_registry::local::{LocalCheckRegistration, LocalRegistration, Source};

use crate::bodies::check::{declared, either_text, misfit};
use crate::bodies::instance;
use crate::decode::Object;
use crate::duration;
use crate::failure::Failure;

/// The declaration that a body of `/v1/agent/service/register` makes.
pub(crate) fn registration(
    body: &[u8],
    replace_checks: bool,
    allows_scripts: bool,
) -> Result<LocalRegistration, Failure> {
    let mut object = Object::parse(body, "structs.ServiceDefinition")?;
    let mut instance = Instance {
        id: object.text("ID")?,
        service: object.text("Name")?,
        tags: object.texts("Tags")?.into(),
        address: object.text("Address")?,
        port: object.port("Port")?,
        meta: object.meta("Meta")?,
        enable_tag_override: object.flag("EnableTagOverride")?
            | object.flag("enable_tag_override")?,
        ..Instance::default()
    };
    let given_weights = instance::weights(&mut object)?;
    let mut extras = instance::extras(&mut object)?;
    let token = object.text("Token")?;
    let single = object.object("Check", "structs.CheckType")?;
    let several = object.objects("Checks", "structs.CheckType")?;
    object.finish()?;
    let checks = single
        .into_iter()
        .chain(several)
        .filter(|check| !check.is_empty())
        .map(AgentCheck::take)
        .collect::<Result<Vec<_>, Failure>>()?;

    if instance.service.is_empty() {
        return Err(Failure::bad_request("Missing service name"));
    }
    if instance.id.is_empty() {
        instance.id = instance.service.clone();
    }
    if declared::is_unspecified(&instance.address) {
        return Err(Failure::bad_request("Invalid service address"));
    }
    declared::check_meta(&instance.meta).map_err(|error| meta_misfit(&error))?;
    instance.weights = weights(given_weights)?;
    check_ports(instance.port, &extras.ports)?;
    let port = extras.ports.iter().find(|port| port.is_default).map_or(instance.port, |p| p.port);
    declared::tag_own_address(&mut extras, &instance.address, port);
    let instance = instance.with_extras(extras);
    let n = checks.len();
    let checks = checks
        .into_iter()
        .enumerate()
        .map(|(at, check)| check.of_instance(&instance, at + 1, n, allows_scripts))
        .collect::<Result<Vec<_>, Failure>>()?;
    let source = Source::Client;
    Ok(LocalRegistration { instance, checks, replace_checks, token: token.into(), source })
}

/// The declaration that a body of `/v1/agent/check/register` makes.
pub(crate) fn check_registration(
    body: &[u8],
    allows_scripts: bool,
) -> Result<LocalCheckRegistration, Failure> {
    let mut object = Object::parse(body, "structs.CheckDefinition")?;
    let token = object.text("Token")?;
    let instance_id = either_text(&mut object, "ServiceID", "service_id")?;
    let check = AgentCheck::take(object)?;
    if check.name.is_empty() {
        return Err(Failure::bad_request("Missing check name"));
    }
    let status = status(&check.status).ok_or_else(|| Failure::bad_request("Bad check status"))?;
    let interval = duration::format(check.declared.interval).into();
    let timeout = duration::format(check.declared.timeout).into();
    let definition = settle(check.declared, allows_scripts)?;
    let registered = Check {
        id: if check.id.is_empty() { check.name.clone() } else { check.id },
        name: check.name,
        status,
        notes: check.notes,
        instance_id,
        kind: definition.rule.kind().into(),
        ..Check::default()
    };
    Ok(LocalCheckRegistration {
        check: registered.with_extras(CheckExtras { interval, timeout, ..CheckExtras::default() }),
        definition,
        token: token.into(),
        source: Source::Client,
    })
}

/// A check as a client declared it.
struct AgentCheck {
    id: Text,
    name: Text,
    status: Text,
    notes: Text,
    declared: DeclaredCheck,
}

impl AgentCheck {
    fn take(mut object: Object) -> Result<AgentCheck, Failure> {
        let check = AgentCheck {
            id: either_text(&mut object, "CheckID", "ID")?,
            name: object.text("Name")?,
            status: object.text("Status")?,
            notes: object.text("Notes")?,
            declared: declared(&mut object)?,
        };
        for ignored in ["ProxyHTTP", "ProxyGRPC"] {
            object.take(ignored);
        }
        object.finish()?;
        Ok(check)
    }

    /// The declaration as the `nth` of `n` checks of an instance.
    fn of_instance(
        self,
        instance: &Instance,
        nth: usize,
        n: usize,
        allows_scripts: bool,
    ) -> Result<LocalCheckRegistration, Failure> {
        let said = |duration: std::time::Duration| {
            if duration.is_zero() { Text::default() } else { duration::format(duration).into() }
        };
        let interval = said(self.declared.interval);
        let timeout = said(self.declared.timeout);
        let definition = settle(self.declared, allows_scripts)?;
        let status = status(&self.status).ok_or_else(|| {
            Failure::bad_request("Status for checks must 'passing', 'warning', 'critical'")
        })?;
        let or = |chosen: Text, usual: Text| if chosen.is_empty() { usual } else { chosen };
        let check = Check {
            id: or(self.id, declared::check_id(&instance.id, nth, n)),
            name: or(self.name, declared::check_name(&instance.service)),
            status,
            notes: self.notes,
            instance_id: instance.id.clone(),
            kind: definition.rule.kind().into(),
            ..Check::default()
        };
        let extras = CheckExtras { interval, timeout, ..CheckExtras::default() };
        let check = check.with_extras(extras);
        Ok(LocalCheckRegistration { check, definition, ..LocalCheckRegistration::default() })
    }
}

/// A check begins critical where nobody says otherwise.
fn status(word: &str) -> Option<Status> {
    if word.is_empty() { Some(Status::Critical) } else { word.parse().ok() }
}

/// The one rule that is meant, if this agent runs such rules for clients.
fn settle(declared: DeclaredCheck, allows_scripts: bool) -> Result<CheckDefinition, Failure> {
    let definition = declared.settle().map_err(misfit)?;
    match definition.rule {
        Rule::Script { .. } | Rule::Docker { .. } if !allows_scripts => Err(Failure::internal(
            "Scripts are disabled on this agent from remote calls; to enable, configure \
             'enable_script_checks' to true",
        )),
        Rule::OsService { .. } => Err(Failure::internal("not implemented")),
        _ => Ok(definition),
    }
}

fn weights(given: Option<(i64, i64)>) -> Result<Weights, Failure> {
    let Some((passing, warning)) = given else { return Ok(Weights::default()) };
    declared::weights(passing, warning).map_err(|misfit| {
        let text = match misfit {
            WeightMisfit::PassingTooSmall => "Passing must be greater than 0",
            WeightMisfit::WarningNegative => "Warning must be greater or equal than 0",
            WeightMisfit::TooLarge => "DNS Weight must be between 0 and 65535",
        };
        Failure::bad_request(format!("Invalid Weights: {text}"))
    })
}

fn meta_misfit(misfit: &MetaMisfit<'_>) -> Failure {
    let (key, value, problem) = match misfit {
        MetaMisfit::TooMany => {
            return Failure::bad_request(
                "Invalid Service Meta: Node metadata cannot contain more than 64 key/value pairs",
            );
        }
        MetaMisfit::KeyBlank(key, value) => (key, value, "Key cannot be blank"),
        MetaMisfit::KeyCharacters(key, value) => (key, value, "Key contains invalid characters"),
        MetaMisfit::KeyTooLong(key, value) => {
            (key, value, "Key is too long (limit: 128 characters)")
        }
        MetaMisfit::KeyReserved(key, value) => {
            (key, value, "Key prefix 'consul-' is reserved for internal use")
        }
        MetaMisfit::ValueTooLong(key, value) => {
            (key, value, "Value is too long (limit: 512 characters)")
        }
    };
    Failure::bad_request(format!(
        "Invalid Service Meta: Couldn't load metadata pair ('{key}', '{value}'): {problem}"
    ))
}

/// What is wrong with the ports of an instance, all at once.
fn check_ports(port: u16, ports: &[NamedPort]) -> Result<(), Failure> {
    if ports.is_empty() {
        return Ok(());
    }
    let mut problems = Vec::new();
    if port != 0 {
        problems.push("Cannot set both Port and Ports".to_owned());
    }
    for (at, own) in ports.iter().enumerate() {
        if own.name.is_empty() {
            problems.push("Ports.Name cannot be empty".to_owned());
        } else if ports[..at].iter().any(|other| other.name == own.name) {
            problems.push(format!("Ports.Name {:?} has to be unique", own.name));
        }
        if own.port == 0 {
            problems.push("Ports.Port must be greater than zero".to_owned());
        }
    }
    match ports.iter().filter(|port| port.is_default).count() {
        0 => problems.push("One of the Ports must be marked as Default".to_owned()),
        1 => {}
        _ => problems.push("Only one port can be marked as default".to_owned()),
    }
    if problems.is_empty() {
        return Ok(());
    }
    let (n, s) = (problems.len(), if problems.len() == 1 { "" } else { "s" });
    let list: String = problems.iter().map(|problem| format!("\t* {problem}\n")).collect();
    Err(Failure::bad_request(format!("Validation failed: {n} error{s} occurred:\n{list}\n")))
}
