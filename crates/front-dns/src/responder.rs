//! From the bytes of a query to the bytes of a response, without waiting.
//!
//! This is the seam between the sockets above and everything pure below: [`Responder::answer`]
//! takes bytes and gives bytes, or says what has to be waited for.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use muster_registry::Registry;
use muster_registry::local::Identity;

use crate::compose::{Found, Scratch, Terms, Transport};
use crate::inquiry::{Given, Inquiry, Need};
use crate::metrics::{Fate, Metrics};
use crate::settings::{BadSettings, Settings};
use crate::setup::Setup;
use crate::wire::query::{DnsQuery, Unreadable, parse};
use crate::wire::writer::Writer;
use crate::wire::{CLASS_ANY, CLASS_IN, Rcode, kind};

/// Tells the wall time since the start of 1970: serial numbers are made of it.
pub type WallClock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Answers questions.
pub struct Responder {
    registry: Arc<dyn Registry>,
    identity: Identity,
    setup: ArcSwap<Setup>,
    wall_clock: WallClock,
    metrics: Metrics,
}

/// Who asks, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// How it is connected.
    pub transport: Transport,
    /// Its address.
    pub ip: IpAddr,
}

/// What to do about a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Send the response that was appended to [`Scratch::out`].
    Ready,
    /// Send nothing.
    Dropped,
    /// Give the query to a recursor.
    Forward,
    /// Wait for this, then begin again.
    Wait(Need),
}

impl Responder {
    /// A responder that answers from `registry`, for the agent that `identity` tells.
    ///
    /// # Errors
    /// [`BadSettings`], for the operator.
    pub fn new(
        registry: Arc<dyn Registry>,
        identity: &Identity,
        settings: Settings,
        wall_clock: WallClock,
    ) -> Result<Responder, BadSettings> {
        let setup = ArcSwap::from_pointee(Setup::new(settings, identity)?);
        let (identity, metrics) = (identity.clone(), Metrics::default());
        Ok(Responder { registry, identity, setup, wall_clock, metrics })
    }

    /// Takes other settings into use. Questions that are being answered keep theirs.
    ///
    /// # Errors
    /// [`BadSettings`], for the operator; the settings in effect stay.
    pub fn reload(&self, settings: Settings) -> Result<(), BadSettings> {
        self.setup.store(Arc::new(Setup::new(settings, &self.identity)?));
        Ok(())
    }

    /// What has been done so far.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Counts a question that was answered elsewhere.
    pub(crate) fn count(&self, fate: Fate, client: Client) {
        self.metrics.add(fate, client.transport);
    }

    /// What questions are asked of.
    pub(crate) fn registry(&self) -> &dyn Registry {
        &*self.registry
    }

    /// The settings in effect.
    pub(crate) fn setup(&self) -> Arc<Setup> {
        self.setup.load_full()
    }

    /// Answers a query from what is at hand.
    pub fn answer(&self, message: &[u8], client: Client, scratch: &mut Scratch) -> Reply {
        self.answer_given(message, client, &Given::default(), scratch)
    }

    /// Answers a query from what is at hand and what was waited for.
    pub fn answer_given(
        &self,
        message: &[u8],
        client: Client,
        given: &Given,
        scratch: &mut Scratch,
    ) -> Reply {
        let query = match parse(message) {
            Ok(query) => query,
            Err(unreadable) => return self.answer_unreadable(unreadable, client, scratch),
        };
        if let Some(rcode) = rcode_of_unserved(&query) {
            self.metrics.add(Fate::Refused, client.transport);
            let writer = Writer::answering(&mut scratch.out, &query, true);
            writer.finish(rcode, query.edns.as_ref(), false);
            return Reply::Ready;
        }
        self.answer_query(&query, client, given, scratch)
    }

    fn answer_query(
        &self,
        query: &DnsQuery<'_>,
        client: Client,
        given: &Given,
        scratch: &mut Scratch,
    ) -> Reply {
        let setup = self.setup.load();
        let (registry, wall_clock) = (self.registry(), &self.wall_clock);
        let inquiry =
            Inquiry { setup: &setup, registry, query, client: client.ip, given, wall_clock };
        let (found, zone) = match inquiry.run() {
            Ok(Some(found)) => found,
            Ok(None) => return Reply::Forward,
            Err(need) => return Reply::Wait(need),
        };
        let terms = Terms { query, setup: &setup, transport: client.transport, zone, wall_clock };
        if terms.write(&found, scratch) {
            self.metrics.add_left_out();
        }
        self.metrics.add(fate_of(&found), client.transport);
        Reply::Ready
    }

    fn answer_unreadable(
        &self,
        unreadable: Unreadable,
        client: Client,
        scratch: &mut Scratch,
    ) -> Reply {
        match unreadable {
            Unreadable::NotAQuery => {
                self.metrics.add(Fate::Dropped, client.transport);
                Reply::Dropped
            }
            Unreadable::Refused { id, flags, rcode } => {
                self.metrics.add(Fate::Malformed, client.transport);
                Writer::bare(&mut scratch.out, id, flags).finish(rcode, None, false);
                Reply::Ready
            }
        }
    }

    /// Tells the client that its question could not be answered.
    pub(crate) fn fail(&self, message: &[u8], client: Client, scratch: &mut Scratch) -> Reply {
        let Ok(query) = parse(message) else { return Reply::Dropped };
        let setup = self.setup.load();
        let terms = Terms {
            query: &query,
            setup: &setup,
            transport: client.transport,
            zone: None,
            wall_clock: &self.wall_clock,
        };
        terms.write(&Found::Failed, scratch);
        self.metrics.add(Fate::Failed, client.transport);
        Reply::Ready
    }
}

/// The code for a readable query that is not looked up at all.
fn rcode_of_unserved(query: &DnsQuery<'_>) -> Option<Rcode> {
    if query.edns.is_some_and(|edns| edns.version != 0) {
        return Some(Rcode::BadVers);
    }
    if matches!(query.kind, kind::AXFR | kind::IXFR) {
        return Some(Rcode::NotImp);
    }
    (!matches!(query.class, CLASS_IN | CLASS_ANY)).then_some(Rcode::Refused)
}

fn fate_of(found: &Found) -> Fate {
    match found {
        Found::Records(_) => Fate::Answered,
        Found::NoData => Fate::NoData,
        Found::NoName => Fate::NoName,
        Found::Failed => Fate::Failed,
        Found::Refused => Fate::Refused,
    }
}
