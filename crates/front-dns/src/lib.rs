//! The DNS front-end: every name under our domains answered from the registry, every other name
//! given to configured recursors.
//!
//! In reading order:
//! - [`settings`]: what an operator can choose; [`limits`]: what a client can make us do;
//! - `wire`: messages as bytes; `schema`: what a name means;
//! - `inquiry`: from a name to what the registry has for it; `records`: that as DNS records, made
//!   once for each change; `compose`: one response from them, drawn anew each time;
//! - [`Responder`]: bytes in, bytes out, never waiting: everything above is pure;
//! - `serve`: sockets and tasks; `forward`: recursors; [`metrics`]: counters.
//!
//! Left out: the names of the service mesh and of cluster peers, zone transfers, DNSSEC, DNS over
//! TLS and HTTPS.

mod compose;
mod forward;
mod inquiry;
pub mod limits;
pub mod metrics;
mod records;
mod responder;
mod schema;
mod serve;
pub mod settings;
mod setup;
mod wire;

pub use compose::{Scratch, Transport};
pub use inquiry::{Given, Need};
pub use metrics::Metrics;
pub use responder::{Client, Reply, Responder, WallClock};
pub use serve::{Server, Sockets};
pub use settings::{BadSettings, Settings};
