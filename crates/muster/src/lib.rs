//! The binary's parts: what an agent is told, what people type, and how an agent is assembled.
//!
//! In reading order: [`config`], [`cli`]; then [`life`] (started, told by signals, stopped),
//! [`mod@assemble`] (every part of an agent named in order), [`identity`], [`sockets`], [`translate`]
//! (from the configuration to what each part is told), [`reload`] (the same again while the agent
//! runs), [`watches`] (handlers run on changes) and [`web`] (what the HTTP listeners carry).

pub mod assemble;
pub mod cli;
pub mod config;
pub mod identity;
pub mod life;
pub mod reload;
pub mod sockets;
pub mod translate;
pub mod watches;
pub mod web;
