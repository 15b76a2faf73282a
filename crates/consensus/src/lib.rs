//! Consensus: commands, as bytes, decided in one order and kept on disk.
//!
//! Reading order: [`consensus`] (the face), [`machine`] (what is driven), [`peers`] (the way to the
//! other servers), `forward` and `group` (what needs them), [`folder`] (where things lie), [`error`];
//! then inside, `wal` (the log), `snapshot`, `progress`, and `engine` (openraft, which is named
//! nowhere else and is in no public signature).
//!
//! It does not know what a command means, nor how messages travel: whoever starts it gives it a
//! body for [`Peers`] and brings what peers say to [`Consensus::answer`] and
//! [`Consensus::serve_line`].

pub mod consensus;
mod engine;
pub mod error;
pub mod folder;
mod forward;
mod group;
pub mod machine;
pub mod peers;
mod progress;
mod snapshot;
pub mod term_id;
pub mod voters;
mod wal;

pub use consensus::{
    COMMAND_BYTES_MAX, Consensus, Decided, Founding, Leadership, RestoreError, Settings, Stats,
    rescue,
};
pub use engine::runtime::rule_chance;
pub use error::{Damage, Fatal, OnFatal, ProposeError, StartError};
pub use folder::Folder;
pub use machine::{Committed, Frozen, Machine};
pub use peers::{Line, LineReceiver, LineSender, NoPeers, Peers, Unreachable, Urgency};
pub use voters::{Server, Voter};
