//! Submit, ask, peek, changes and renew over the log and the published state.

use std::sync::Arc;
use std::time::Duration;

use muster_consensus::ProposeError;
use muster_model::answer::Answer;
use muster_model::limits::COMMAND_BYTES_MAX;
use muster_model::{Command, Index, LeaseId, Outcome, Query, Scope};
use muster_registry::{
    Answered, Asking, Call, Changes, Committed, Freshness, Pending, Refusal, Registry, Standing,
};
use muster_state::authorize::{Access, needed_by_command, needed_by_query, needed_by_renewal};
use tokio::time::Instant;

use crate::agent::Agent;
use crate::helm::Ask;

impl Registry for Agent {
    fn submit<'a>(
        &'a self,
        call: &'a Call,
        command: Command,
    ) -> Pending<'a, Result<Committed, Refusal>> {
        Box::pin(async move {
            self.require_own_datacenter(call)?;
            self.authorize(call, || needed_by_command(&command))?;
            let entry = muster_model::encode(&command);
            if entry.len() > COMMAND_BYTES_MAX {
                return Err(Refusal::TooLarge {
                    what: "the command",
                    n_bytes: entry.len(),
                    n_bytes_max: COMMAND_BYTES_MAX,
                });
            }
            let decided =
                self.consensus.propose(entry, self.deadline(call)).await.map_err(refuse)?;
            let outcome = muster_model::decode::<Outcome>(&decided.outcome)
                .map_err(|error| Refusal::Internal(error.to_string()))?;
            Ok(Committed { index: decided.index, outcome })
        })
    }

    fn ask<'a>(&'a self, call: &'a Call, query: &'a Query, freshness: Freshness) -> Asking<'a> {
        if let Err(refusal) = self.may_ask(call, query) {
            return Asking::ready(Err(refusal));
        }
        if freshness == Freshness::Stale || self.consensus.confirmed().is_some() {
            return Asking::ready(Ok(self.answer(query, freshness)));
        }
        Asking::Waiting(Box::pin(async move {
            self.catch_up(call).await?;
            Ok(self.answer(query, freshness))
        }))
    }

    fn peek(&self, call: &Call, query: &Query) -> Option<Answered> {
        self.may_ask(call, query).ok()?;
        Some(self.answer(query, Freshness::Stale))
    }

    fn changes(&self, _: &Call, scopes: &[Scope], after: Index) -> Changes {
        self.shared.hub.changes(scopes, after)
    }

    fn age_of(&self, index: Index) -> Option<Duration> {
        self.shared.hub.age_of(index)
    }

    fn renew<'a>(&'a self, call: &'a Call, lease: &'a LeaseId) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(async move {
            self.require_own_datacenter(call)?;
            self.authorize(call, || needed_by_renewal(lease))?;
            self.ask_leader(Ask::Renew(lease.clone()), call).await.map(drop)
        })
    }
}

impl Agent {
    /// When the caller no longer waits.
    pub(crate) fn deadline(&self, call: &Call) -> Instant {
        call.deadline.unwrap_or_else(|| Instant::now() + self.setup.write_timeout)
    }

    /// Waits until the state here has everything that was acknowledged anywhere before now.
    pub(crate) async fn catch_up(&self, call: &Call) -> Result<(), Refusal> {
        let deadline = self.deadline(call);
        let index = self.consensus.confirm(deadline).await.map_err(refuse)?;
        let caught_up = self.consensus.wait_applied(index, deadline).await;
        caught_up.then_some(()).ok_or(Refusal::Late)
    }

    fn may_ask(&self, call: &Call, query: &Query) -> Result<(), Refusal> {
        self.require_own_datacenter(call)?;
        self.authorize(call, || needed_by_query(query))
    }

    /// The one place where a call is authorized.
    fn authorize(&self, call: &Call, needed: impl FnOnce() -> Vec<Access>) -> Result<(), Refusal> {
        let state = self.shared.state.load();
        if state.is_open() {
            return Ok(());
        }
        let token = call.caller.token.reveal();
        let denied = needed().iter().find_map(|access| state.authorize(token, access).err());
        denied.map_or(Ok(()), |denied| Err(Refusal::Forbidden(denied.to_string())))
    }

    fn require_own_datacenter(&self, call: &Call) -> Result<(), Refusal> {
        match &call.datacenter {
            Some(other) if *other != self.setup.identity.datacenter => {
                Err(Refusal::NoDatacenter(other.clone()))
            }
            _ => Ok(()),
        }
    }

    /// The answer from the published version, kept or computed now.
    fn answer(&self, query: &Query, freshness: Freshness) -> Answered {
        // Read before the state: what is computed is at least as new as this.
        let as_of = self.shared.hub.published();
        let answer = match self.shared.memo.find(query) {
            Some(kept) => kept,
            None => self.compute(query, as_of),
        };
        Answered { answer, as_of, standing: self.standing(freshness) }
    }

    fn compute(&self, query: &Query, as_of: Index) -> Arc<Answer> {
        let answer = Arc::new(self.shared.state.load().answer(query));
        self.shared.memo.keep(&self.shared.hub, query, &answer, as_of);
        answer
    }

    /// How this server stands.
    pub(crate) fn standing(&self, freshness: Freshness) -> Standing {
        if self.consensus.confirmed().is_some() {
            return Standing { knows_leader: true, last_contact: Duration::ZERO, freshness };
        }
        let leads = self.consensus.leadership().borrow().is_leader;
        let knows_leader = self.consensus.leader().is_some();
        let last_contact =
            if leads && knows_leader { Duration::ZERO } else { self.consensus.silence() };
        Standing { knows_leader, last_contact, freshness }
    }

    /// Submits what this server decided as the leader of `term`. It is refused if it no longer is,
    /// so that nothing it alone remembered reaches another leader.
    pub(crate) async fn submit_as_leader(
        &self,
        command: Command,
        term: u64,
    ) -> Result<Outcome, Refusal> {
        let deadline = self.deadline(&Call::default());
        let entry = muster_model::encode(&command);
        let decided =
            self.consensus.propose_in_term(entry, term, deadline).await.map_err(refuse)?;
        muster_model::decode(&decided.outcome).map_err(|error| Refusal::Internal(error.to_string()))
    }
}

/// Consensus says what happened to an entry; the door says who must act.
pub(crate) fn refuse(error: ProposeError) -> Refusal {
    match error {
        ProposeError::NotLeader(_) => Refusal::NoLeader,
        ProposeError::TooLarge { bytes, bytes_max } => {
            Refusal::TooLarge { what: "the command", n_bytes: bytes, n_bytes_max: bytes_max }
        }
        ProposeError::Busy => Refusal::TooMany("writes are waiting"),
        full @ ProposeError::DiskFull { .. } => Refusal::Unwritable(full.to_string()),
        stalled @ ProposeError::Stalled { .. } => Refusal::Stalled(stalled.to_string()),
        ProposeError::Unknown => Refusal::Late,
        ProposeError::Voters(why) => Refusal::Invalid(why),
        ProposeError::Stopped => Refusal::Stopping,
    }
}
