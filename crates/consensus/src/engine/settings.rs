//! How openraft is set up.

use std::sync::Arc;

use openraft::{Config, SnapshotPolicy};

use crate::consensus::Settings;

/// Entries that one message to a peer may carry.
const ENTRIES_PER_MESSAGE: u64 = 512;

/// openraft's configuration from ours.
///
/// A restarted server always stands for election instead of going on as the leader that it was:
/// what it had committed is told by the election, never guessed. Pre-vote keeps a server that
/// cannot win from disturbing the others. Ticks are off until there are peers.
pub(crate) fn configure(settings: &Settings) -> Result<Arc<Config>, String> {
    let scale = u64::from(settings.raft_multiplier.max(1));
    let config = Config {
        cluster_name: "muster".to_owned(),
        heartbeat_interval: 30 * scale,
        election_timeout_min: 100 * scale,
        election_timeout_max: 200 * scale,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(settings.snapshot_after),
        max_in_snapshot_log_to_keep: settings.entries_kept,
        max_payload_entries: ENTRIES_PER_MESSAGE,
        enable_tick: false,
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        ..Config::default()
    };
    config.validate().map(Arc::new).map_err(|error| error.to_string())
}
