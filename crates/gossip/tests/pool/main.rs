//! What pools do together, on a network in virtual time.

mod coordinates;
mod events;
mod keyrings;
mod membership;
mod network;
mod oracle;
#[allow(dead_code, reason = "the figures use more of it")]
mod scenarios;
mod strangers;
