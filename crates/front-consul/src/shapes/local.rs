//! An instance that an agent vouches for, as in `/v1/agent/services`: Consul's `AgentService`; and
//! its status, as in `/v1/agent/health/service`.

use muster_model::{Check, Instance};
use serde::Serialize;

use crate::filter::{Kind, Value, filter_fields};
use crate::shapes::document::{CONNECT, ConnectFacts, Document, PROXY, ProxyFacts};
use crate::shapes::instance::{Ports, WEIGHTS, WeightsShape, default_port};
use crate::shapes::{ENDPOINTS, Endpoints, Facts, LocalityShape, Words};

/// An instance that an agent vouches for.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LocalInstanceShape<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    kind: &'a str,
    #[serde(rename = "ID")]
    id: &'a str,
    service: &'a str,
    tags: Words<'a>,
    meta: Facts<'a>,
    port: u16,
    #[serde(skip_serializing_if = "Ports::is_empty")]
    ports: Ports<'a>,
    address: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    socket_path: &'a str,
    #[serde(skip_serializing_if = "Endpoints::is_empty")]
    tagged_addresses: Endpoints<'a>,
    weights: WeightsShape,
    enable_tag_override: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_hash: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<Document<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<Document<'a>>,
    datacenter: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    locality: Option<LocalityShape<'a>>,
}

impl<'a> LocalInstanceShape<'a> {
    /// The shape of an instance in this datacenter, with its content hash where one is asked for.
    pub(crate) fn new(
        instance: &'a Instance,
        datacenter: &'a str,
        content_hash: Option<&'a str>,
    ) -> LocalInstanceShape<'a> {
        let extras = instance.extras();
        LocalInstanceShape {
            kind: &extras.kind,
            id: &instance.id,
            service: &instance.service,
            tags: Words(&instance.tags),
            meta: Facts::present(&instance.meta),
            port: default_port(instance),
            ports: Ports(&extras.ports),
            address: &instance.address,
            socket_path: &extras.socket_path,
            tagged_addresses: Endpoints(&extras.tagged_addresses),
            weights: instance.weights.into(),
            enable_tag_override: instance.enable_tag_override,
            content_hash,
            proxy: Document::present(&extras.proxy),
            connect: Document::present(&extras.connect),
            datacenter,
            locality: extras.locality.as_ref().map(LocalityShape::from),
        }
    }

    /// Its id.
    pub(crate) fn id(&self) -> &'a str {
        self.id
    }
}

filter_fields! { LocalInstanceShape<'_> {
    "Kind":              Kind::Text    => |instance| instance.kind;
    "ID":                Kind::Text    => |instance| instance.id;
    "Service":           Kind::Text    => |instance| instance.service;
    "Tags":              Kind::Texts   => |instance| Value::Texts(&instance.tags);
    "Meta":              Kind::META    => |instance| Value::Map(&instance.meta);
    "Port":              Kind::INTEGER => |instance| instance.port;
    "Address":           Kind::Text    => |instance| instance.address;
    "SocketPath":        Kind::Text    => |instance| instance.socket_path;
    "TaggedAddresses":   ENDPOINTS     => |instance| Value::Map(&instance.tagged_addresses);
    "Weights":           WEIGHTS       => |instance| Value::Struct(&instance.weights);
    "EnableTagOverride": Kind::Flag    => |instance| instance.enable_tag_override;
    "PeerName":          Kind::Text    => |_instance| "";
    "Proxy":             PROXY         => |instance| Value::Struct(&proxy_facts(instance));
    "Connect":           CONNECT       => |instance| Value::Struct(&connect_facts(instance));
} }

fn proxy_facts<'a>(instance: &LocalInstanceShape<'a>) -> ProxyFacts<'a> {
    instance.proxy.map(Document::as_proxy).unwrap_or_default()
}

fn connect_facts(instance: &LocalInstanceShape<'_>) -> ConnectFacts {
    instance.connect.map(Document::as_connect).unwrap_or_default()
}

/// The status of an instance with the checks that decide it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LocalStatusShape<'a> {
    pub(crate) aggregated_status: &'a str,
    pub(crate) service: Option<LocalInstanceShape<'a>>,
    pub(crate) checks: Option<Vec<BareCheckShape<'a>>>,
}

/// A check in the shape of Consul's client library, whose definition shows every field.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BareCheckShape<'a> {
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
    exposed_port: u16,
    definition: BareDefinition,
    create_index: u64,
    modify_index: u64,
}

impl<'a> BareCheckShape<'a> {
    /// The shape of a check of a node or of one of its instances.
    pub(crate) fn new(
        node: &'a str,
        check: &'a Check,
        instance: Option<&'a Instance>,
    ) -> BareCheckShape<'a> {
        let tags = instance.map_or(&[][..], |instance| &instance.tags);
        BareCheckShape {
            node,
            check_id: &check.id,
            name: &check.name,
            status: check.status_word(),
            notes: &check.notes,
            output: &check.output,
            service_id: &check.instance_id,
            service_name: instance.map_or("", |instance| &instance.service),
            service_tags: (!tags.is_empty()).then_some(Words(tags)),
            r#type: "",
            exposed_port: 0,
            definition: BareDefinition::default(),
            create_index: 0,
            modify_index: 0,
        }
    }
}

/// A definition of which an agent tells nothing here.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct BareDefinition {
    interval: &'static str,
    timeout: &'static str,
    deregister_critical_service_after: &'static str,
    #[serde(rename = "HTTP")]
    http: &'static str,
    header: Option<()>,
    method: &'static str,
    body: &'static str,
    #[serde(rename = "TLSServerName")]
    tls_server_name: &'static str,
    #[serde(rename = "TLSSkipVerify")]
    tls_skip_verify: bool,
    #[serde(rename = "TCP")]
    tcp: &'static str,
    #[serde(rename = "TCPUseTLS")]
    tcp_use_tls: bool,
    #[serde(rename = "UDP")]
    udp: &'static str,
    #[serde(rename = "GRPC")]
    grpc: &'static str,
    #[serde(rename = "OSService")]
    os_service: &'static str,
    #[serde(rename = "GRPCUseTLS")]
    grpc_use_tls: bool,
}

impl Default for BareDefinition {
    fn default() -> BareDefinition {
        BareDefinition {
            interval: "0s",
            timeout: "0s",
            deregister_critical_service_after: "0s",
            http: "",
            header: None,
            method: "",
            body: "",
            tls_server_name: "",
            tls_skip_verify: false,
            tcp: "",
            tcp_use_tls: false,
            udp: "",
            grpc: "",
            os_service: "",
            grpc_use_tls: false,
        }
    }
}
