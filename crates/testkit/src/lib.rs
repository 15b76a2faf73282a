//! A registry over a bare state, for tests of whatever stands in front of the door.
//!
//! A [`Bench`] is the state and the hub with nothing between: a command is applied in the moment it
//! is submitted, an answer is computed in the moment it is asked for, and time is what the test says
//! it is. No log, no checks that run.
//!
//! - [mod@bench]: the registry itself, with its clock;
//! - [`catalog`]: what most tests register, in one line each;
//! - [`agent`] and [`operator`]: the rest of the door, as an agent that runs nothing;
//! - [`cluster`]: what that agent knows of its cluster.

pub mod agent;
pub mod bench;
pub mod catalog;
pub mod cluster;
pub mod operator;

pub use agent::Agent;
pub use bench::Bench;
pub use cluster::Cluster;
