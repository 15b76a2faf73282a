//! Every duration and bound of a client agent.

use std::time::Duration;

use muster_model::Text;

/// The durations and bounds of a client agent. The default is for a fleet of any size.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// This agent's own datacenter: what is asked of it by name is asked of its own servers.
    pub datacenter: Text,
    /// What all chance is drawn from.
    pub seed: [u8; 32],
    /// How long a call waits that came without a deadline.
    pub patience: Duration,
    /// How long one server may take for what can be asked of another as well.
    pub try_timeout: Duration,
    /// How long the servers may take before an answer that was kept is given instead.
    pub kept_patience: Duration,
    /// The pause once every server was tried; doubles up to `retry_max`, and chance takes up to
    /// half of it away.
    pub retry_min: Duration,
    /// The longest such pause.
    pub retry_max: Duration,
    /// The longest first pause before changes are followed again; chance takes any part of it.
    pub follow_again_min: Duration,
    /// The longest such pause, after it has doubled with each failure.
    pub follow_again_max: Duration,
    /// How long a server that failed is left aside while there are others.
    pub failed_for: Duration,
    /// How long this agent stays with one server, at least; at most twice as long.
    pub stay: Duration,
    /// How long nothing may be heard of the server whose changes are followed.
    pub silence_max: Duration,
    /// How long an answer is kept that nobody asks for.
    pub kept_idle: Duration,
    /// How old an answer may be whose order drifts without a change.
    pub drifting_age_max: Duration,
    /// The pause between two questions for the same kept answer.
    pub refresh_gap: Duration,
    /// Over what time kept answers are asked for again when all of them may have changed.
    pub refresh_spread: Duration,
    /// Answers that are kept.
    pub kept_answers_max: usize,
    /// Bytes that they take, as far as can be estimated.
    pub kept_bytes_max: usize,
    /// Scopes that are followed for all readers here; those of more look again each second.
    pub scopes_max: usize,
    /// Different questions that are under way.
    pub questions_max: usize,
}

impl Default for ClientSettings {
    fn default() -> ClientSettings {
        ClientSettings {
            datacenter: Text::default(),
            seed: [0; 32],
            patience: Duration::from_secs(10),
            try_timeout: Duration::from_secs(4),
            kept_patience: Duration::from_millis(500),
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_secs(2),
            follow_again_min: Duration::from_millis(500),
            follow_again_max: Duration::from_secs(10),
            failed_for: Duration::from_secs(30),
            stay: Duration::from_secs(5 * 60),
            silence_max: Duration::from_secs(12),
            kept_idle: Duration::from_secs(10 * 60),
            drifting_age_max: Duration::from_secs(10),
            refresh_gap: Duration::from_millis(100),
            refresh_spread: Duration::from_secs(3),
            kept_answers_max: 2_048,
            kept_bytes_max: 32 << 20,
            scopes_max: 16_384,
            questions_max: 4_096,
        }
    }
}
