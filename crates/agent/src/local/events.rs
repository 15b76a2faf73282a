//! User events: fired here, kept here. Gossip will spread them between agents.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use muster_model::Text;
use muster_registry::Refusal;
use muster_registry::local::{EVENTS_KEPT, Event, Identity, NewEvent, Vouched};
use regex::{Regex, RegexBuilder};
use tokio::sync::watch;

/// Bytes of an event's name and payload together: it has to fit into a datagram with others.
const EVENT_BYTES_MAX: usize = 512;
/// Bytes that a compiled filter may take.
const FILTER_BYTES_MAX: usize = 1 << 18;

/// The events seen last.
pub(super) struct Events {
    kept: Mutex<Kept>,
    published: watch::Sender<Arc<[Arc<Event>]>>,
}

#[derive(Default)]
struct Kept {
    events: VecDeque<Arc<Event>>,
    lamport_time: u64,
}

impl Events {
    pub(super) fn new() -> Events {
        Events { kept: Mutex::default(), published: watch::Sender::new(Arc::new([])) }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Arc<[Arc<Event>]>> {
        self.published.subscribe()
    }

    /// Fires an event. It is kept here only if its filters fit this agent, like anybody's.
    pub(super) fn fire(
        &self,
        fired: NewEvent,
        id: Text,
        identity: &Identity,
        vouched: &Vouched,
    ) -> Result<Arc<Event>, Refusal> {
        let n_bytes = fired.name.len() + fired.payload.len();
        if n_bytes > EVENT_BYTES_MAX {
            let n_bytes_max = EVENT_BYTES_MAX;
            return Err(Refusal::TooLarge { what: "an event", n_bytes, n_bytes_max });
        }
        let concerns_us = Filters::new(&fired)?.fit(identity, vouched);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.lamport_time += 1;
        let event = Arc::new(Event { id, fired, lamport_time: kept.lamport_time });
        if concerns_us {
            kept.events.push_back(event.clone());
            if kept.events.len() > EVENTS_KEPT {
                kept.events.pop_front();
            }
            self.published.send_replace(kept.events.iter().cloned().collect());
        }
        Ok(event)
    }
}

/// Whom an event concerns.
struct Filters {
    node: Option<Regex>,
    service: Option<Regex>,
    tag: Option<Regex>,
}

impl Filters {
    fn new(event: &NewEvent) -> Result<Filters, Refusal> {
        let filters = Filters {
            node: filter("node", &event.node_filter)?,
            service: filter("service", &event.service_filter)?,
            tag: filter("tag", &event.tag_filter)?,
        };
        if filters.tag.is_some() && filters.service.is_none() {
            return Err(Refusal::Invalid(
                "Cannot provide tag filter without service filter".into(),
            ));
        }
        Ok(filters)
    }

    fn fit(&self, identity: &Identity, vouched: &Vouched) -> bool {
        if self.node.as_ref().is_some_and(|filter| !filter.is_match(&identity.node)) {
            return false;
        }
        let Some(service) = &self.service else { return true };
        vouched.instances().map(|own| &own.instance).any(|instance| {
            let fits_tag = |filter: &Regex| instance.tags.iter().any(|tag| filter.is_match(tag));
            service.is_match(&instance.service) && self.tag.as_ref().is_none_or(fits_tag)
        })
    }
}

fn filter(what: &str, expression: &Text) -> Result<Option<Regex>, Refusal> {
    if expression.is_empty() {
        return Ok(None);
    }
    let built = RegexBuilder::new(expression).size_limit(FILTER_BYTES_MAX).build();
    built.map(Some).map_err(|error| Refusal::Invalid(format!("Invalid {what} filter: {error}")))
}
