//! The registry trait: submit, ask, peek, changes, renew.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use muster_model::answer::Answer;
use muster_model::{Command, Index, LeaseId, Outcome, Query, Scope};

use crate::{Call, Changes, Pending, Refusal};

/// The replicated catalog and everything kept beside it.
pub trait Registry: Send + Sync + 'static {
    /// A wish, decided by the log. Once this returns an outcome, every later question sees it and
    /// no crash loses it.
    fn submit<'a>(
        &'a self,
        call: &'a Call,
        command: Command,
    ) -> Pending<'a, Result<Committed, Refusal>>;

    /// A question, at the freshness it asks for. Ready at once where nothing has to be waited for.
    fn ask<'a>(&'a self, call: &'a Call, query: &'a Query, freshness: Freshness) -> Asking<'a>;

    /// The answer this agent has at hand: the local version of the state, or an agent's kept
    /// answer. Never waits. Nothing where there is none to give.
    fn peek(&self, call: &Call, query: &Query) -> Option<Answered>;

    /// What changes under some scopes after an index.
    fn changes(&self, call: &Call, scopes: &[Scope], after: Index) -> Changes;

    /// How long ago this agent saw the change at an index, to about a second; nothing where it came
    /// before the agent could see it. For people: no rule may ask.
    fn age_of(&self, index: Index) -> Option<Duration> {
        let _ = index;
        None
    }

    /// Keeps a lease alive. Ready once leadership is confirmed; nothing is written.
    ///
    /// # Errors
    /// [`Refusal::Unknown`] where what it keeps alive is gone; the others as for a question.
    fn renew<'a>(&'a self, call: &'a Call, lease: &'a LeaseId) -> Pending<'a, Result<(), Refusal>>;
}

/// A command's place in the log, and what it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The index of the entry.
    pub index: Index,
    /// What it came to.
    pub outcome: Outcome,
}

/// How fresh an answer has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Freshness {
    /// Linearizable.
    #[default]
    Default,
    /// Linearizable; some protocols ask for it by this name.
    Consistent,
    /// Whatever this server has.
    Stale,
}

/// An answer with what is known about its freshness.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The answer, shared with everyone who asked the same.
    pub answer: Arc<Answer>,
    /// The version of the state for which it is known to hold; not below `answer.index`.
    pub as_of: Index,
    /// How the answering server stood.
    pub standing: Standing,
}

/// How a server stood when it answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether it knew a leader.
    pub knows_leader: bool,
    /// How long ago it heard from the leader; zero on the leader itself.
    pub last_contact: Duration,
    /// The freshness the answer has.
    pub freshness: Freshness,
}

/// An answer that may be there already.
pub enum Asking<'a> {
    /// There already.
    Ready(Option<Result<Answered, Refusal>>),
    /// To be waited for.
    Waiting(Pending<'a, Result<Answered, Refusal>>),
}

impl Asking<'_> {
    /// An answer, or a refusal, that is there already.
    pub fn ready(result: Result<Answered, Refusal>) -> Asking<'static> {
        Asking::Ready(Some(result))
    }
}

impl Future for Asking<'_> {
    type Output = Result<Answered, Refusal>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Asking::Ready(result) => {
                Poll::Ready(result.take().expect("a finished future is not polled again"))
            }
            Asking::Waiting(pending) => pending.as_mut().poll(context),
        }
    }
}
