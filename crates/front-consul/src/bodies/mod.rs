//! What clients send, taken apart into the model: one file for each noun.
//!
//! Rules that hold for every front-end are the model's; here stand Consul's spellings and words.

pub(crate) mod check;
pub(crate) mod instance;
pub(crate) mod local;
pub(crate) mod operation;
pub(crate) mod prepared;
pub(crate) mod registration;
