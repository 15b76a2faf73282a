//! User events: fired at any agent, spread by gossip, kept by those whom they concern.
//!
//! What gossip carries is the event with its filters in one body; the name travels beside it. An
//! agent without a gossip pool (in tests) keeps what it fires itself.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
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

    /// An event as gossip carries it, once its filters and its size are found to be right.
    pub(super) fn pack(event: &NewEvent, id: &Text) -> Result<Vec<u8>, Refusal> {
        let n_bytes = event.name.len() + event.payload.len();
        if n_bytes > EVENT_BYTES_MAX {
            let n_bytes_max = EVENT_BYTES_MAX;
            return Err(Refusal::TooLarge { what: "an event", n_bytes, n_bytes_max });
        }
        Filters::new(event)?;
        let body = EventBody {
            id: id.clone(),
            payload: event.payload.to_vec().into(),
            node_filter: event.node_filter.clone(),
            service_filter: event.service_filter.clone(),
            tag_filter: event.tag_filter.clone(),
        };
        Ok(minicbor::to_vec(&body).expect("writing to a Vec cannot fail"))
    }

    /// An event as it came by gossip; nothing where another version wrote it otherwise.
    pub(super) fn unpack(name: &str, body: &[u8], lamport_time: u64) -> Option<Event> {
        let body: EventBody = minicbor::decode(body).ok()?;
        let fired = NewEvent {
            name: name.into(),
            payload: Vec::from(body.payload).into(),
            node_filter: body.node_filter,
            service_filter: body.service_filter,
            tag_filter: body.tag_filter,
        };
        Some(Event { id: body.id, fired, lamport_time })
    }

    /// The Lamport time of an event that is fired where there is no gossip.
    pub(super) fn next_time(&self) -> u64 {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).lamport_time + 1
    }

    /// Keeps an event if it concerns this agent.
    pub(super) fn take_in(&self, event: Arc<Event>, identity: &Identity, vouched: &Vouched) {
        let Ok(filters) = Filters::new(&event.fired) else { return };
        let concerns_us = filters.fit(identity, vouched);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.lamport_time = kept.lamport_time.max(event.lamport_time);
        if concerns_us {
            kept.events.push_back(event);
            if kept.events.len() > EVENTS_KEPT {
                kept.events.pop_front();
            }
            self.published.send_replace(kept.events.iter().cloned().collect());
        }
    }
}

/// What gossip carries of an event beside its name.
#[derive(Encode, Decode)]
struct EventBody {
    #[n(0)]
    id: Text,
    #[n(1)]
    payload: ByteVec,
    #[n(2)]
    node_filter: Text,
    #[n(3)]
    service_filter: Text,
    #[n(4)]
    tag_filter: Text,
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
