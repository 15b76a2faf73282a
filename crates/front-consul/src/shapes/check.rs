//! A check, as in `/v1/health/...` and `/v1/agent/checks`.

use std::time::Duration;

use muster_model::check::CheckExtras;
use muster_model::definition::{CheckDefinition, Rule, TlsOptions};
use muster_model::{Check, Indexed, Instance, Text};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::duration;
use crate::filter::{Kind, Value, filter_fields};
use crate::shapes::Words;

/// A check with the service and tags of its instance.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CheckShape<'a> {
    node: &'a str,
    #[serde(rename = "CheckID")]
    check_id: &'a str,
    name: &'a str,
    status: &'a str,
    notes: &'a str,
    output: &'a str,
    #[serde(rename = "ServiceID")]
    service_id: &'a str,
    service_name: &'a str,
    service_tags: Option<Words<'a>>,
    r#type: &'a str,
    interval: &'a str,
    timeout: &'a str,
    exposed_port: u16,
    definition: DefinitionShape<'a>,
    create_index: u64,
    modify_index: u64,
}

impl<'a> CheckShape<'a> {
    /// The shape of a check in the catalog.
    pub(crate) fn new(
        node: &'a str,
        check: &'a Indexed<Check>,
        instance: Option<&'a Instance>,
    ) -> CheckShape<'a> {
        let shape = CheckShape::local(node, check, instance);
        CheckShape {
            create_index: check.create_index,
            modify_index: check.modify_index,
            definition: DefinitionShape(check.extras().definition.as_deref()),
            ..shape
        }
    }

    /// The shape of a check that an agent vouches for: it has no indexes, and its definition is not
    /// shown.
    pub(crate) fn local(
        node: &'a str,
        check: &'a Check,
        instance: Option<&'a Instance>,
    ) -> CheckShape<'a> {
        let CheckExtras { interval, timeout, exposed_port, .. } = check.extras();
        CheckShape {
            node,
            check_id: &check.id,
            name: &check.name,
            status: check.status_word(),
            notes: &check.notes,
            output: &check.output,
            service_id: &check.instance_id,
            service_name: instance.map_or("", |instance| &instance.service),
            service_tags: Some(Words(instance.map_or(&[], |instance| &instance.tags))),
            r#type: &check.kind,
            interval,
            timeout,
            exposed_port: *exposed_port,
            definition: DefinitionShape(None),
            create_index: 0,
            modify_index: 0,
        }
    }
}

impl<'a> CheckShape<'a> {
    /// The same about an instance of which these are known, as a transaction tells it: no tags are
    /// `null`.
    pub(crate) fn about(self, service: &'a str, tags: &'a [Text]) -> CheckShape<'a> {
        let service_tags = (!tags.is_empty()).then_some(Words(tags));
        CheckShape { service_name: service, service_tags, ..self }
    }

    /// Its id.
    pub(crate) fn id(&self) -> &'a str {
        self.check_id
    }
}

filter_fields! { CheckShape<'_> {
    "Node":        Kind::Text    => |check| check.node;
    "CheckID":     Kind::Text    => |check| check.check_id;
    "Name":        Kind::Text    => |check| check.name;
    "Status":      Kind::Text    => |check| check.status;
    "Notes":       Kind::Text    => |check| check.notes;
    "Output":      Kind::Text    => |check| check.output;
    "ServiceID":   Kind::Text    => |check| check.service_id;
    "ServiceName": Kind::Text    => |check| check.service_name;
    "ServiceTags": Kind::Texts   => |check| Value::Texts(check.service_tags.as_ref().unwrap_or(&Words(&[])));
    "Type":        Kind::Text    => |check| check.r#type;
    "Interval":    Kind::Text    => |check| check.interval;
    "Timeout":     Kind::Text    => |check| check.timeout;
    "ExposedPort": Kind::INTEGER => |check| check.exposed_port;
    "PeerName":    Kind::Text    => |_check| "";
} }

/// The definition registered with a check in the catalog: what is not set is left out.
struct DefinitionShape<'a>(Option<&'a CheckDefinition>);

impl Serialize for DefinitionShape<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = Sparse(serializer.serialize_map(None)?);
        if let Some(definition) = self.0 {
            map.duration("Interval", definition.interval)?;
            map.number("OutputMaxSize", u64::from(definition.output_max))?;
            map.duration("Timeout", definition.timeout)?;
            let after = definition.deregister_critical_after;
            map.duration("DeregisterCriticalServiceAfter", after)?;
            map.rule(&definition.rule)?;
        }
        map.0.end()
    }
}

/// Writes only what is not empty.
struct Sparse<M>(M);

impl<M: SerializeMap> Sparse<M> {
    fn text(&mut self, key: &'static str, text: &str) -> Result<(), M::Error> {
        if text.is_empty() { Ok(()) } else { self.0.serialize_entry(key, text) }
    }

    fn flag(&mut self, key: &'static str, flag: bool) -> Result<(), M::Error> {
        if flag { self.0.serialize_entry(key, &true) } else { Ok(()) }
    }

    fn number(&mut self, key: &'static str, number: u64) -> Result<(), M::Error> {
        if number == 0 { Ok(()) } else { self.0.serialize_entry(key, &number) }
    }

    fn duration(&mut self, key: &'static str, value: Duration) -> Result<(), M::Error> {
        if value.is_zero() { Ok(()) } else { self.0.serialize_entry(key, &duration::format(value)) }
    }

    fn words(&mut self, key: &'static str, words: &[Text]) -> Result<(), M::Error> {
        if words.is_empty() { Ok(()) } else { self.0.serialize_entry(key, &Words(words)) }
    }

    fn tls(&mut self, tls: &TlsOptions) -> Result<(), M::Error> {
        self.text("TLSServerName", &tls.server_name)?;
        self.flag("TLSSkipVerify", tls.skip_verify)
    }

    fn rule(&mut self, rule: &Rule) -> Result<(), M::Error> {
        match rule {
            Rule::None => Ok(()),
            Rule::Ttl { ttl } => self.number("TTL", ttl.as_nanos() as u64),
            Rule::Http { url, method, headers, body, disable_redirects, tls } => {
                self.text("HTTP", url)?;
                self.tls(tls)?;
                if !headers.is_empty() {
                    self.0.serialize_entry("Header", &Headers(headers))?;
                }
                self.text("Method", method)?;
                self.text("Body", body)?;
                self.flag("DisableRedirects", *disable_redirects)
            }
            Rule::Tcp { address, use_tls, tls } => {
                self.tls(tls)?;
                self.text("TCP", address)?;
                self.flag("TCPUseTLS", *use_tls)
            }
            Rule::Udp { address } => self.text("UDP", address),
            Rule::H2ping { address, use_tls, tls } => {
                self.tls(tls)?;
                self.text("H2PING", address)?;
                self.flag("H2PingUseTLS", *use_tls)
            }
            Rule::OsService { name } => self.text("OSService", name),
            Rule::Script { args } => self.words("ScriptArgs", args),
            Rule::Docker { container_id, shell, args } => {
                self.words("ScriptArgs", args)?;
                self.text("DockerContainerID", container_id)?;
                self.text("Shell", shell)
            }
            Rule::Grpc { target, use_tls, tls } => {
                self.tls(tls)?;
                self.text("GRPC", target)?;
                self.flag("GRPCUseTLS", *use_tls)
            }
            Rule::Alias { node, instance_id } => {
                self.text("AliasNode", node)?;
                self.text("AliasService", instance_id)
            }
        }
    }
}

/// Header lines, several values each.
struct Headers<'a>(&'a [(Text, Vec<Text>)]);

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, values)| (name.as_str(), Words(values))))
    }
}
