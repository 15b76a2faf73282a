//! What an agent is told before it starts. The binary makes it from the configuration.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use muster_model::Text;
use muster_registry::local::{Identity, LocalCheckRegistration, LocalRegistration};
use muster_registry::operator::SettingValue;
use muster_registry::{Pending, Refusal};

/// What an agent is told before it starts.
#[derive(Clone)]
pub struct Setup {
    /// Who it is.
    pub identity: Identity,
    /// The folder for the log, the snapshots and the local declarations.
    pub data_folder: PathBuf,
    /// How consensus is tuned.
    pub consensus: muster_consensus::Settings,
    /// `ip:port` under which other servers reach this one.
    pub server_address: Text,
    /// The port under which members reach it.
    pub gossip_port: u16,
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

/// What definition files declare.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// Instances with their checks.
    pub instances: Vec<LocalRegistration>,
    /// Checks of the node, or of instances by their id.
    pub checks: Vec<LocalCheckRegistration>,
}

/// Reads the configuration again and puts it into effect.
pub type Reload = Arc<dyn Fn() -> Pending<'static, Result<(), Refusal>> + Send + Sync>;
