//! Three objects with a field of every kind, the same as the oracle was asked about.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::filter::{Fields, IntegerKind, Kind, Map, Question, Value, filter_fields};

#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) port: i64,
    pub(super) small: u16,
    pub(super) flag: bool,
    pub(super) tags: Vec<String>,
    pub(super) meta: BTreeMap<String, String>,
    pub(super) checks: Vec<Check>,
    pub(super) service: Service,
    pub(super) addresses: Addresses,
    pub(super) opaque: BTreeMap<String, String>,
    #[serde(rename = "not")]
    pub(super) not: String,
    #[serde(rename = "is")]
    pub(super) is: Vec<String>,
    #[serde(rename = "in")]
    pub(super) inside: BTreeMap<String, String>,
}

filter_fields! { Instance {
    "Name": Kind::Text => |it| &it.name;
    "Port": Kind::INTEGER => |it| it.port;
    "Small": Kind::Integer(IntegerKind { is_signed: false, bits: 16 }) => |it| it.small;
    "Flag": Kind::Flag => |it| it.flag;
    "Tags": Kind::Texts => |it| Value::Texts(&it.tags);
    "Meta": Kind::META => |it| Value::Map(&it.meta);
    "Checks": Kind::Structs(Check::SHAPE) => |it| Value::Structs(&it.checks);
    "Service": Kind::Struct(Service::SHAPE) => |it| Value::Struct(&it.service);
    "Addresses": Kind::Map(Some(&Kind::Struct(Address::SHAPE))) => |it| Value::Map(&it.addresses);
    "Opaque": Kind::Map(None) => |it| Value::Map(&it.opaque);
    "not": Kind::Text => |it| &it.not;
    "is": Kind::Texts => |it| Value::Texts(&it.is);
    "in": Kind::META => |it| Value::Map(&it.inside);
} }

#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Check {
    pub(super) status: String,
    pub(super) tags: Vec<String>,
    pub(super) meta: BTreeMap<String, String>,
}

filter_fields! { Check {
    "Status": Kind::Text => |it| &it.status;
    "Tags": Kind::Texts => |it| Value::Texts(&it.tags);
    "Meta": Kind::META => |it| Value::Map(&it.meta);
} }

#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Service {
    #[serde(rename = "ID")]
    pub(super) id: String,
    pub(super) port: i64,
    pub(super) tags: Vec<String>,
}

filter_fields! { Service {
    "ID": Kind::Text => |it| &it.id;
    "Port": Kind::INTEGER => |it| it.port;
    "Tags": Kind::Texts => |it| Value::Texts(&it.tags);
} }

#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Address {
    pub(super) address: String,
    pub(super) port: i64,
}

filter_fields! { Address {
    "Address": Kind::Text => |it| &it.address;
    "Port": Kind::INTEGER => |it| it.port;
} }

/// A map into objects, written by hand: the two other kinds of map come with the module.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Addresses(pub(super) BTreeMap<String, Address>);

impl Map for Addresses {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn contains(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    fn ask(&self, key: &str, question: &mut Question<'_>) -> Option<bool> {
        self.0.get(key).map(|address| question(Value::Struct(address as &dyn Fields)))
    }
}

/// The objects of the oracle.
pub(super) fn objects() -> [Instance; 3] {
    let first = Instance {
        name: "web".to_owned(),
        port: 80,
        small: 8,
        flag: true,
        tags: texts(&["a", "production"]),
        meta: pairs(&[("env", "production"), ("a.b", "dot"), ("", "blank"), ("web", "in")]),
        checks: vec![check("passing", &["a"], &[("k", "v")]), check("critical", &[], &[])],
        service: service("web-1", 8080, &["x"]),
        addresses: Addresses(BTreeMap::from([(
            "lan".to_owned(),
            Address { address: "10.0.0.1".to_owned(), port: 80 },
        )])),
        opaque: pairs(&[("k", "1")]),
        not: "not".to_owned(),
        is: texts(&["empty"]),
        inside: pairs(&[("in", "in"), ("not", "x")]),
    };
    let second = Instance {
        name: "caf\u{e9} \u{667}".to_owned(),
        port: -1,
        small: 65_535,
        service: service("b", 0, &[]),
        ..Instance::default()
    };
    let third = Instance {
        name: "a \"quoted\"\tx".to_owned(),
        tags: texts(&["web"]),
        meta: pairs(&[("env", "dev")]),
        checks: vec![check("warning", &[], &[("k", "w")])],
        service: service("c-1", 80, &["a"]),
        not: "Name".to_owned(),
        inside: pairs(&[("Name", "in")]),
        ..Instance::default()
    };
    [first, second, third]
}

fn check(status: &str, tags: &[&str], meta: &[(&str, &str)]) -> Check {
    Check { status: status.to_owned(), tags: texts(tags), meta: pairs(meta) }
}

fn service(id: &str, port: i64, tags: &[&str]) -> Service {
    Service { id: id.to_owned(), port, tags: texts(tags) }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}
