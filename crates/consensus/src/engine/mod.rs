//! openraft, and everything that speaks its language. No other module names it.
//!
//! [`types`] says what openraft is to carry and converts between its words and ours;
//! [`log_store`] gives it our log, [`applier`] our state machine and snapshots, [`network`] its
//! peers. [`settings`] is the one place where it is configured, and [`raft`] puts it together.

pub(crate) mod applier;
pub(crate) mod log_store;
pub(crate) mod network;
pub(crate) mod raft;
pub(crate) mod settings;
pub(crate) mod types;

#[cfg(test)]
mod suite;
