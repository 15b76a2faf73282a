//! Whole agents in one thread from one seed, with machines that fail.
//!
//! In reading order:
//! - [`history`]: what clients asked, when, and what they heard: the plain data that is judged.

pub mod history;

pub use history::History;
