//! Configuration: files, flags and environment become one [`Config`], read once.
//!
//! The way of a key: `lexer` and `syntax` turn a text into a tree with lines; `setting` reads the tree
//! onto the fields that `root` and the section files declare; [mod@load] does so for every file in
//! order, then for the flags (`cli::agent`), and `verify` refuses what makes no sense together and
//! warns of what is dangerous. `declare` turns definitions into the registry's words, `reference`
//! writes docs/configuration.md from the same declarations.
//!
//! In reading order: [`root`], the sections ([`listeners`], [`dns`], [`cluster`], [`security`],
//! [`telemetry`]), [`definition`], [`setting`], [`syntax`], [mod@load], [`verify`].

pub mod cluster;
pub mod declare;
pub mod definition;
pub mod dns;
pub mod duration;
pub mod lexer;
pub mod listeners;
pub mod load;
pub mod problem;
pub mod reference;
pub mod root;
pub mod security;
pub mod setting;
pub mod syntax;
pub mod telemetry;
pub mod verify;

pub use load::{Loaded, Sources, load};
pub use problem::{Problem, Problems};
pub use root::{CalledAs, Config};

#[cfg(test)]
mod tests;
