//! The two documents of the mesh that an instance may carry: how its proxy is set up, and whether
//! it speaks the mesh's protocol itself.
//!
//! Nothing here acts on them, so they are kept and shown word for word. Look-ups and filters ask
//! for a few of their fields; those are read out of the text when they are asked for, and a
//! document that lacks one has its zero. Upstreams and the modes of proxies cannot be filtered by.

use std::borrow::Cow;

use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::filter::{Kind, filter_fields, shape_of};

/// A JSON document of the mesh, kept word for word; or what stands for none.
#[derive(Clone, Copy)]
pub(crate) struct Document<'a> {
    text: &'a str,
    none: Absent,
}

/// What stands for a document that nobody gave.
#[derive(Clone, Copy)]
enum Absent {
    Proxy,
    Connect,
}

impl<'a> Document<'a> {
    /// How a proxy is set up.
    pub(crate) fn proxy(text: &'a str) -> Document<'a> {
        Document { text, none: Absent::Proxy }
    }

    /// How an instance takes part in the mesh.
    pub(crate) fn connect(text: &'a str) -> Document<'a> {
        Document { text, none: Absent::Connect }
    }

    /// The document, if there is one.
    pub(crate) fn present(text: &'a str) -> Option<Document<'a>> {
        (!text.is_empty()).then_some(Document::connect(text))
    }

    /// What can be asked of it where it sets up a proxy.
    pub(crate) fn as_proxy(self) -> ProxyFacts<'a> {
        self.read()
    }

    /// What can be asked of it where it says how an instance takes part.
    pub(crate) fn as_connect(self) -> ConnectFacts {
        self.read()
    }

    fn read<T: Default + Deserialize<'a>>(self) -> T {
        serde_json::from_str(self.text).unwrap_or_default()
    }
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serde_json::from_str::<&RawValue>(self.text) {
            Ok(document) => document.serialize(serializer),
            Err(_) => match self.none {
                Absent::Proxy => no_proxy(serializer),
                Absent::Connect => no_connect(serializer),
            },
        }
    }
}

fn no_proxy<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct NoProxy {
        mode: &'static str,
        mesh_gateway: Nothing,
        expose: Nothing,
    }
    NoProxy { mode: "", mesh_gateway: Nothing {}, expose: Nothing {} }.serialize(serializer)
}

fn no_connect<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
    Nothing {}.serialize(serializer)
}

#[derive(Serialize)]
struct Nothing {}

/// What can be asked of the document of a proxy.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ProxyFacts<'a> {
    #[serde(borrow)]
    pub(crate) destination_service_name: Cow<'a, str>,
    #[serde(borrow, rename = "DestinationServiceID")]
    destination_service_id: Cow<'a, str>,
    #[serde(borrow)]
    local_service_address: Cow<'a, str>,
    local_service_port: i64,
}

filter_fields! { ProxyFacts<'_> {
    "DestinationServiceName": Kind::Text    => |proxy| &*proxy.destination_service_name;
    "DestinationServiceID":   Kind::Text    => |proxy| &*proxy.destination_service_id;
    "LocalServiceAddress":    Kind::Text    => |proxy| &*proxy.local_service_address;
    "LocalServicePort":       Kind::INTEGER => |proxy| proxy.local_service_port;
} }

/// The kind of [`ProxyFacts`].
pub(crate) const PROXY: Kind = Kind::Struct(shape_of::<ProxyFacts<'_>>());

/// What can be asked of the document that says how an instance takes part in the mesh.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ConnectFacts {
    /// Whether it speaks the mesh's protocol itself.
    pub(crate) native: bool,
}

filter_fields! { ConnectFacts {
    "Native": Kind::Flag => |connect| connect.native;
} }

/// The kind of [`ConnectFacts`].
pub(crate) const CONNECT: Kind = Kind::Struct(shape_of::<ConnectFacts>());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_read_as_far_as_it_goes() {
        let text = r#"{"DestinationServiceName":"we\u0062","Upstreams":[{}]}"#;
        let proxy = Document::proxy(text).as_proxy();
        assert_eq!(proxy.destination_service_name, "web");
        assert_eq!(proxy.local_service_port, 0);
        assert!(Document::connect(r#"{"Native":true}"#).as_connect().native);
    }

    #[test]
    fn no_document_has_zeros() {
        assert_eq!(Document::proxy("").as_proxy().destination_service_name, "");
        assert!(!Document::connect("").as_connect().native);
    }
}
