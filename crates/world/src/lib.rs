//! The edge of the process: everything muster asks of the machine goes through one trait.
//!
//! Files, sockets, the wall clock, chance and threads are reached by way of [`World`] and of
//! nothing else, so that the same code runs on a real machine, in memory (`agent --dev`, tests
//! that cut the power) and, later, inside a simulator that replays a seed. Durations are not
//! here: they come from `tokio::time`, whose clock a test can hold still.
//!
//! Reading order: [`world`] (the trait), [`files`] and [`net`] (what it hands out), [`real`]
//! (the body that runs in production), [`memory`] (files that forget what was never synced).
//!
//! Left out on purpose: signals and child processes, which belong to the binary and to the check
//! runners, and TLS, which is `listen`'s.

#[cfg(not(any(tokio_unstable, doc)))]
compile_error!(
    "muster is built with `--cfg tokio_unstable`, which .cargo/config.toml says and the variable \
     RUSTFLAGS overrides: unset it, or write RUSTFLAGS=\"--cfg tokio_unstable ...\""
);

mod addresses;
pub mod facts;
pub mod files;
pub mod memory;
pub mod net;
pub mod real;
mod real_files;
pub mod world;

pub use files::{File, Files, Open};
pub use memory::Memory;
pub use net::{Address, Datagram, Listener, Permit, Stream};
pub use real::Real;
pub use world::{World, blocking};
