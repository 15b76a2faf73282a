//! Consul's HTTP API, version 1, over the registry.
//!
//! In reading order:
//! - [`filter`]: the `?filter=` language.

pub mod filter;
