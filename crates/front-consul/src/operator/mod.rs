//! `/v1/operator`: what the people who run the servers ask for, one file for each subject.

pub(crate) mod autopilot;
pub(crate) mod keyring;
pub(crate) mod raft;
pub(crate) mod usage;
