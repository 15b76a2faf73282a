//! Refusals: why a wish was not granted, by who must act.
//!
//! Each front-end maps them to its protocol's words in one place. What a command came to because of
//! the state it met (a lock held by another) is not a refusal but an outcome.

use muster_model::Text;

/// Why the door did not grant a wish.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The caller must change the wish. State untouched.
    #[error("{0}")]
    Invalid(String),
    /// The caller asked about something this agent does not have. State untouched.
    #[error("{0}")]
    Unknown(String),
    /// The caller must show another token. State untouched.
    #[error("permission denied: {0}")]
    Forbidden(String),
    /// The caller must send less. State untouched.
    #[error("{what} has {n_bytes} bytes; the limit is {n_bytes_max}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How large it is.
        n_bytes: usize,
        /// How large it may be.
        n_bytes_max: usize,
    },
    /// The caller must come more slowly. State untouched.
    #[error("too many {0}; try again later")]
    TooMany(&'static str),
    /// The caller must name another datacenter. State untouched.
    #[error("no path to datacenter {0:?}")]
    NoDatacenter(Text),
    /// Nobody leads now: the caller may try again, the operator must look if it lasts. State
    /// untouched.
    #[error("there is no leader")]
    NoLeader,
    /// The operator must make room or repair; reads go on. State untouched.
    #[error("writes are refused: {0}")]
    Unwritable(String),
    /// The operator must make room: what was under way waits for it. Whether a command took effect
    /// is not known.
    #[error("{0}")]
    Stalled(String),
    /// The deadline passed. Whether a command took effect is not known.
    #[error("not decided within the time allowed; a write may still take effect")]
    Late,
    /// The agent is stopping. Whether a command took effect is not known.
    #[error("the agent is stopping")]
    Stopping,
    /// This agent does not do that, as it is set up.
    #[error("{0}")]
    Unsupported(String),
    /// The agent is broken: its operator must act. Whether state was touched is not known.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Refusal {
    /// Whether the state may have been touched all the same.
    pub fn may_have_written(&self) -> bool {
        matches!(
            self,
            Refusal::Stalled(_) | Refusal::Late | Refusal::Stopping | Refusal::Internal(_)
        )
    }
}
