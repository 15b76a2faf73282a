//! The running of checks: what is tried, on the machine, when `health` says it is due.
//!
//! `runner` drives the schedule; one file for each kind of check does the trying and says what it
//! found. Every run has a time limit, reads no more than a bound, and opens its sockets through
//! `World`. A run never decides a status: that is for the thresholds in `health`. TTL checks are
//! not run at all.
//!
//! - `allowed`: what checks may do on this agent; `dial`: sockets and TLS for all kinds;
//! - `http`, `tcp`, `udp`, `grpc`, `h2ping`: over the network;
//! - `script`, `docker`: programs; `alias`: the status of something else.

mod alias;
mod allowed;
mod dial;
mod docker;
mod grpc;
mod h2ping;
mod http;
mod runner;
mod script;
mod tcp;
mod udp;

pub use allowed::{Allowed, CheckTerms};
pub use runner::Runner;

use muster_health::check::Observation;
use muster_model::{Status, Text};

/// What a run found, before anything is counted.
fn found(status: Status, output: impl Into<Text>) -> Observation {
    Observation { status, output: output.into() }
}
