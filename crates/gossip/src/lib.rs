//! Membership by gossip: who is there, who failed, who left, decided without clock, socket or task.
//!
//! A [`Pool`] is one member's view of one gossip pool. Bytes and moments go in, bytes and notices
//! come out; chance comes from a seed. Its driver, in the agent, has the sockets and the timers.
//!
//! The protocol is SWIM (Das, Gupta, Motivala, 2002) with Lifeguard (Dadgar, Phillips, Currey,
//! 2018); why the engine is our own is in `docs/decisions/gossip-engine.md`.
//!
//! In reading order:
//! - [`moment`], [`limits`], [`settings`]: time, bounds, tuning; [`member`]: who takes part;
//! - [`port`]: all that goes in and comes out; [`pool`]: the whole, by what it does;
//! - `wire` and `wire/envelope`: what members say, and how it is closed; [`keyring`], [`refused`];
//! - `members`, `awareness`, `suspicion`, `broadcasts`, `timers`: the parts of a pool;
//! - [`event`], [`question`], [`coordinate`], [`snapshot`].
//!
//! Left out: search and other questions of agents, which come with their own need; relayed answers;
//! compression, since rumors are small; a probe over a stream where datagrams are lost.

mod awareness;
mod broadcasts;
pub mod coordinate;
pub mod counters;
pub mod event;
pub mod keyring;
pub mod limits;
pub mod member;
mod members;
pub mod moment;
pub mod pool;
pub mod port;
pub mod question;
pub mod refused;
pub mod settings;
pub mod snapshot;
mod suspicion;
mod timers;
mod wire;

pub use member::{Member, Name, Profile, Status, Tags};
pub use moment::Moment;
pub use pool::{Pool, Setup};
pub use port::{Input, Notice, Output};
pub use settings::{Lifeguard, Settings};
