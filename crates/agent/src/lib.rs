//! One running agent: state, consensus and health rules assembled behind the door.
//!
//! In reading order:
//! - [`setup`]: what an agent is told before it starts; [`agent`]: the parts, assembled in order;
//! - `machine`: entries of the log become versions of the state, and changes find their waiters;
//! - `memo`: answers are kept as long as nothing touched what they depend on;
//! - `registry`: submit, ask, peek and changes over these;
//! - `leader`: what only a leader decides: leases (`leases`), lock delays, tombstones, its own node;
//! - [`local`]: what the agent vouches for; [`checks`]: one runner for each kind of check;
//! - `authority`: the built-in certificate authority;
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
