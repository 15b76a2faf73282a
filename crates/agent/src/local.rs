//! The body of [`muster_registry::LocalAgent`]: what this agent vouches for, over the rules of
//! `health`.
//!
//! One short lock holds the rules' memory (`core`). A verb takes it, lets the rules decide,
//! publishes the new snapshot, and lets it go; saving and telling the catalog happen outside:
//! - `journal`: what clients registered, appended to one file and synced for many at once;
//! - `pusher`: one task that tells the catalog what changed, many changes in one command, and
//!   compares everything from time to time (anti-entropy);
//! - `events`: user events seen last.
//!
//! `voucher` is the body itself. Checks are run elsewhere (`checks`) and come back as
//! observations.

mod core;
mod events;
mod journal;
mod pusher;
mod saved;
pub mod voucher;

pub use journal::JournalError;
pub use voucher::{LocalSetup, Voucher};
