//! Sockets that accept, for every front-end that speaks HTTP.
//!
//! A front-end is a [`Handler`]; [`serve`] puts it behind a listener of `muster-world` and
//! returns a [`Running`], which can be stopped cleanly. Everything a client can hold open or
//! make grow has a bound in one struct, [`Limits`].
//!
//! In reading order:
//! - `limits`: all bounds, with their defaults;
//! - `serve`: the accept loop, who is refused, how it stops;
//! - `census`: how many connections there are, in total and of one client;
//! - `connection`: one connection, HTTP/1.1 or cleartext HTTP/2, and its clock;
//! - `parking`: how a request that waits for minutes is laid aside and taken up again;
//! - `wire`: the bytes of a connection, watched for a request that comes too slowly;
//! - `closing`: how those who wait are let go when a listener stops;
//! - `reading`: a request's body, with a limit on size and slowness;
//! - `body`: an answer's body.
//!
//! What is not here: TLS (a handshake turns one `Stream` into another before `connection` sees
//! it), compression, routing, and any word about what is served.

mod body;
mod census;
mod closing;
mod connection;
mod limits;
mod parking;
mod reading;
mod serve;
mod wire;

#[cfg(test)]
mod tests;

pub use body::{Body, Sender};
pub use census::{Census, Counts};
pub use closing::Closing;
pub use connection::{Handler, Peer, Request, Response};
pub use limits::Limits;
pub use parking::Answering;
pub use reading::{BodyError, read_body};
pub use serve::{Drained, Running, serve};

// Front-ends do not name the edge of the process themselves; this is as far as they may look.
pub use muster_world::{Address, Datagram, Listener, Stream, World};
