//! From Eureka's instance to ours and back; `docs/eureka.md` is this file as a table.
//!
//! An application is a service (in lower case), an instance an instance on the node named after its
//! host name. How it is stands in two checks: one with the word it reports (and an operator's word
//! as its notes), critical unless it is up; and, while it is out of service, a maintenance check, so
//! that whoever removes that check anywhere puts the instance back. What our instance has no place
//! for is kept beside it word for word ([`Original`]).
//!
//! An instance that came another way is shown with what a client needs to call it.

use std::time::Duration;

use muster_model::answer::{InstanceDetail, Row};
use muster_model::check::INSTANCE_MAINTENANCE_PREFIX;
use muster_model::instance::{Endpoint, Extras};
use muster_model::limits::{
    INSTANCE_LEASE_MAX, INSTANCE_LEASE_MIN, META_KEY_BYTES_MAX, META_PAIRS_MAX,
    META_VALUE_BYTES_MAX,
};
use muster_model::node::{Locality, Origin};
use muster_model::{Check, Instance, Node, Status, Text};

use crate::info::{Action, InstanceInfo, LeaseInfo, Port};
use crate::original::Original;
use crate::word::Word;

/// What the id of the check with the reported word starts with.
const WORD_CHECK_PREFIX: &str = "eureka:";
/// The purpose of the tagged address with an instance's secure port.
const SECURE: &str = "secure";
/// The fact that says in which zone an instance stands.
const ZONE: &str = "zone";
/// The service of the registry's own servers, which is no application.
const OWN_SERVICE: &str = "consul";

/// An instance as it shall stand in the catalog.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// The instance. Its `word` and `overridden` are what comes of the two words below.
    pub(crate) info: InstanceInfo,
    /// What it says of itself.
    pub(crate) reported: Word,
    /// What an operator says of it.
    pub(crate) overridden: Option<Word>,
}

impl Standing {
    /// What comes of both words.
    pub(crate) fn word(&self) -> Word {
        self.reported.overruled(self.overridden)
    }

    /// The node that it stands on where there is no other of that name.
    pub(crate) fn node(&self) -> Node {
        Node {
            name: self.info.host_name.clone(),
            address: self.info.ip_address.clone(),
            origin: Origin::Lease,
            ..Node::default()
        }
    }

    /// The instance.
    pub(crate) fn instance(&self) -> Instance {
        let info = &self.info;
        let (kept, beside): (Vec<_>, Vec<_>) = info.metadata.iter().cloned().partition(is_fact);
        let (kept, beyond) = kept.split_at(kept.len().min(META_PAIRS_MAX));
        let beside = beside.iter().chain(beyond);
        let beside = beside.map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let zone = info.metadata.iter().find(|(key, _)| key == ZONE);
        let locality = zone.map(|(_, zone)| Locality { zone: zone.clone(), ..Locality::default() });
        let is_both = info.port.is_enabled && info.secure_port.is_enabled;
        let secure = Endpoint { address: info.ip_address.clone(), port: info.secure_port.number };
        let ttl = Duration::from_secs(info.lease.duration_seconds.into());
        let extras = Extras {
            tagged_addresses: is_both.then(|| (SECURE.into(), secure)).into_iter().collect(),
            locality,
            lease_ttl: ttl.clamp(INSTANCE_LEASE_MIN, INSTANCE_LEASE_MAX),
            original: Original::of(info, beside).write(),
            ..Extras::default()
        };
        let instance = Instance {
            id: catalog_id(&info.app, &info.id()),
            service: service(&info.app),
            address: info.ip_address.clone(),
            port: info.main_port(),
            meta: kept.iter().cloned().collect(),
            origin: Origin::Lease,
            ..Instance::default()
        };
        instance.with_extras(extras)
    }

    /// The check with the word it reports.
    pub(crate) fn word_check(&self, id: &Text) -> Check {
        Check {
            id: word_check_id(id),
            name: "Eureka status".into(),
            status: self.word().status(),
            notes: self.overridden.map(Word::as_str).unwrap_or_default().into(),
            output: self.reported.as_str().into(),
            instance_id: id.clone(),
            kind: "ttl".into(),
            origin: Origin::Lease,
            ..Check::default()
        }
    }

    /// The check that switches it off.
    pub(crate) fn maintenance_check(id: &Text) -> Check {
        Check {
            id: maintenance_check_id(id),
            name: "Service Maintenance Mode".into(),
            status: Status::Critical,
            output: Word::OutOfService.as_str().into(),
            instance_id: id.clone(),
            kind: "maintenance".into(),
            origin: Origin::Lease,
            ..Check::default()
        }
    }
}

/// The service of an application.
pub(crate) fn service(app: &str) -> Text {
    app.to_lowercase().into()
}

/// The id of an instance in the catalog, where it has to be unique on its node: ids of the usual
/// form, `host:application:port`, are; others may be those of several applications on one host and
/// are put under the name of theirs.
pub(crate) fn catalog_id(app: &str, id: &Text) -> Text {
    let names_app =
        id.split(':').nth(1).is_some_and(|part| part.to_lowercase() == app.to_lowercase());
    if names_app && !id.contains('/') {
        id.clone()
    } else {
        format!("{}/{id}", service(app)).into()
    }
}

/// The id by which Eureka's clients know an instance of the catalog.
fn eureka_id(instance: &Instance) -> &str {
    let own = instance.id.strip_prefix(&*instance.service).and_then(|rest| rest.strip_prefix('/'));
    own.unwrap_or(&instance.id)
}

/// The id of the check with the reported word.
pub(crate) fn word_check_id(id: &str) -> Text {
    format!("{WORD_CHECK_PREFIX}{id}").into()
}

/// The id of the check that switches an instance off.
pub(crate) fn maintenance_check_id(id: &str) -> Text {
    format!("{INSTANCE_MAINTENANCE_PREFIX}{id}").into()
}

/// Whether a fact is one that every tongue can carry.
fn is_fact((key, value): &(Text, Text)) -> bool {
    !key.is_empty() && key.len() <= META_KEY_BYTES_MAX && value.len() <= META_VALUE_BYTES_MAX
}

// ------------------------------------------------------------------------------------------------
// From the catalog
// ------------------------------------------------------------------------------------------------

/// Whether Eureka's clients are shown an instance: not proxies, nor the registry's own servers.
pub(crate) fn is_shown(instance: &Instance) -> bool {
    instance.extras().kind.is_empty() && *instance.service.folded() != *OWN_SERVICE
}

/// Whether an instance was registered here, so that its client may renew and alter it.
pub(crate) fn is_own(instance: &Instance) -> bool {
    instance.origin == Origin::Lease && Original::is_in(&instance.extras().original)
}

/// What an instance goes by among those of its application.
pub(crate) fn known_as(detail: &InstanceDetail) -> Text {
    let instance = &detail.instance.value;
    if is_own(instance) {
        eureka_id(instance).into()
    } else {
        format!("{}:{}", detail.node.name, instance.id).into()
    }
}

/// The instance as Eureka's clients see it.
pub(crate) fn shown(detail: &InstanceDetail) -> InstanceInfo {
    standing(detail).info
}

/// How an instance stands, by its checks.
pub(crate) fn standing(detail: &InstanceDetail) -> Standing {
    let instance = &detail.instance.value;
    let original = Original::read(&instance.extras().original);
    let original = original.filter(|_| instance.origin == Origin::Lease);
    let mut info = match &original {
        Some(original) => own_info(detail, original),
        None => foreign_info(detail),
    };
    let (reported, overridden) = words(detail);
    let standing_word = reported.overruled(overridden);
    info.word = seen_word(detail, standing_word);
    info.overridden = overridden.unwrap_or(Word::Unknown);
    Standing { info, reported, overridden }
}

/// The words in the checks: what is reported, and what an operator says. Without a maintenance
/// check of our own nobody is out of service, whatever the words say: somebody put the instance
/// back.
fn words(detail: &InstanceDetail) -> (Word, Option<Word>) {
    if !is_own(&detail.instance) {
        let by_us = maintenance_of(detail).is_some_and(|check| check.origin == Origin::Catalog);
        return (Word::Up, by_us.then_some(Word::OutOfService));
    }
    let check = detail.checks.iter().find(|check| check.id.starts_with(WORD_CHECK_PREFIX));
    let Some(check) = check.filter(|check| is_about(check, &detail.instance.id)) else {
        return (Word::Up, None);
    };
    let is_off = detail
        .checks
        .iter()
        .any(|own| own.origin == Origin::Lease && is_maintenance_of(own, &detail.instance.id));
    let put_back = |word: Word| word == Word::OutOfService && !is_off;
    let reported = Word::parse(&check.output).unwrap_or(Word::Up);
    let overridden = Word::parse(&check.notes).filter(|word| !put_back(*word));
    let is_overruled = overridden.is_some();
    (if put_back(reported) && !is_overruled { Word::Up } else { reported }, overridden)
}

/// The word with which an instance is shown: a maintenance and every other check count too.
fn seen_word(detail: &InstanceDetail, own: Word) -> Word {
    if matches!(own, Word::Down | Word::Starting | Word::Unknown) {
        return own;
    }
    let ill = |check: &&Row<Check>| check.status == Status::Critical;
    let mut ill = detail.checks.iter().filter(ill).peekable();
    if ill.peek().is_none() {
        return own;
    }
    if ill.any(|check| check.is_maintenance()) { Word::OutOfService } else { Word::Down }
}

/// The check that switches an instance itself off, whoever set it.
pub(crate) fn maintenance_of(detail: &InstanceDetail) -> Option<&Row<Check>> {
    let id = &detail.instance.id;
    detail.checks.iter().find(|check| is_maintenance_of(check, id))
}

/// Whether a maintenance that another tongue began keeps an instance off.
pub(crate) fn is_switched_off_elsewhere(detail: &InstanceDetail) -> bool {
    let others = detail.checks.iter().filter(|check| check.origin != Origin::Lease);
    let mut others = others.filter(|check| is_maintenance_of(check, &detail.instance.id));
    others.next().is_some()
}

fn is_about(check: &Check, instance_id: &Text) -> bool {
    check.instance_id == *instance_id
}

fn is_maintenance_of(check: &Check, instance_id: &Text) -> bool {
    check.is_maintenance() && is_about(check, instance_id) && check.status == Status::Critical
}

/// An instance that was registered here, as it came.
fn own_info(detail: &InstanceDetail, original: &Original) -> InstanceInfo {
    let instance = &detail.instance.value;
    let metadata = instance.meta.iter().cloned().chain(original.metadata());
    let info = InstanceInfo {
        host_name: detail.node.name.clone(),
        app: instance.service.to_uppercase().into(),
        ip_address: instance.address.clone(),
        instance_id: Some(eureka_id(instance).into()),
        port: Port { number: instance.port, is_enabled: true },
        metadata: metadata.collect(),
        ..InstanceInfo::default()
    };
    let ttl = instance.extras().lease_ttl.as_secs();
    original.complete(info, u32::try_from(ttl).unwrap_or(u32::MAX))
}

/// An instance that an agent vouches for, or that was written into the catalog or by another
/// front-end: what a client needs to call it. Its tags are one of its facts.
fn foreign_info(detail: &InstanceDetail) -> InstanceInfo {
    let instance = &detail.instance.value;
    let address =
        if instance.address.is_empty() { &detail.node.address } else { &instance.address };
    let ports = &instance.extras().ports;
    let named = ports.iter().find(|port| port.is_default).or(ports.first());
    let number = named.map_or(instance.port, |port| port.port);
    let secure = instance.tagged_address(SECURE).map(|endpoint| endpoint.port);
    let mut metadata: Vec<(Text, Text)> = instance.meta.iter().cloned().collect();
    let has = |metadata: &[(Text, Text)], name| metadata.iter().any(|(key, _)| key == name);
    if !instance.tags.is_empty() && !has(&metadata, "tags") {
        metadata.push(("tags".into(), instance.tags.join(",").into()));
    }
    if let Some(locality) = &instance.extras().locality
        && !locality.zone.is_empty()
        && !has(&metadata, ZONE)
    {
        metadata.push((ZONE.into(), locality.zone.clone()));
    }
    InstanceInfo {
        instance_id: Some(known_as(detail)),
        host_name: address.clone(),
        app: instance.service.to_uppercase().into(),
        ip_address: address.clone(),
        port: Port { number, is_enabled: number != 0 },
        secure_port: Port { number: secure.unwrap_or(443), is_enabled: secure.is_some() },
        metadata,
        vip: instance.service.clone(),
        secure_vip: instance.service.clone(),
        lease: LeaseInfo::default(),
        action: Action::Added,
        ..InstanceInfo::default()
    }
}
