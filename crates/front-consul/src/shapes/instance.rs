//! An instance, in the two shapes of the catalog: Consul's `NodeService`, as in health entries and
//! under a node, and its flat `ServiceNode`, as in `/v1/catalog/service`.

use muster_model::answer::InstanceDetail;
use muster_model::instance::{NamedPort, Weights};
use muster_model::{Indexed, Instance, Text};
use serde::Serialize;
use serde::ser::Serializer;

use crate::filter::{Kind, Value, filter_fields, shape_of};
use crate::shapes::check::CheckShape;
use crate::shapes::document::{CONNECT, Document, PROXY};
use crate::shapes::node::NodeShape;
use crate::shapes::{ENDPOINTS, Endpoints, Facts, LocalityShape, Words};

/// An instance without its node.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct InstanceShape<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    kind: &'a str,
    #[serde(rename = "ID")]
    id: &'a str,
    service: &'a str,
    tags: Words<'a>,
    address: &'a str,
    #[serde(skip_serializing_if = "Endpoints::is_empty")]
    tagged_addresses: Endpoints<'a>,
    meta: Facts<'a>,
    #[serde(skip_serializing_if = "is_zero")]
    port: u16,
    #[serde(skip_serializing_if = "Ports::is_empty")]
    ports: Ports<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    socket_path: &'a str,
    weights: WeightsShape,
    enable_tag_override: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    locality: Option<LocalityShape<'a>>,
    proxy: Document<'a>,
    connect: Document<'a>,
    peer_name: &'a str,
    create_index: u64,
    modify_index: u64,
}

impl<'a> InstanceShape<'a> {
    /// The shape of an instance.
    pub(crate) fn new(instance: &'a Indexed<Instance>) -> InstanceShape<'a> {
        let extras = instance.extras();
        InstanceShape {
            kind: &extras.kind,
            id: &instance.id,
            service: &instance.service,
            tags: Words(&instance.tags),
            address: &instance.address,
            tagged_addresses: Endpoints(&extras.tagged_addresses),
            meta: Facts::nullable(&instance.meta),
            port: default_port(instance),
            ports: Ports(&extras.ports),
            socket_path: &extras.socket_path,
            weights: instance.weights.into(),
            enable_tag_override: instance.enable_tag_override,
            locality: extras.locality.as_ref().map(LocalityShape::from),
            proxy: Document::proxy(&extras.proxy),
            connect: Document::connect(&extras.connect),
            peer_name: "",
            create_index: instance.create_index,
            modify_index: instance.modify_index,
        }
    }
}

impl<'a> InstanceShape<'a> {
    /// Its id.
    pub(crate) fn id(&self) -> &'a str {
        self.id
    }
}

filter_fields! { InstanceShape<'_> {
    "Kind":              Kind::Text    => |instance| instance.kind;
    "ID":                Kind::Text    => |instance| instance.id;
    "Service":           Kind::Text    => |instance| instance.service;
    "Tags":              Kind::Texts   => |instance| Value::Texts(&instance.tags);
    "Address":           Kind::Text    => |instance| instance.address;
    "TaggedAddresses":   ENDPOINTS     => |instance| Value::Map(&instance.tagged_addresses);
    "Meta":              Kind::META    => |instance| Value::Map(&instance.meta);
    "Port":              Kind::INTEGER => |instance| instance.port;
    "SocketPath":        Kind::Text    => |instance| instance.socket_path;
    "Weights":           WEIGHTS       => |instance| Value::Struct(&instance.weights);
    "EnableTagOverride": Kind::Flag    => |instance| instance.enable_tag_override;
    "PeerName":          Kind::Text    => |instance| instance.peer_name;
    "Proxy":             PROXY         => |instance| Value::Struct(&instance.proxy.as_proxy());
    "Connect":           CONNECT       => |instance| Value::Struct(&instance.connect.as_connect());
} }

/// An instance together with its node, in one flat object.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct FlatInstanceShape<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    node: &'a str,
    address: &'a str,
    datacenter: &'a str,
    tagged_addresses: Facts<'a>,
    node_meta: Facts<'a>,
    service_kind: &'a str,
    #[serde(rename = "ServiceID")]
    service_id: &'a str,
    service_name: &'a str,
    service_tags: Words<'a>,
    service_address: &'a str,
    #[serde(skip_serializing_if = "Endpoints::is_empty")]
    service_tagged_addresses: Endpoints<'a>,
    service_weights: WeightsShape,
    service_meta: Facts<'a>,
    service_port: u16,
    service_ports: Option<Ports<'a>>,
    service_socket_path: &'a str,
    service_enable_tag_override: bool,
    service_proxy: Document<'a>,
    service_connect: Document<'a>,
    service_locality: Option<LocalityShape<'a>>,
    create_index: u64,
    modify_index: u64,
}

impl<'a> FlatInstanceShape<'a> {
    /// The shape of an instance with its node in this datacenter.
    pub(crate) fn new(detail: &'a InstanceDetail, datacenter: &'a str) -> FlatInstanceShape<'a> {
        let InstanceDetail { node, instance, .. } = detail;
        let extras = instance.extras();
        let ports = &extras.ports;
        FlatInstanceShape {
            id: &node.id,
            node: &node.name,
            address: &node.address,
            datacenter,
            tagged_addresses: Facts::nullable(&node.tagged_addresses),
            node_meta: Facts::nullable(&node.meta),
            service_kind: &extras.kind,
            service_id: &instance.id,
            service_name: &instance.service,
            service_tags: Words(&instance.tags),
            service_address: &instance.address,
            service_tagged_addresses: Endpoints(&extras.tagged_addresses),
            service_weights: instance.weights.into(),
            service_meta: Facts::present(&instance.meta),
            service_port: default_port(instance),
            service_ports: (!ports.is_empty()).then_some(Ports(ports)),
            service_socket_path: &extras.socket_path,
            service_enable_tag_override: instance.enable_tag_override,
            service_proxy: Document::proxy(&extras.proxy),
            service_connect: Document::connect(&extras.connect),
            service_locality: extras.locality.as_ref().map(LocalityShape::from),
            create_index: instance.create_index,
            modify_index: instance.modify_index,
        }
    }
}

impl<'a> FlatInstanceShape<'a> {
    /// Its service's name and its tags.
    pub(crate) fn service_and_tags(&self) -> (&'a str, &'a [Text]) {
        (self.service_name, self.service_tags.0)
    }
}

filter_fields! { FlatInstanceShape<'_> {
    "ID":                       Kind::Text    => |flat| flat.id;
    "Node":                     Kind::Text    => |flat| flat.node;
    "Address":                  Kind::Text    => |flat| flat.address;
    "Datacenter":               Kind::Text    => |flat| flat.datacenter;
    "TaggedAddresses":          Kind::META    => |flat| Value::Map(&flat.tagged_addresses);
    "NodeMeta":                 Kind::META    => |flat| Value::Map(&flat.node_meta);
    "ServiceKind":              Kind::Text    => |flat| flat.service_kind;
    "ServiceID":                Kind::Text    => |flat| flat.service_id;
    "ServiceName":              Kind::Text    => |flat| flat.service_name;
    "ServiceTags":              Kind::Texts   => |flat| Value::Texts(&flat.service_tags);
    "ServiceAddress":           Kind::Text    => |flat| flat.service_address;
    "ServiceTaggedAddresses":   ENDPOINTS     => |flat| Value::Map(&flat.service_tagged_addresses);
    "ServiceWeights":           WEIGHTS       => |flat| Value::Struct(&flat.service_weights);
    "ServiceMeta":              Kind::META    => |flat| Value::Map(&flat.service_meta);
    "ServicePort":              Kind::INTEGER => |flat| flat.service_port;
    "ServiceSocketPath":        Kind::Text    => |flat| flat.service_socket_path;
    "ServiceEnableTagOverride": Kind::Flag    => |flat| flat.service_enable_tag_override;
    "PeerName":                 Kind::Text    => |_flat| "";
    "ServiceProxy":             PROXY         => |flat| Value::Struct(&flat.service_proxy.as_proxy());
    "ServiceConnect":           CONNECT       => |flat| Value::Struct(&flat.service_connect.as_connect());
} }

/// An instance with its node and the checks that decide its status.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct EntryShape<'a> {
    node: NodeShape<'a>,
    service: InstanceShape<'a>,
    checks: Vec<CheckShape<'a>>,
}

impl<'a> EntryShape<'a> {
    /// The shape of an instance with its node and checks.
    pub(crate) fn new(detail: &'a InstanceDetail, datacenter: &'a str) -> EntryShape<'a> {
        let checks = detail.checks.iter().map(|check| {
            let instance = (!check.is_about_node()).then_some(&detail.instance.value);
            CheckShape::new(&detail.node.name, check, instance)
        });
        EntryShape {
            node: NodeShape::new(&detail.node, datacenter),
            service: InstanceShape::new(&detail.instance),
            checks: checks.collect(),
        }
    }
}

filter_fields! { EntryShape<'_> {
    "Node":    Kind::Struct(shape_of::<NodeShape<'_>>())     => |entry| Value::Struct(&entry.node);
    "Service": Kind::Struct(shape_of::<InstanceShape<'_>>()) => |entry| Value::Struct(&entry.service);
    "Checks":  Kind::Structs(shape_of::<CheckShape<'_>>())   => |entry| Value::Structs(&entry.checks);
} }

/// Weights by status.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct WeightsShape {
    passing: u16,
    warning: u16,
}

impl From<Weights> for WeightsShape {
    fn from(weights: Weights) -> WeightsShape {
        WeightsShape { passing: weights.passing, warning: weights.warning }
    }
}

filter_fields! { WeightsShape {
    "Passing": Kind::INTEGER => |weights| weights.passing;
    "Warning": Kind::INTEGER => |weights| weights.warning;
} }

/// The kind of [`WeightsShape`].
pub(crate) const WEIGHTS: Kind = Kind::Struct(shape_of::<WeightsShape>());

/// Named ports.
#[derive(Clone, Copy)]
pub(crate) struct Ports<'a>(pub(crate) &'a [NamedPort]);

impl Ports<'_> {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Ports<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|port| PortShape {
            name: &port.name,
            port: port.port,
            default: port.is_default,
        }))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PortShape<'a> {
    name: &'a str,
    port: u16,
    default: bool,
}

/// The port that answers where none is named.
pub(crate) fn default_port(instance: &Instance) -> u16 {
    let named = instance.extras().ports.iter().find(|port| port.is_default);
    named.map_or(instance.port, |port| port.port)
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(port: &u16) -> bool {
    *port == 0
}
