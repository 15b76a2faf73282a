//! Who is alive and who may say so, decided without clock, socket or task.
//!
//! The agent brings what happened (an observation, a declaration, a moment that came); the rules
//! here say what follows: which status a check has now, when it runs next, which commands repair
//! the catalog, which lease ran out. The agent carries that out.
//!
//! In reading order:
//! - [`moment`]: time as these rules see it, a parameter; [`capture`]: output kept within a bound;
//! - [`check`]: from results in a row to a status; [`schedule`]: which check runs when;
//! - [`local`]: what an agent vouches for; [`ledger`]: what of it the catalog has yet to be told;
//!   [`sync`]: finding out what the catalog has wrong;
//! - [`lease`]: promises to renew; [`guard`]: doubt before mass expiry; [`reconcile`]: gossip
//!   members against catalog.
//!
//! Left out: how a check is run and how a command reaches the log, which is the agent's.

pub mod capture;
pub mod check;
pub mod guard;
pub mod lease;
pub mod ledger;
pub mod local;
pub mod moment;
pub mod reconcile;
pub mod schedule;
pub mod sync;

pub use local::Local;
pub use moment::Moment;
