//! What pools do together, on a network in virtual time.

mod membership;
mod network;
