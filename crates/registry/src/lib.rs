//! The door: the traits through which every front-end speaks, and nothing behind them.
//!
//! A front-end holds a [`Door`]. Through it everything a client can want is one of three verbs:
//! *submit* a command, *ask* a query, *watch* for an answer to change. A front-end never sees the
//! state, the log or the agent; what it learns of them is in these signatures.
//!
//! In reading order:
//! - [`call`]: who asks, which datacenter, until when; [`refusal`]: errors by who must act;
//! - [`registry`]: the replicated catalog and everything beside it; [`watch()`] built on it;
//! - [`local`]: what this agent vouches for; [`operator`]: what the people who run it need, with
//!   the facts about its [`cluster`];
//! - [`hub`]: how a change finds those who wait for it, shared by every body of these traits;
//!   `timeline`: when an index was seen.

pub mod call;
pub mod cluster;
pub mod hub;
pub mod local;
pub mod operator;
pub mod refusal;
pub mod registry;
mod timeline;
pub mod watch;

use std::sync::Arc;

pub use call::{Call, Caller};
pub use hub::{Changes, Hub};
pub use local::LocalAgent;
pub use operator::Operator;
pub use refusal::Refusal;
pub use registry::{Answered, Asking, Committed, Freshness, Registry, Standing};
pub use watch::watch;

/// Everything a front-end is given.
#[derive(Clone)]
pub struct Door {
    /// The replicated catalog, store, sessions and questions.
    pub registry: Arc<dyn Registry>,
    /// What this agent vouches for.
    pub local: Arc<dyn LocalAgent>,
    /// What the people who run it need.
    pub operator: Arc<dyn Operator>,
}

/// A future as a trait with several bodies returns it.
pub type Pending<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
