//! An instance as Eureka's clients write and read it.

use muster_model::Text;
use serde::{Deserialize, Serialize};

use crate::word::Word;

/// The class that clients write for an instance that is in no cloud.
pub(crate) const PLAIN_CLASS: &str = "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo";
/// How often a client renews where it does not say.
pub(crate) const RENEWAL_SECONDS: u32 = 30;
/// How long a lease runs where a client does not say.
pub(crate) const DURATION_SECONDS: u32 = 90;
/// Ports that an instance has where it does not say.
pub(crate) const PORT: Port = Port { number: 7001, is_enabled: true };
pub(crate) const SECURE_PORT: Port = Port { number: 7002, is_enabled: false };

/// An instance. Instants are milliseconds since the start of 1970; 0 where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InstanceInfo {
    /// Nothing where it named none: then it goes by its host name.
    pub(crate) instance_id: Option<Text>,
    pub(crate) host_name: Text,
    /// In upper case.
    pub(crate) app: Text,
    pub(crate) ip_address: Text,
    /// Empty where it has none, like every text below.
    pub(crate) sid: Text,
    pub(crate) word: Word,
    /// [`Word::Unknown`] where there is none.
    pub(crate) overridden: Word,
    pub(crate) port: Port,
    pub(crate) secure_port: Port,
    pub(crate) country_id: i64,
    pub(crate) data_center: DataCenter,
    pub(crate) lease: LeaseInfo,
    pub(crate) metadata: Vec<(Text, Text)>,
    pub(crate) app_group: Text,
    pub(crate) home_page_url: Text,
    pub(crate) status_page_url: Text,
    pub(crate) health_check_url: Text,
    pub(crate) secure_health_check_url: Text,
    pub(crate) vip: Text,
    pub(crate) secure_vip: Text,
    pub(crate) is_coordinating: bool,
    pub(crate) last_updated_at: u64,
    pub(crate) last_dirty_at: u64,
    pub(crate) action: Action,
    pub(crate) asg: Text,
}

/// One of an instance's two ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Port {
    pub(crate) number: u16,
    pub(crate) is_enabled: bool,
}

/// The data center whose machines have ids of their own, ...
const CLOUD: &str = "Amazon";
/// ... and the fact of it that is one.
const MACHINE_ID: &str = "instance-id";

/// Where an instance runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DataCenter {
    pub(crate) class: String,
    pub(crate) name: String,
    pub(crate) metadata: Vec<(String, String)>,
}

impl Default for DataCenter {
    fn default() -> DataCenter {
        DataCenter { class: PLAIN_CLASS.into(), name: "MyOwn".into(), metadata: Vec::new() }
    }
}

/// The terms of an instance's lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaseInfo {
    pub(crate) renewal_seconds: u32,
    pub(crate) duration_seconds: u32,
    pub(crate) registered_at: u64,
    pub(crate) renewed_at: u64,
    pub(crate) up_at: u64,
}

impl Default for LeaseInfo {
    fn default() -> LeaseInfo {
        LeaseInfo {
            renewal_seconds: RENEWAL_SECONDS,
            duration_seconds: DURATION_SECONDS,
            registered_at: 0,
            renewed_at: 0,
            up_at: 0,
        }
    }
}

/// What happened to an instance last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Action {
    #[default]
    Added,
    Modified,
    Deleted,
}

impl Action {
    /// As it is written.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Action::Added => "ADDED",
            Action::Modified => "MODIFIED",
            Action::Deleted => "DELETED",
        }
    }
}

impl Default for InstanceInfo {
    /// What an instance is where its client leaves everything out.
    fn default() -> InstanceInfo {
        InstanceInfo {
            instance_id: None,
            host_name: Text::default(),
            app: Text::default(),
            ip_address: Text::default(),
            sid: Text::default(),
            word: Word::Up,
            overridden: Word::Unknown,
            port: PORT,
            secure_port: SECURE_PORT,
            country_id: 1,
            data_center: DataCenter::default(),
            lease: LeaseInfo::default(),
            metadata: Vec::new(),
            app_group: Text::default(),
            home_page_url: Text::default(),
            status_page_url: Text::default(),
            health_check_url: Text::default(),
            secure_health_check_url: Text::default(),
            vip: Text::default(),
            secure_vip: Text::default(),
            is_coordinating: false,
            last_updated_at: 0,
            last_dirty_at: 0,
            action: Action::Added,
            asg: Text::default(),
        }
    }
}

impl InstanceInfo {
    /// What it goes by: its id, else that of its machine in the cloud, else its host name.
    pub(crate) fn id(&self) -> Text {
        let machine = || {
            let facts = &self.data_center.metadata;
            let found = facts.iter().find(|(name, id)| name == MACHINE_ID && !id.is_empty());
            found.filter(|_| self.data_center.name == CLOUD).map(|(_, id)| Text::from(id))
        };
        self.instance_id.clone().or_else(machine).unwrap_or_else(|| self.host_name.clone())
    }

    /// The port that others shall call: the secure one where the other is off.
    pub(crate) fn main_port(&self) -> u16 {
        match (self.port.is_enabled, self.secure_port.is_enabled) {
            (false, true) => self.secure_port.number,
            (true, _) => self.port.number,
            (false, false) => 0,
        }
    }
}
