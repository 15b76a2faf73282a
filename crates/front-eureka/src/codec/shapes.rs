//! The documents that clients are given, member by member in the order of the original.

use muster_model::Text;

use super::Notation;
use super::write::Document;
use crate::info::InstanceInfo;
use crate::word::{self};

/// What clients of the original find where there are no facts.
const EMPTY_MAP_CLASS: &str = "java.util.Collections$EmptyMap";
/// The names of the elements of a batch's reply in XML.
const BATCH_REPLY: &str = "com.netflix.eureka.cluster.protocol.ReplicationListResponse";
const TASK_REPLY: &str = "com.netflix.eureka.cluster.protocol.ReplicationInstanceResponse";

/// How much of each instance is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Detail {
    /// All of it.
    Full,
    /// What is needed to call it.
    Compact,
}

/// What stands at the head of a list of applications.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// `1` for all there is, `-1` for a part of it, counted up for deltas.
    pub(crate) version: String,
    /// How many instances there are with each word.
    pub(crate) counts: [u64; 5],
}

/// One instance under its root.
pub(crate) fn one_instance(notation: Notation, info: &InstanceInfo) -> Vec<u8> {
    let mut document = Document::new(notation, false);
    begin(&mut document);
    document.open("instance");
    members(&mut document, info);
    document.close("instance");
    end(&mut document);
    document.take()
}

/// The root of a JSON document is an object with one member; that of XML is the member itself.
pub(crate) fn begin(document: &mut Document) {
    if document.notation == Notation::Json {
        document.open("");
    }
}

/// The end of what [`begin`] began.
pub(crate) fn end(document: &mut Document) {
    if document.notation == Notation::Json {
        document.close("");
    }
}

/// The head of a list of applications; the full form has it before the list, the compact after.
pub(crate) fn head(document: &mut Document, head: &Head) {
    // XML names carry each underscore doubled; JSON has kept that spelling.
    let (version, hash) = match document.notation {
        Notation::Json => ("versions__delta", "apps__hashcode"),
        Notation::Xml => ("versions_delta", "apps_hashcode"),
    };
    document.text(version, &head.version);
    document.text(hash, &word::hash_code(&head.counts));
}

/// An instance in a list.
pub(crate) fn instance(document: &mut Document, info: &InstanceInfo, detail: Detail) {
    document.open_element("instance");
    match detail {
        Detail::Full => members(document, info),
        Detail::Compact => compact_members(document, info),
    }
    document.close("instance");
}

fn members(document: &mut Document, info: &InstanceInfo) {
    let overridden = match document.notation {
        Notation::Json => "overriddenStatus",
        Notation::Xml => "overriddenstatus",
    };
    document.some_text("instanceId", info.instance_id.as_deref().unwrap_or(""));
    document.text("hostName", &info.host_name);
    document.text("app", &info.app);
    document.text("ipAddr", &info.ip_address);
    if !matches!(&*info.sid, "na" | "unknown") {
        document.some_text("sid", &info.sid);
    }
    document.text("status", info.word.as_str());
    document.text(overridden, info.overridden.as_str());
    document.port("port", info.port);
    document.port("securePort", info.secure_port);
    document.number("countryId", info.country_id);
    data_center(document, info);
    document.open("leaseInfo");
    document.number("renewalIntervalInSecs", info.lease.renewal_seconds);
    document.number("durationInSecs", info.lease.duration_seconds);
    document.number("registrationTimestamp", info.lease.registered_at);
    document.number("lastRenewalTimestamp", info.lease.renewed_at);
    document.number("evictionTimestamp", 0);
    document.number("serviceUpTimestamp", info.lease.up_at);
    document.close("leaseInfo");
    if info.metadata.is_empty() {
        document.only_class("metadata", EMPTY_MAP_CLASS);
    } else {
        document.open("metadata");
        for (name, value) in &info.metadata {
            document.text(name, value);
        }
        document.close("metadata");
    }
    document.some_text("appGroupName", &info.app_group);
    document.some_text("homePageUrl", &info.home_page_url);
    document.some_text("statusPageUrl", &info.status_page_url);
    document.some_text("healthCheckUrl", &info.health_check_url);
    document.some_text("secureHealthCheckUrl", &info.secure_health_check_url);
    document.some_text("vipAddress", &info.vip);
    document.some_text("secureVipAddress", &info.secure_vip);
    document
        .text("isCoordinatingDiscoveryServer", if info.is_coordinating { "true" } else { "false" });
    document.text("lastUpdatedTimestamp", &info.last_updated_at.to_string());
    document.text("lastDirtyTimestamp", &info.last_dirty_at.to_string());
    document.text("actionType", info.action.as_str());
    document.some_text("asgName", &info.asg);
}

fn compact_members(document: &mut Document, info: &InstanceInfo) {
    document.some_text("instanceId", info.instance_id.as_deref().unwrap_or(""));
    document.text("app", &info.app);
    document.text("ipAddr", &info.ip_address);
    document.some_text("vipAddress", &info.vip);
    document.some_text("secureVipAddress", &info.secure_vip);
    data_center(document, info);
    document.text("hostName", &info.host_name);
    document.text("status", info.word.as_str());
    document.number("lastUpdatedTimestamp", info.last_updated_at);
    document.text("actionType", info.action.as_str());
    document.port("port", info.port);
    document.port("securePort", info.secure_port);
}

fn data_center(document: &mut Document, info: &InstanceInfo) {
    let own = &info.data_center;
    document.open_with("dataCenterInfo", Some(&own.class));
    document.text("name", &own.name);
    if !own.metadata.is_empty() {
        document.open("metadata");
        for (name, value) in &own.metadata {
            document.text(name, value);
        }
        document.close("metadata");
    }
    document.close("dataCenterInfo");
}

/// What became of one task of a batch.
pub(crate) struct TaskReply {
    /// As the reply to a request of its own would have.
    pub(crate) status: u16,
    /// The instance as it is here, where the sender's is older.
    pub(crate) instance: Option<InstanceInfo>,
}

/// The reply to a batch.
pub(crate) fn batch_reply(notation: Notation, replies: &[TaskReply]) -> Vec<u8> {
    let mut document = Document::new(notation, false);
    let is_json = notation == Notation::Json;
    document.open(if is_json { "" } else { BATCH_REPLY });
    document.open_list("responseList");
    if !is_json && replies.is_empty() {
        document.empty_element("responseList");
    } else if !is_json {
        document.open("responseList");
    }
    for reply in replies {
        document.open_element(TASK_REPLY);
        document.number("statusCode", reply.status);
        if let Some(info) = &reply.instance {
            document.open("responseEntity");
            members(&mut document, info);
            document.close("responseEntity");
        }
        document.close(TASK_REPLY);
    }
    if !is_json && !replies.is_empty() {
        document.close("responseList");
    }
    document.close_list();
    document.close(if is_json { "" } else { BATCH_REPLY });
    document.take()
}

/// What a server tells of itself.
pub(crate) fn status(notation: Notation, facts: &[(&str, String)], own: &InstanceInfo) -> Vec<u8> {
    const ROOT: &str = "com.netflix.eureka.util.StatusInfo";
    let mut document = Document::new(notation, false);
    let root = if notation == Notation::Json { "" } else { ROOT };
    document.open(root);
    document.open("generalStats");
    for (name, value) in facts {
        document.text(name, value);
    }
    document.close("generalStats");
    document.open("applicationStats");
    for name in ["registered-replicas", "available-replicas", "unavailable-replicas"] {
        document.text(name, "");
    }
    document.close("applicationStats");
    document.open("instanceInfo");
    members(&mut document, own);
    document.close("instanceInfo");
    document.close(root);
    document.take()
}

/// Overrides by instance id, which is JSON whatever was asked for.
pub(crate) fn overrides(all: impl Iterator<Item = (Text, &'static str)>) -> Vec<u8> {
    let mut document = Document::new(Notation::Json, false);
    document.open("");
    for (id, word) in all {
        document.text(&id, word);
    }
    document.close("");
    document.take()
}
