//! The binary's parts: what an agent is told, and what people type.
//!
//! In reading order: [`config`], then [`cli`]. `main.rs` joins them to the assembly of an agent.

pub mod cli;
pub mod config;
