//! Consensus: commands, as bytes, decided in one order and kept on disk.
//!
//! Reading order: [`consensus`] (the face), [`machine`] (what is driven), [`folder`] (where things
//! lie), [`error`]; then inside, `wal` (the log), `snapshot`, `progress`, and `engine` (openraft,
//! which is named nowhere else and is in no public signature).
//!
//! It does not know what a command means, and it does not talk to peers yet: a group has one
//! server until `rpc` brings the others.

pub mod consensus;
mod engine;
pub mod error;
pub mod folder;
pub mod machine;
mod progress;
mod snapshot;
pub mod term_id;
pub mod voters;
mod wal;

pub use consensus::{
    COMMAND_BYTES_MAX, Consensus, Decided, Leadership, RestoreError, Settings, Stats,
};
pub use error::{Damage, Fatal, OnFatal, ProposeError, StartError};
pub use folder::Folder;
pub use machine::{Committed, Frozen, Machine};
pub use voters::Voter;
