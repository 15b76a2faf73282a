//! What pools do together, on a network in virtual time.

mod coordinates;
mod events;
mod keyrings;
mod membership;
mod network;
mod strangers;
