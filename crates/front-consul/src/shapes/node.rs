//! A node, as in `/v1/catalog/nodes` and inside every health entry.

use muster_model::{Indexed, Node};
use serde::Serialize;

use crate::filter::{Kind, Value, filter_fields};
use crate::shapes::{Facts, LocalityShape};

/// A node.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NodeShape<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    node: &'a str,
    address: &'a str,
    datacenter: &'a str,
    tagged_addresses: Facts<'a>,
    meta: Facts<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locality: Option<LocalityShape<'a>>,
    create_index: u64,
    modify_index: u64,
}

impl<'a> NodeShape<'a> {
    /// The shape of a node in this datacenter.
    pub(crate) fn new(node: &'a Indexed<Node>, datacenter: &'a str) -> NodeShape<'a> {
        NodeShape {
            id: &node.id,
            node: &node.name,
            address: &node.address,
            datacenter,
            tagged_addresses: Facts::nullable(&node.tagged_addresses),
            meta: Facts::nullable(&node.meta),
            locality: node.locality.as_ref().map(LocalityShape::from),
            create_index: node.create_index,
            modify_index: node.modify_index,
        }
    }
}

filter_fields! { NodeShape<'_> {
    "ID":              Kind::Text => |node| node.id;
    "Node":            Kind::Text => |node| node.node;
    "Address":         Kind::Text => |node| node.address;
    "Datacenter":      Kind::Text => |node| node.datacenter;
    "TaggedAddresses": Kind::META => |node| Value::Map(&node.tagged_addresses);
    "Meta":            Kind::META => |node| Value::Map(&node.meta);
    "PeerName":        Kind::Text => |_node| "";
} }
