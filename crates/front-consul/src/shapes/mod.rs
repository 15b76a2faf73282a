//! The shapes of Consul's JSON: one file for each noun, converted from the model by hand.
//!
//! The order of fields, what is left out when empty, and where an empty list is `null` are Go's;
//! clients compare whole objects. A shape borrows from the answer, so that nothing is copied
//! before it is written. The same shapes are what `?filter=` speaks about.

pub(crate) mod check;
pub(crate) mod content_hash;
pub(crate) mod document;
pub(crate) mod instance;
pub(crate) mod local;
pub(crate) mod member;
pub(crate) mod node;
pub(crate) mod obstacle;
pub(crate) mod pair;
pub(crate) mod prepared;
pub(crate) mod session;
pub(crate) mod standing;

use muster_model::instance::Endpoint;
use muster_model::node::Locality;
use muster_model::{Meta, Text};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::filter::{Kind, Map, Question, Texts, Value, filter_fields, shape_of};

/// A list of words; never `null`.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a>(pub(crate) &'a [Text]);

impl Serialize for Words<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for word in self.0 {
            list.serialize_element(word.as_str())?;
        }
        list.end()
    }
}

impl Texts for Words<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn contains(&self, text: &str) -> bool {
        self.0.iter().any(|word| word == text)
    }
}

/// Facts, or addresses by purpose.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    meta: &'a Meta,
    is_null: bool,
}

impl<'a> Facts<'a> {
    /// `null` where there are none.
    pub(crate) fn nullable(meta: &'a Meta) -> Facts<'a> {
        Facts { meta, is_null: meta.is_empty() }
    }

    /// `{}` where there are none.
    pub(crate) fn present(meta: &'a Meta) -> Facts<'a> {
        Facts { meta, is_null: false }
    }
}

impl Serialize for Facts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_null {
            return serializer.serialize_none();
        }
        let mut map = serializer.serialize_map(Some(self.meta.len()))?;
        for (key, value) in self.meta {
            map.serialize_entry(key.as_str(), value.as_str())?;
        }
        map.end()
    }
}

impl Map for Facts<'_> {
    fn is_empty(&self) -> bool {
        self.meta.is_empty()
    }

    fn contains(&self, key: &str) -> bool {
        self.meta.find(key).is_some()
    }

    fn ask(&self, key: &str, question: &mut Question<'_>) -> Option<bool> {
        self.meta.find(key).map(|value| question(Value::Text(value)))
    }
}

/// Addresses with their ports, by purpose.
#[derive(Clone, Copy)]
pub(crate) struct Endpoints<'a>(pub(crate) &'a [(Text, Endpoint)]);

impl Endpoints<'_> {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Endpoints<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (purpose, endpoint) in self.0 {
            map.serialize_entry(purpose.as_str(), &EndpointShape::from(endpoint))?;
        }
        map.end()
    }
}

impl Map for Endpoints<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn contains(&self, key: &str) -> bool {
        self.0.iter().any(|(purpose, _)| purpose == key)
    }

    fn ask(&self, key: &str, question: &mut Question<'_>) -> Option<bool> {
        let (_, endpoint) = self.0.iter().find(|(purpose, _)| purpose == key)?;
        Some(question(Value::Struct(&EndpointShape::from(endpoint))))
    }
}

/// An address with its port.
#[derive(serde::Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct EndpointShape<'a> {
    address: &'a str,
    port: u16,
}

impl<'a> From<&'a Endpoint> for EndpointShape<'a> {
    fn from(endpoint: &'a Endpoint) -> EndpointShape<'a> {
        EndpointShape { address: &endpoint.address, port: endpoint.port }
    }
}

filter_fields! { EndpointShape<'_> {
    "Address": Kind::Text    => |endpoint| endpoint.address;
    "Port":    Kind::INTEGER => |endpoint| endpoint.port;
} }

/// The kind of a map of [`EndpointShape`]s.
pub(crate) const ENDPOINTS: Kind = Kind::Map(Some(&Kind::Struct(shape_of::<EndpointShape<'_>>())));

/// Where a node or an instance stands.
#[derive(serde::Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LocalityShape<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    region: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    zone: &'a str,
}

impl<'a> From<&'a Locality> for LocalityShape<'a> {
    fn from(locality: &'a Locality) -> LocalityShape<'a> {
        LocalityShape { region: &locality.region, zone: &locality.zone }
    }
}
