//! A stored question, as in `/v1/query`. What is empty is `null`: clients compare whole objects
//! with what they sent.

use muster_model::prepared::{FailoverTarget, PreparedQuery, PreparedService, Template};
use muster_model::{Indexed, Text};
use serde::Serialize;

use crate::shapes::{Facts, Words};

/// A stored question.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PreparedShape<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    name: &'a str,
    session: &'a str,
    token: &'a str,
    template: TemplateShape<'a>,
    service: ServiceShape<'a>,
    #[serde(rename = "DNS")]
    dns: DnsShape<'a>,
    create_index: u64,
    modify_index: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TemplateShape<'a> {
    r#type: &'a str,
    regexp: &'a str,
    remove_empty_tags: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceShape<'a> {
    service: &'a str,
    sameness_group: &'a str,
    failover: FailoverShape<'a>,
    only_passing: bool,
    #[serde(rename = "IgnoreCheckIDs")]
    ignore_check_ids: Option<Words<'a>>,
    near: &'a str,
    tags: Option<Words<'a>>,
    node_meta: Facts<'a>,
    service_meta: Facts<'a>,
    connect: bool,
    peer: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct FailoverShape<'a> {
    #[serde(rename = "NearestN")]
    nearest: u32,
    datacenters: Option<Words<'a>>,
    targets: Option<Vec<TargetShape<'a>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TargetShape<'a> {
    peer: &'a str,
    datacenter: &'a str,
}

/// What DNS clients are told.
#[derive(Serialize)]
pub(crate) struct DnsShape<'a> {
    #[serde(rename = "TTL")]
    pub(crate) ttl: &'a str,
}

impl<'a> PreparedShape<'a> {
    /// The shape of a question.
    pub(crate) fn new(row: &'a Indexed<PreparedQuery>) -> PreparedShape<'a> {
        let query = &row.value;
        PreparedShape {
            id: &query.id,
            name: &query.name,
            session: &query.session,
            token: &query.token,
            template: template(query.template.as_ref()),
            service: service(&query.service),
            dns: DnsShape { ttl: &query.dns_ttl },
            create_index: row.create_index,
            modify_index: row.modify_index,
        }
    }
}

fn template(template: Option<&Template>) -> TemplateShape<'_> {
    TemplateShape {
        r#type: template.map_or("", |own| &own.kind),
        regexp: template.map_or("", |own| &own.regexp),
        remove_empty_tags: template.is_some_and(|own| own.remove_empty_tags),
    }
}

fn service(service: &PreparedService) -> ServiceShape<'_> {
    fn target(target: &FailoverTarget) -> TargetShape<'_> {
        TargetShape { peer: &target.peer, datacenter: &target.datacenter }
    }
    let targets = &service.failover_targets;
    ServiceShape {
        service: &service.service,
        sameness_group: "",
        failover: FailoverShape {
            nearest: service.failover_nearest,
            datacenters: words(&service.failover_datacenters),
            targets: (!targets.is_empty()).then(|| targets.iter().map(target).collect()),
        },
        only_passing: service.only_passing,
        ignore_check_ids: words(&service.ignored_check_ids),
        near: &service.near,
        tags: words(&service.tags),
        node_meta: Facts::nullable(&service.node_meta),
        service_meta: Facts::nullable(&service.meta),
        connect: service.connect,
        peer: "",
    }
}

fn words(words: &[Text]) -> Option<Words<'_>> {
    (!words.is_empty()).then_some(Words(words))
}
