//! The internal protocol: how agents speak with each other.
//!
//! One port, plain frames, one primitive. An *exchange* begins with a method and a body; then
//! either side may send items until it ends its half, each within a window that the other side
//! opens. A *call* is an exchange with one body each way. The crate carries bytes and knows
//! neither what they mean nor who may ask for what: that is the business of a [`Handler`].
//!
//! In reading order:
//! - `limits`: all bounds, with their defaults;
//! - `hello`: who is at the other end, and what both sides agree on before anything else;
//! - `fault`: what can go wrong, by what it means for the one who asked;
//! - `frame`: the bytes of one frame; `inbox` and `outbox`: frames that come and that wait to go;
//! - `ledger`: one exchange, as a table of what each side may still send;
//! - `exchange`: the same as a handle, which is what users hold;
//! - `link`: one connection; `opening`: how exchanges begin on it, `drive`: its task,
//!   `ending`: why it is over;
//! - `pool`: connections that we open; `slot`: one of them, dialed and dialed again;
//! - `serve`: connections that we accept; `handler`: what they are accepted for;
//! - `security`: where TLS will be; `counters`: what has happened so far.
//!
//! What is not here: TLS, the encoding of bodies, retries of what was sent (only the caller knows
//! whether it may be served twice), and the choice of whom to call.

mod census;
mod counters;
mod drive;
mod ending;
mod exchange;
mod fault;
mod frame;
mod handler;
mod handshake;
mod hello;
mod inbox;
mod ledger;
mod limits;
mod link;
mod opening;
mod outbox;
mod pool;
mod pulse;
mod security;
mod serve;
mod slot;

#[cfg(test)]
mod tests;

pub use counters::Counters;
pub use exchange::{Exchange, Receiver, Sender};
pub use fault::Fault;
pub use handler::{Handler, Opened, Serving};
pub use hello::{Hello, Lane, Peer, Target};
pub use limits::Limits;
pub use pool::Pool;
pub use security::{PeerIdentity, Plain, Secured, Security};
pub use serve::{Drained, Running, serve};
