//! Sockets that accept, for the front-ends, which do not name the edge of the process themselves.

pub use muster_world::{Address, Datagram, Listener, Stream, World};
