//! A client agent: the body of [`muster_registry::Registry`] on a node that holds no state.
//!
//! Writes and linearizable questions go to a server, and to another one if that fails (`forward`,
//! `servers`); equal questions that meet travel once (`rounds`). Whoever waits for a change waits
//! here, and one stream from one server tells of everything that anybody waits for (`news`). What
//! was asked lately by clients that look for each other is kept (`kept`) and asked for again when
//! something touched it (`keeper`): what takes no better answer than the one at hand, DNS above all,
//! is answered from there, also when no server can be reached.
//!
//! Who the servers are gossip tells (`known`); all of it together is a [`Client`] (`running`), which
//! passes on what operators want of servers (`operator`).
//!
//! What is not here: what this agent itself vouches for (`local`).

mod client_agent;
mod forward;
mod keeper;
mod kept;
mod known;
mod news;
mod operator;
mod rounds;
mod running;
mod servers;
mod settings;

pub use client_agent::ClientAgent;
pub use forward::{Again, Forward};
pub use running::Client;
pub use servers::{Known, Servers};
pub use settings::ClientSettings;
