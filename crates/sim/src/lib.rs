//! Whole agents in one thread from one seed, with machines that fail.
//!
//! In reading order:
//! - [`simulation`]: hosts on a network, stepped in lock step; [`host`]: one of them;
//! - [`sim_world`]: what a process on a host sees of the world; [`network`] and its faults;
//! - [`trace`]: the hash and the story of a run; [`chance`]: all draws of a run; [`limits`];
//! - [`servers`]: whole agents as programs of hosts; [`cluster`]: some of them, with a supervisor;
//! - [`workload`]: what clients want; [`perform`]: how it is done at the door; [`clients`] and
//!   [`watchers`]: who wants it; [`nemesis`]: what goes wrong; [`run`]: all of it, from one seed;
//! - [`acknowledged`]: the simplest judge; [`checkers`]: what every history must keep; [`plant`]:
//!   lies that they have to find;
//! - [`history`]: what clients asked, when, and what they heard: the plain data that is judged.

pub mod acknowledged;
pub mod chance;
pub mod checkers;
pub mod clients;
pub mod cluster;
mod disk;
pub mod history;
pub mod host;
pub mod limits;
pub mod nemesis;
pub mod network;
pub mod perform;
pub mod plant;
pub mod run;
pub mod servers;
pub mod sim_world;
pub mod simulation;
mod story_log;
pub mod trace;
pub mod watchers;
pub mod workload;

pub use history::History;
pub use host::{Program, Standing};
pub use network::{Latency, LinkFaults};
pub use sim_world::SimWorld;
pub use simulation::{Promise, Simulation};
pub use trace::{HostNumber, Telling, Trace};
