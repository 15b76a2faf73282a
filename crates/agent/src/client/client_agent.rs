//! The body of [`Registry`] on a node without state.
//!
//! What holds on a server holds here: a question asked after an acknowledgment sees what was
//! acknowledged, and whoever waits for a change finds it. What this agent has shown once it does not
//! take back: an answer that is behind it, from a server that another one was ahead of, is given
//! only where no server does better, and looked at again as soon as one does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use muster_model::limits::COMMAND_BYTES_MAX;
use muster_model::{Command, Index, LeaseId, Query, Scope};
use muster_registry::operator::{Metric, MetricValue};
use muster_registry::{
    Answered, Asking, Call, Changes, Committed, Freshness, Pending, Refusal, Registry,
};
use muster_rpc::{Fault, Lane, Pool};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::forward::{Verdict, deadline_of, gather, may_be_better_elsewhere};
use super::kept::{Entry, Kept, is_kept};
use super::news::News;
use super::rounds::Rounds;
use super::{Again, ClientSettings, Forward, Known, Servers, keeper};
use crate::wire::{
    ANSWER_BYTES_MAX, ASK, ASK_IN_PIECES, Ask, Asker, ENVELOPE_BYTES_MAX, RENEW, Renew, SUBMIT,
    Submit, Unpacked, unpack_answer, unpack_committed, unpack_done,
};

/// A client agent. Its tasks end with it.
pub struct ClientAgent {
    shared: Arc<Shared>,
    tasks: Vec<AbortHandle>,
}

/// What the agent and its tasks share.
pub(super) struct Shared {
    pub(super) forward: Arc<Forward>,
    pub(super) news: Arc<News>,
    pub(super) kept: Kept,
    pub(super) settings: ClientSettings,
    rounds: Rounds,
    /// The highest index that this agent has shown to anybody.
    reached: AtomicU64,
}

impl ClientAgent {
    /// A client agent that speaks to the servers that `known` has, over `pool`. Must be called
    /// inside the runtime.
    pub fn start(pool: Arc<Pool>, known: Known, settings: ClientSettings) -> Arc<ClientAgent> {
        let servers = Servers::new(known, &settings);
        let forward = Forward::new(pool.clone(), servers.clone(), settings.clone());
        let news = News::new(&settings);
        let shared = Arc::new(Shared {
            forward,
            news: news.clone(),
            kept: Kept::new(&settings),
            rounds: Rounds::new(settings.questions_max),
            reached: AtomicU64::new(0),
            settings: settings.clone(),
        });
        let moving = servers.clone();
        let tasks = vec![
            tokio::spawn(news.run(pool.clone(), servers.clone(), settings)).abort_handle(),
            tokio::spawn(keeper::run(shared.clone())).abort_handle(),
            tokio::spawn(async move { moving.move_around().await }).abort_handle(),
            tokio::spawn(forget_servers_that_went(pool, servers)).abort_handle(),
        ];
        Arc::new(ClientAgent { shared, tasks })
    }

    /// The way to the servers, for what operators want of them.
    pub fn forward(&self) -> &Arc<Forward> {
        &self.shared.forward
    }

    /// Counts the leaders that came and the times that servers came back after they could not be
    /// reached: what this agent vouches for has to be compared then.
    pub fn n_leaders(&self) -> watch::Receiver<u64> {
        self.shared.news.n_leaders.subscribe()
    }

    /// Whether a server tells of changes now.
    pub fn is_in_contact(&self) -> bool {
        self.shared.news.is_in_contact()
    }

    /// The numbers that metrics stand at.
    pub fn metrics(&self) -> Vec<Metric> {
        let (n_kept, kept_bytes) = self.shared.kept.size();
        let heard = self.shared.news.standing();
        let gauges = [
            ("client.servers", self.shared.forward.servers().len() as f64),
            ("client.in_contact", f64::from(u8::from(self.is_in_contact()))),
            ("client.last_contact_s", heard.last_contact.as_secs_f64()),
            ("client.kept_answers", n_kept as f64),
            ("client.kept_bytes", kept_bytes as f64),
            ("client.scopes", self.shared.news.n_scopes() as f64),
            ("client.questions", self.shared.rounds.len() as f64),
        ];
        let metric = |(name, value): (&str, f64)| Metric {
            name: name.into(),
            labels: Vec::new(),
            value: MetricValue::Gauge(value),
        };
        gauges.into_iter().map(metric).collect()
    }
}

impl Drop for ClientAgent {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Closes the connections to servers that are no longer known. Never ends.
async fn forget_servers_that_went(pool: Arc<Pool>, servers: Arc<Servers>) {
    let mut known = servers.known();
    let mut earlier = known.borrow_and_update().clone();
    while known.changed().await.is_ok() {
        let now = known.borrow_and_update().clone();
        for gone in earlier.iter().filter(|server| !now.contains(server)) {
            pool.forget(*gone);
        }
        earlier = now;
    }
}

// ------------------------------------------------------------------------------------------------
// The verbs
// ------------------------------------------------------------------------------------------------

impl Registry for ClientAgent {
    fn submit<'a>(
        &'a self,
        call: &'a Call,
        command: Command,
    ) -> Pending<'a, Result<Committed, Refusal>> {
        Box::pin(self.shared.submit(call, command))
    }

    fn ask<'a>(&'a self, call: &'a Call, query: &'a Query, freshness: Freshness) -> Asking<'a> {
        if freshness != Freshness::Stale {
            return Asking::Waiting(Box::pin(self.shared.ask(call, query, freshness)));
        }
        match self.shared.at_hand(call, query) {
            Some(answered) => Asking::ready(Ok(answered)),
            None => Asking::Waiting(Box::pin(self.shared.ask_weakly(call, query))),
        }
    }

    fn peek(&self, call: &Call, query: &Query) -> Option<Answered> {
        self.shared.peek(call, query)
    }

    fn changes(&self, _: &Call, scopes: &[Scope], after: Index) -> Changes {
        self.shared.news.changes(scopes, after)
    }

    fn age_of(&self, index: Index) -> Option<Duration> {
        self.shared.news.age_of(index)
    }

    fn renew<'a>(&'a self, call: &'a Call, lease: &'a LeaseId) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(self.shared.renew(call, lease))
    }
}

impl Shared {
    async fn submit(&self, call: &Call, command: Command) -> Result<Committed, Refusal> {
        let deadline = deadline_of(call, self.settings.patience);
        let asker = self.asker(call);
        let is_own = asker.datacenter.is_none();
        let body = muster_model::encode(&Submit { asker, command });
        if body.len() > COMMAND_BYTES_MAX + ENVELOPE_BYTES_MAX {
            let (n_bytes, n_bytes_max) = (body.len(), COMMAND_BYTES_MAX);
            return Err(Refusal::TooLarge { what: "the command", n_bytes, n_bytes_max });
        }
        let result = self.call(SUBMIT, body, Again::IfUnserved, deadline, unpack_committed).await;
        if let Ok(committed) = &result
            && is_own
        {
            self.reached.fetch_max(committed.index, Ordering::AcqRel);
        }
        result
    }

    async fn renew(&self, call: &Call, lease: &LeaseId) -> Result<(), Refusal> {
        let deadline = deadline_of(call, self.settings.patience);
        let renew = Renew { asker: self.asker(call), lease: lease.clone() };
        let body = muster_model::encode(&renew);
        self.call(RENEW, body, Again::Always, deadline, unpack_done).await
    }

    /// Makes one call, at the server that can serve it.
    async fn call<T>(
        &self,
        method: u16,
        body: Bytes,
        again: Again,
        deadline: Instant,
        unpack: impl Fn(&[u8]) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let (pool, unpack) = (self.forward.pool(), &unpack);
        let send = |server, until| {
            let body = body.clone();
            async move {
                let answer = pool.call(server, Lane::Call, method, body, until).await?;
                Ok(match unpack(&answer) {
                    Err(refusal) if may_be_better_elsewhere(&refusal, again) => {
                        Verdict::Elsewhere(refusal)
                    }
                    result => Verdict::Done(result),
                })
            }
        };
        self.forward.carry(again, deadline, send).await?
    }

    /// A linearizable answer.
    async fn ask(
        self: &Arc<Self>,
        call: &Call,
        query: &Query,
        freshness: Freshness,
    ) -> Result<Answered, Refusal> {
        // That somebody asked keeps the entry; this answer will be put there.
        self.entry(call, query, false);
        let (asker, query) = (self.asker(call), query.clone());
        let ask = Ask { asker, query, freshness, not_before: 0 };
        self.ask_together(ask, deadline_of(call, self.settings.patience)).await
    }

    /// Takes part in a question, and asks it for all who do if it is the first.
    async fn ask_together(
        self: &Arc<Self>,
        ask: Ask,
        deadline: Instant,
    ) -> Result<Answered, Refusal> {
        let mut joined = self.rounds.join(ask)?;
        if let Some((ask, round)) = joined.first.take() {
            let shared = self.clone();
            tokio::spawn(async move {
                shared.rounds.run(ask, round, |ask| shared.fetch(ask)).await;
            });
        }
        joined.result(deadline).await
    }
}

// ------------------------------------------------------------------------------------------------
// Taking what is at hand
// ------------------------------------------------------------------------------------------------

impl Shared {
    /// Who asks; no datacenter is named where it is this agent's own.
    fn asker(&self, call: &Call) -> Asker {
        let mut asker = Asker::of(call);
        asker.datacenter.take_if(|name| *name == self.settings.datacenter);
        asker
    }

    /// The kept answer to a query, and whether it is `taken` as it is.
    fn entry(&self, call: &Call, query: &Query, is_taken: bool) -> Option<Arc<Entry>> {
        let is_own = call.datacenter.as_ref().is_none_or(|name| *name == self.settings.datacenter);
        is_own.then(|| self.kept.find(query, &call.caller.token, is_taken))?
    }

    fn peek(&self, call: &Call, query: &Query) -> Option<Answered> {
        let entry = self.entry(call, query, true)?;
        Some(self.kept.last_known(&entry, self.news.standing()))
    }

    /// A kept answer that still holds.
    fn at_hand(&self, call: &Call, query: &Query) -> Option<Answered> {
        let entry = self.entry(call, query, true)?;
        self.kept.holding(&entry, self.news.standing())
    }

    /// An answer that any server may give; where none can be reached, the last one that was good.
    async fn ask_weakly(self: &Arc<Self>, call: &Call, query: &Query) -> Result<Answered, Refusal> {
        let mut deadline = deadline_of(call, self.settings.patience);
        let last_known = self.last_known(call, query);
        if last_known.is_some() {
            deadline = deadline.min(Instant::now() + self.settings.kept_patience);
        }
        let asked = self.ask_for_keeping(self.asker(call), query.clone(), deadline).await;
        match asked {
            Err(Refusal::NoLeader | Refusal::Late | Refusal::Stopping | Refusal::TooMany(_)) => {
                // Another may have put one there meanwhile.
                self.last_known(call, query)
                    .or(last_known)
                    .ok_or(asked.err().unwrap_or(Refusal::Late))
            }
            asked => asked,
        }
    }

    /// Asks any server, one that has reached what was shown already if there is one.
    pub(super) async fn ask_for_keeping(
        self: &Arc<Self>,
        asker: Asker,
        query: Query,
        deadline: Instant,
    ) -> Result<Answered, Refusal> {
        // The same for all who ask, so that their questions are equal.
        let ask = Ask { asker, query, freshness: Freshness::Stale, not_before: 0 };
        self.ask_together(ask, deadline).await
    }

    /// The kept answer, given although it may hold no longer.
    fn last_known(&self, call: &Call, query: &Query) -> Option<Answered> {
        let entry = self.entry(call, query, true)?;
        let answered = self.kept.last_known(&entry, self.news.standing());
        Some(self.as_if_it_held(answered))
    }

    /// An answer that is known to be behind. Whoever waits for another begins to wait at what was
    /// heard so far, and is woken as soon as a server tells more.
    fn as_if_it_held(&self, answered: Answered) -> Answered {
        let position = self.news.position();
        if answered.as_of < position {
            self.news.owe_a_look(&answered.answer.scopes);
        }
        Answered { as_of: answered.as_of.max(position), ..answered }
    }
}

// ------------------------------------------------------------------------------------------------
// Asking a server
// ------------------------------------------------------------------------------------------------

impl Shared {
    /// Asks a server, and keeps the answer if it is of a kind that is kept.
    async fn fetch(&self, ask: Arc<Ask>) -> Result<Answered, Refusal> {
        let is_own = ask.asker.datacenter.is_none();
        // What was shown, of answers and of changes, before this question is asked.
        let shown = self.reached.load(Ordering::Acquire).max(self.news.position());
        let is_stale = ask.freshness == Freshness::Stale;
        let not_before = if is_own && is_stale { shown } else { 0 };
        let (answered, n_bytes) = self.ask_servers(&ask, not_before).await?;
        if !is_own {
            return Ok(answered);
        }
        if answered.as_of < shown {
            return Ok(match answered.standing.freshness {
                Freshness::Stale => self.settle_behind(&ask, answered),
                _ => self.begin_anew(answered),
            });
        }
        self.reached.fetch_max(answered.as_of, Ordering::AcqRel);
        self.keep(&ask, &answered, n_bytes);
        Ok(answered)
    }

    /// Asks one server after the other; the answer with the bytes that it had on its way.
    async fn ask_servers(
        &self,
        ask: &Ask,
        not_before: Index,
    ) -> Result<(Answered, usize), Refusal> {
        let body = muster_model::encode(&Ask { not_before, ..ask.clone() });
        let deadline = Instant::now() + self.settings.patience;
        let send = |server, until| {
            let body = body.clone();
            async move {
                Ok(match self.ask_server(server, body, until).await? {
                    Err(refusal) if may_be_better_elsewhere(&refusal, Again::Always) => {
                        Verdict::Elsewhere(refusal)
                    }
                    Ok((answered, n_bytes)) if is_behind(&answered, not_before) => {
                        Verdict::Fallback(Ok((answered, n_bytes)))
                    }
                    result => Verdict::Done(result),
                })
            }
        };
        self.forward.carry(Again::Always, deadline, send).await?
    }

    /// Asks one server; the answer with the bytes that it had on its way.
    async fn ask_server(
        &self,
        server: SocketAddr,
        body: Bytes,
        until: Instant,
    ) -> Result<Result<(Answered, usize), Refusal>, Fault> {
        let pool = self.forward.pool();
        let mut bytes = pool.call(server, Lane::Call, ASK, body.clone(), until).await?;
        if matches!(unpack_answer(&bytes), Ok(Unpacked::Elsewhere)) {
            let opened = pool.open(server, Lane::Bulk, ASK_IN_PIECES, body, until).await?;
            let (_sender, pieces) = opened.split();
            bytes = gather(pieces, ANSWER_BYTES_MAX).await?;
        }
        Ok(match unpack_answer(&bytes) {
            Ok(Unpacked::Answer(answered, n_bytes)) => Ok((answered, n_bytes)),
            Ok(Unpacked::Elsewhere) => Err(Refusal::Internal("an answer has no end".to_owned())),
            Err(refusal) => Err(refusal),
        })
    }

    /// No server reaches what was shown already: gives what is kept, if that reaches further.
    fn settle_behind(&self, ask: &Ask, answered: Answered) -> Answered {
        let token = ask.asker.call(Instant::now()).caller.token;
        let kept = self.kept.find(&ask.query, &token, false);
        let better = kept.filter(|entry| Kept::as_of(entry) > answered.as_of);
        let answered = match better {
            Some(entry) => self.kept.last_known(&entry, self.news.standing()),
            None => answered,
        };
        self.as_if_it_held(answered)
    }

    /// A linearizable answer does not reach what was shown already, so the log is another one: it
    /// was rescued from a server that had less. What was shown counts no longer.
    fn begin_anew(&self, answered: Answered) -> Answered {
        let was = self.reached.swap(answered.as_of, Ordering::AcqRel);
        if self.news.position().max(was) > answered.as_of {
            tracing::warn!(was, now = answered.as_of, "the servers' log begins anew");
            self.kept.clear();
            self.news.start_over(answered.as_of);
        }
        answered
    }

    fn keep(&self, ask: &Ask, answered: &Answered, n_bytes: usize) {
        if !is_kept(&ask.query) {
            return;
        }
        let token = ask.asker.call(Instant::now()).caller.token;
        let takes = ask.freshness == Freshness::Stale;
        if let Some(marks) = self.news.marks(&answered.answer.scopes) {
            self.kept.put((&ask.query, &token), answered, marks, n_bytes, takes);
        }
    }
}

fn is_behind(answered: &Answered, not_before: Index) -> bool {
    answered.as_of < not_before && answered.standing.freshness == Freshness::Stale
}
