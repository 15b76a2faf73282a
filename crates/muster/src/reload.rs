//! Reading the configuration again while the agent runs.
//!
//! What may change takes effect: definitions, watches, DNS, the HTTP API's settings, what checks may do
//! and how much of their output is kept, the log level. Everything is read and verified before anything
//! is told. What only a restart can change is named, in the log and to whoever asked, as long as the
//! files differ from what the agent was started with.

use std::sync::{Arc, OnceLock, Weak};

use muster_agent::local::Voucher;
use muster_agent::telemetry::Logs;
use muster_front_consul::Front;
use muster_front_dns as dns;
use muster_model::Text;
use muster_registry::{Pending, Refusal};
use tracing::warn;

use crate::cli::Launch;
use crate::cli::agent::AgentFlags;
use crate::config::setting::Setting;
use crate::config::{CalledAs, Config};
use crate::translate;
use crate::watches::Watches;

/// Keys whose changes take effect at a reload, with those below them.
const IN_EFFECT: &[&str] = &[
    "services",
    "checks",
    "watches",
    "enable_script_checks",
    "enable_local_script_checks",
    "check_update_interval",
    "check_output_max_size",
    "discard_check_output",
    "domain",
    "alt_domain",
    "recursors",
    "dns_config",
    "translate_wan_addrs",
    "http_config.response_headers",
    "http_config.block_endpoints",
    "http_config.allow_write_http_from",
    "http_config.use_cache",
    "max_query_time",
    "default_query_time",
    "discovery_max_stale",
    "disable_kv_key_validation",
    "enable_debug",
    "limits.kv_max_value_size",
    "limits.txn_max_req_len",
    "session_ttl_min",
    "telemetry.prometheus_retention_time",
    "log_level",
];

/// Reads the configuration again and puts into effect what may change while an agent runs.
pub struct Reload {
    flags: AgentFlags,
    called_as: CalledAs,
    /// What the agent was started with.
    started: Config,
    parts: OnceLock<Parts>,
}

/// What can be told anew. Weak: the parts own the reload, not the other way round.
struct Parts {
    logs: Logs,
    voucher: Weak<Voucher>,
    front: Weak<Front>,
    names: Weak<dns::Server>,
    watches: Weak<Watches>,
}

/// The parts of an agent that a reload tells.
pub struct Told<'a> {
    /// For the log level.
    pub logs: &'a Logs,
    /// For definitions and the terms of checks.
    pub voucher: &'a Arc<Voucher>,
    /// For the HTTP API.
    pub front: &'a Arc<Front>,
    /// For DNS.
    pub names: &'a Arc<dns::Server>,
    /// For handlers.
    pub watches: &'a Arc<Watches>,
}

impl Reload {
    /// A reload for what an agent was launched with; [`Reload::arm`] gives it the parts.
    pub fn new(launch: &Launch) -> Reload {
        Reload {
            flags: launch.flags.clone(),
            called_as: launch.called_as,
            started: launch.loaded.config.clone(),
            parts: OnceLock::new(),
        }
    }

    /// Gives it the parts that it tells.
    pub fn arm(&self, told: &Told<'_>) {
        self.parts.get_or_init(|| Parts {
            logs: told.logs.clone(),
            voucher: Arc::downgrade(told.voucher),
            front: Arc::downgrade(told.front),
            names: Arc::downgrade(told.names),
            watches: Arc::downgrade(told.watches),
        });
    }

    /// Does it; gives what is to be said about it.
    pub fn run(self: Arc<Reload>) -> Pending<'static, Result<Vec<Text>, Refusal>> {
        Box::pin(async move { self.take_effect().map_err(Refusal::Invalid) })
    }

    /// Everything is read and verified before anything is told.
    fn take_effect(&self) -> Result<Vec<Text>, String> {
        let parts = self.parts.get().ok_or("the agent is still starting")?;
        let loaded = self.flags.load(self.called_as).map_err(|problems| problems.to_string())?;
        let mut config = loaded.config;
        let waiting = waiting_for_restart(&self.started, &config);
        // The authority began with the agent: the API shows it as long as it is there.
        config.connect.clone_from(&self.started.connect);
        let declared = translate::declared(&config)?;
        let names = translate::front_dns(&config)?;
        let http = translate::front_consul(&config)?;
        let (level, _) = translate::logging(&config)?;
        let gone = || "the agent is stopping".to_string();
        parts.names.upgrade().ok_or_else(gone)?.reload(names).map_err(|bad| bad.to_string())?;
        parts.front.upgrade().ok_or_else(gone)?.reload(http);
        let terms = translate::check_terms(&config);
        let refused = parts.voucher.upgrade().ok_or_else(gone)?.reload(declared, terms);
        parts.watches.upgrade().ok_or_else(gone)?.replace(&config.watches);
        parts.logs.set_level(level);
        let remarks: Vec<Text> = waiting
            .iter()
            .map(|key| format!("{key} has changed and takes effect at the next start").into())
            .collect();
        for remark in &remarks {
            warn!("{remark}");
        }
        match refused.as_slice() {
            [] => Ok(remarks),
            refused => Err(refused.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
        }
    }
}

/// The keys that have another value than an agent was started with, and that only a start reads.
fn waiting_for_restart(started: &Config, read: &Config) -> Vec<String> {
    let keys = |config: &Config| {
        let mut keys = Vec::new();
        config.list("", "", &mut keys);
        keys
    };
    let is_in_effect = |path: &str| {
        IN_EFFECT.iter().any(|key| {
            path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    let mut waiting: Vec<String> = keys(started)
        .into_iter()
        .zip(keys(read))
        .filter(|(old, new)| old.default != new.default && !is_in_effect(&new.path))
        .map(|(_, new)| new.path)
        .collect();
    // A secret is listed as hidden, whatever it is.
    if started.encrypt != read.encrypt {
        waiting.push("encrypt".to_owned());
    }
    waiting.dedup();
    waiting
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reference;

    #[test]
    fn what_only_a_start_reads_is_named_and_the_rest_is_not() {
        let started = Config::default();
        let mut read = Config::default();
        read.ports.http = crate::config::setting::Port::on(9500);
        read.node_name = "other".into();
        read.log_level = "debug".into();
        read.dns_config.only_passing = true;
        read.encrypt = muster_registry::call::Secret::from(Text::from("key"));
        let mut waiting = waiting_for_restart(&started, &read);
        waiting.sort();
        assert_eq!(waiting, ["encrypt", "node_name", "ports.http"]);
        assert!(waiting_for_restart(&started, &started).is_empty());
    }

    #[test]
    fn every_key_that_takes_effect_is_one_of_the_configuration() {
        let keys = reference::keys();
        for key in IN_EFFECT {
            let is_known = |own: &str| own == *key || own.starts_with(&format!("{key}."));
            assert!(keys.iter().any(|own| is_known(&own.path)), "{key}");
        }
    }
}
