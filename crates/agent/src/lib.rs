//! One running agent: state, consensus and health rules assembled behind the door.
//!
//! In reading order:
//! - [`setup`]: what an agent is told before it starts; [`agent`]: the parts, assembled in order;
//! - `machine`: entries of the log become versions of the state, and changes find their waiters;
//! - `memo`: answers are kept as long as nothing touched what they depend on;
//! - `registry`: submit, ask, peek and changes over these;
//! - `leader`: what only a leader decides: leases (`leases`), lock delays, tombstones, its own node;
//! - `authority`: the built-in certificate authority;
//! - [`local`]: what this agent vouches for, and how the catalog hears of it; [`checks`]: how checks
//!   are run;
//! - `operator`: members, logs and numbers; [`backup`]: the whole state as one file.

pub mod agent;
mod authority;
pub mod backup;
pub mod checks;
mod leader;
mod leases;
pub mod local;
mod machine;
mod memo;
mod operator;
mod registry;
pub mod setup;
pub mod telemetry;

pub use agent::{Agent, StartError};
pub use setup::Setup;

// What an agent is told and given on the way in, in the words of the parts that it assembles.
pub use muster_consensus::{Folder, Settings as ConsensusSettings};
pub use muster_health::check::Settings as CheckSettings;
