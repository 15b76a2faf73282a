//! What an agent is told before it starts. The binary makes it from the configuration.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use muster_gossip::keyring::Key;
use muster_model::Text;
use muster_model::server_care::ServerCare;
use muster_registry::local::{Identity, LocalCheckRegistration, LocalRegistration};
use muster_registry::operator::SettingValue;
use muster_registry::{Pending, Refusal};

use crate::joining::Joins;

/// What an agent is told before it starts. What is about consensus, the group, the guard and the
/// authority is for servers.
#[derive(Clone)]
pub struct Setup {
    /// Who it is.
    pub identity: Identity,
    /// The folder for the log, the snapshots and the local declarations.
    pub data_folder: PathBuf,
    /// How consensus is tuned.
    pub consensus: muster_consensus::Settings,
    /// How many servers found the group together: 1 founds it alone, 0 waits to be taken in.
    pub expects: usize,
    /// How servers are looked after.
    pub care: ServerCare,
    /// The gossip pools.
    pub gossip: GossipSetup,
    /// The numbers of the guard.
    pub guard: muster_health::guard::Settings,
    /// The cluster id of the certificate authority; nothing: there is none.
    pub authority: Option<Text>,
    /// How long a write waits for its decision where the caller set no deadline.
    pub write_timeout: Duration,
    /// Reads the configuration again and puts it into effect.
    pub reload: Reload,
    /// The configuration in effect, secrets hidden, for those who run it.
    pub settings: SettingValue,
    /// The version of the API that the agent's tags and facts tell, as other tools compare it.
    pub api_version: Text,
}

/// How an agent gossips.
#[derive(Clone, Debug)]
pub struct GossipSetup {
    /// The pool of the datacenter.
    pub lan: muster_gossip::Settings,
    /// The pool of the servers of all datacenters.
    pub wan: muster_gossip::Settings,
    /// Whom to join in the datacenter.
    pub lan_joins: Joins,
    /// Whom to join elsewhere.
    pub wan_joins: Joins,
    /// The key that seals both pools, unless the data folder keeps a keyring already.
    pub key: Option<Key>,
    /// The port of an address that names none.
    pub usual_ports: (u16, u16),
}

impl Default for GossipSetup {
    fn default() -> GossipSetup {
        GossipSetup {
            lan: muster_gossip::Settings::lan(),
            wan: muster_gossip::Settings::wan(),
            lan_joins: Joins::default(),
            wan_joins: Joins::default(),
            key: None,
            usual_ports: (8301, 8302),
        }
    }
}

/// What definition files declare.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// Instances with their checks.
    pub instances: Vec<LocalRegistration>,
    /// Checks of the node, or of instances by their id.
    pub checks: Vec<LocalCheckRegistration>,
}

/// Reads the configuration again and puts it into effect; gives what is to be said about it.
pub type Reload = Arc<dyn Fn() -> Pending<'static, Result<Vec<Text>, Refusal>> + Send + Sync>;
