//! openraft, and everything that speaks its language. No other module names it.
//!
//! [`types`] says what openraft is to carry and converts between its words and ours;
//! [`log_store`] gives it our log, [`applier`] our state machine and snapshots. [`message`] is what
//! servers say to each other, [`network`] says it and [`serve`] answers it. [`settings`] is the one
//! place where the engine is configured, [`runtime`] what it runs on, and [`raft`] puts it together. [`rescue`]
//! makes do with one server when the others are lost.

pub(crate) mod applier;
pub(crate) mod log_store;
pub(crate) mod message;
pub(crate) mod network;
pub(crate) mod raft;
pub(crate) mod rescue;
pub(crate) mod runtime;
pub(crate) mod serve;
pub(crate) mod settings;
pub(crate) mod types;

#[cfg(test)]
mod suite;
