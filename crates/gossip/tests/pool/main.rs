//! What pools do together, on a network in virtual time.

mod coordinates;
mod events;
mod figures;
mod keyrings;
mod membership;
mod network;
mod oracle;
mod probes;
mod scenarios;
mod strangers;
