//! Asking the registry without waiting: what is at hand, else what was waited for, else the need.

use std::sync::Arc;

use muster_model::answer::Answer;
use muster_model::{Query, Text};
use muster_registry::{Answered, Asking, Call, Freshness, Refusal};

use super::{Inquiry, Need, Stop};
use crate::compose::Found;

impl Inquiry<'_> {
    /// The registry's answer, if it is at hand or was waited for.
    pub(super) fn ask(&self, datacenter: Option<&str>, query: Query) -> Result<Arc<Answer>, Stop> {
        let is_own = datacenter.is_none_or(|named| *named == *self.setup.datacenter);
        let result = if is_own {
            self.at_hand(&self.setup.call, &query)
        } else {
            self.at_hand(&self.setup.call_to(datacenter), &query)
        };
        let result = result.or_else(|| {
            let mut given = self.given.answers.iter();
            let (_, result) = given.find(|(need, _)| {
                matches!(need, Need::Registry { datacenter: own_datacenter, query: own }
                    if *own == query && own_datacenter.as_deref() == datacenter.filter(|_| !is_own))
            })?;
            Some(result.clone())
        });
        match result {
            Some(Ok(answered)) => Ok(answered.answer),
            Some(Err(refusal)) => Err(Stop::Found(found_for(&refusal))),
            None => {
                let datacenter = datacenter.filter(|_| !is_own).map(Text::from);
                Err(Stop::Need(Need::Registry { datacenter, query }))
            }
        }
    }

    fn at_hand(&self, call: &Call, query: &Query) -> Option<Result<Answered, Refusal>> {
        let settings = &self.setup.settings;
        if settings.allow_stale {
            let answered = self.registry.peek(call, query)?;
            let is_fresh = answered.standing.last_contact <= settings.max_stale;
            return is_fresh.then_some(Ok(answered));
        }
        match self.registry.ask(call, query, Freshness::Default) {
            Asking::Ready(result) => result,
            Asking::Waiting(_) => None,
        }
    }
}

/// What a refusal looks like in DNS.
fn found_for(refusal: &Refusal) -> Found {
    match refusal {
        Refusal::NoDatacenter(_)
        | Refusal::Unknown(_)
        | Refusal::Invalid(_)
        | Refusal::Forbidden(_) => Found::NoName,
        _ => Found::Failed,
    }
}
