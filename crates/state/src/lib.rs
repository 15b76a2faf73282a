//! The replicated state machine: what the registry knows, and the only way it changes.
//!
//! [`State::apply`] takes a [`Command`](muster_model::Command) with its index in the log and gives
//! the outcome and what changed; [`State::answer`] takes a [`Query`](muster_model::Query). Both are
//! pure: no clock, no chance, no sockets, no files. Whatever depends on time is decided by the leader
//! and told as a command, so every replica that applies the same log has the same state, which
//! [`State::hash`] lets them compare.
//!
//! All tables are persistent maps: a clone of the state is a few pointers, and whoever holds one
//! reads a version that never changes.
//!
//! In reading order:
//! - [`state`]: the whole, and how a command finds its noun;
//! - `indexes`: which index touched which scope last; `interner`: texts that repeat are kept once;
//! - `catalog` (`nodes`, `instances`, `checks`, `register`): what is registered;
//! - `kv`, `sessions`, `transactions`: pairs, locks and steps that stand or fall together;
//! - `prepared`, `template`: stored questions; `places`: the round-trip map; `kept`: roots, settings;
//! - `answer`: one file for each area of queries;
//! - [`save`] and [`load`]: the state as blocks of bytes; [`authorize`]: who may do what.
//!
//! What is not here: limits on what clients send (the fronts refuse that before it becomes a
//! command), the log, the history of changes (the registry's hub), and every decision about time.

mod answer;
pub mod authorize;
mod catalog;
mod indexes;
mod interner;
mod kept;
mod kv;
pub mod load;
mod places;
mod prepared;
pub mod save;
mod sessions;
pub mod state;
mod template;
mod transactions;

pub use kv::LockDelay;
pub use load::LoadError;
pub use state::State;
