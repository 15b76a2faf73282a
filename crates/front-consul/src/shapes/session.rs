//! A session, as in `/v1/session`.

use std::borrow::Cow;

use muster_model::session::Behavior;
use muster_model::{Indexed, Session, Text};
use serde::Serialize;

use crate::duration;
use crate::shapes::Words;

/// A session.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SessionShape<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    name: &'a str,
    node: &'a str,
    lock_delay: u64,
    behavior: &'static str,
    #[serde(rename = "TTL")]
    ttl: Cow<'a, str>,
    node_checks: Words<'a>,
    service_checks: Option<Vec<InstanceCheckShape<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Words<'a>>,
    create_index: u64,
    modify_index: u64,
}

/// A check of an instance that a session rests on.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct InstanceCheckShape<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    namespace: &'static str,
}

impl<'a> SessionShape<'a> {
    /// The shape of a session.
    pub(crate) fn new(session: &'a Indexed<Session>) -> SessionShape<'a> {
        let shape = |id: &'a Text| InstanceCheckShape { id, namespace: "" };
        let service_checks: Vec<_> = session.instance_checks.iter().map(shape).collect();
        SessionShape {
            id: &session.id,
            name: &session.name,
            node: &session.node,
            lock_delay: session.lock_delay.as_nanos() as u64,
            behavior: word(session.behavior),
            ttl: match &*session.ttl_as_given {
                "" if !session.ttl.is_zero() => duration::format(session.ttl).into(),
                given => given.into(),
            },
            node_checks: Words(&session.node_checks),
            service_checks: (!service_checks.is_empty()).then_some(service_checks),
            checks: (!session.older_checks.is_empty()).then_some(Words(&session.older_checks)),
            create_index: session.create_index,
            modify_index: session.modify_index,
        }
    }
}

/// Consul's word for what becomes of the pairs.
pub(crate) fn word(behavior: Behavior) -> &'static str {
    match behavior {
        Behavior::Release => "release",
        Behavior::Delete => "delete",
    }
}
