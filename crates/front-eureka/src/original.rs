//! What of an instance our model has no place for, kept beside it and given back as it came.
//!
//! It is written as JSON behind a mark, with what is usual left out: an instance of a Spring
//! application keeps some 250 bytes. No other front-end reads it.

use muster_model::Text;
use serde::{Deserialize, Serialize};

use crate::info::{Action, DataCenter, InstanceInfo, LeaseInfo, Port, RENEWAL_SECONDS};

/// What it begins with, so that no other front-end's words are taken for ours.
const MARK: &str = "eureka:";

/// What of an instance our model has no place for. Texts are empty, numbers 0 where it has none.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Original {
    /// Whether it named no id of its own.
    #[serde(skip_serializing_if = "is_default")]
    nameless: bool,
    #[serde(skip_serializing_if = "is_default")]
    sid: String,
    /// Both ports, where they are not one that is open and 443 that is not.
    #[serde(skip_serializing_if = "is_default")]
    ports: Option<(Port, Port)>,
    #[serde(skip_serializing_if = "is_default")]
    country: Option<i64>,
    #[serde(skip_serializing_if = "is_default")]
    data_center: Option<DataCenter>,
    #[serde(skip_serializing_if = "is_default")]
    renewal_seconds: Option<u32>,
    registered_at: u64,
    #[serde(skip_serializing_if = "is_default")]
    up_at: u64,
    updated_at: u64,
    dirty_at: u64,
    /// Metadata that cannot be facts.
    #[serde(skip_serializing_if = "is_default")]
    metadata: Vec<(String, String)>,
    #[serde(skip_serializing_if = "is_default")]
    group: String,
    #[serde(skip_serializing_if = "is_default")]
    home: String,
    #[serde(skip_serializing_if = "is_default")]
    status: String,
    #[serde(skip_serializing_if = "is_default")]
    health: String,
    #[serde(skip_serializing_if = "is_default")]
    secure_health: String,
    #[serde(skip_serializing_if = "is_default")]
    vip: String,
    #[serde(skip_serializing_if = "is_default")]
    secure_vip: String,
    #[serde(skip_serializing_if = "is_default")]
    asg: String,
    #[serde(skip_serializing_if = "is_default")]
    coordinates: bool,
    /// Whether it was altered since it was registered.
    #[serde(skip_serializing_if = "is_default")]
    altered: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A value, unless it is the usual one.
fn unless<T: PartialEq>(value: T, usual: T) -> Option<T> {
    (value != usual).then_some(value)
}

/// The ports of most instances.
fn usual_ports(number: u16) -> (Port, Port) {
    (Port { number, is_enabled: true }, Port { number: 443, is_enabled: false })
}

impl Original {
    /// What has to be kept of an instance, with the metadata that cannot be facts.
    pub(crate) fn of(info: &InstanceInfo, metadata: Vec<(String, String)>) -> Original {
        Original {
            nameless: info.instance_id.is_none(),
            sid: info.sid.to_string(),
            ports: unless((info.port, info.secure_port), usual_ports(info.main_port())),
            country: unless(info.country_id, 1),
            data_center: unless(info.data_center.clone(), DataCenter::default()),
            renewal_seconds: unless(info.lease.renewal_seconds, RENEWAL_SECONDS),
            registered_at: info.lease.registered_at,
            up_at: info.lease.up_at,
            updated_at: info.last_updated_at,
            dirty_at: info.last_dirty_at,
            metadata,
            group: info.app_group.to_string(),
            home: info.home_page_url.to_string(),
            status: info.status_page_url.to_string(),
            health: info.health_check_url.to_string(),
            secure_health: info.secure_health_check_url.to_string(),
            vip: info.vip.to_string(),
            secure_vip: info.secure_vip.to_string(),
            asg: info.asg.to_string(),
            coordinates: info.is_coordinating,
            altered: info.action == Action::Modified,
        }
    }

    /// As it is kept.
    pub(crate) fn write(&self) -> Text {
        let json = serde_json::to_string(self).expect("its members have names and plain values");
        format!("{MARK}{json}").into()
    }

    /// Whether a text is one of ours.
    pub(crate) fn is_in(text: &str) -> bool {
        text.starts_with(MARK)
    }

    /// What was kept; nothing where it is another front-end's.
    pub(crate) fn read(text: &str) -> Option<Original> {
        serde_json::from_str(text.strip_prefix(MARK)?).ok()
    }

    /// The metadata that could not be facts.
    pub(crate) fn metadata(&self) -> impl Iterator<Item = (Text, Text)> {
        self.metadata.iter().map(|(key, value)| (key.into(), value.into()))
    }

    /// The instance with what was kept beside it.
    pub(crate) fn complete(&self, info: InstanceInfo, duration_seconds: u32) -> InstanceInfo {
        let (port, secure_port) = self.ports.unwrap_or(usual_ports(info.port.number));
        InstanceInfo {
            instance_id: info.instance_id.filter(|_| !self.nameless),
            sid: (&self.sid).into(),
            port,
            secure_port,
            country_id: self.country.unwrap_or(1),
            data_center: self.data_center.clone().unwrap_or_default(),
            lease: LeaseInfo {
                renewal_seconds: self.renewal_seconds.unwrap_or(RENEWAL_SECONDS),
                duration_seconds,
                registered_at: self.registered_at,
                renewed_at: self.registered_at,
                up_at: self.up_at,
            },
            app_group: (&self.group).into(),
            home_page_url: (&self.home).into(),
            status_page_url: (&self.status).into(),
            health_check_url: (&self.health).into(),
            secure_health_check_url: (&self.secure_health).into(),
            vip: (&self.vip).into(),
            secure_vip: (&self.secure_vip).into(),
            is_coordinating: self.coordinates,
            last_updated_at: self.updated_at,
            last_dirty_at: self.dirty_at,
            action: if self.altered { Action::Modified } else { Action::Added },
            asg: (&self.asg).into(),
            ..info
        }
    }
}
