//! The connections that an agent opens to others: one to each target and lane, dialed on demand,
//! kept, and closed when idle.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use muster_world::World;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::counters::{Counters, Tally};
use crate::drive::Stage;
use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::hello::{Hello, Lane, Target};
use crate::limits::Limits;
use crate::link::Link;
use crate::security::Security;
use crate::slot::{Dialer, Slot};

/// Outgoing connections. Dropping it closes them all, and fails what is open on them.
pub struct Pool {
    dialer: Arc<Dialer>,
    slots: Mutex<BTreeMap<(Target, Lane), Arc<Slot>>>,
    /// Held for the connections, which end when it is dropped.
    _stage: watch::Sender<Stage>,
}

impl Pool {
    /// An empty pool. `hello` is what every acceptor is told of this agent; one with a field over
    /// its limit fails each dial with [`Fault::TooLarge`].
    #[must_use]
    pub fn new(
        world: Arc<dyn World>,
        hello: Hello,
        limits: Limits,
        security: Arc<dyn Security>,
    ) -> Arc<Self> {
        let (stage, watching) = watch::channel(Stage::Serving);
        let dialer = Dialer {
            world,
            hello,
            limits: Arc::new(limits),
            security,
            tally: Arc::new(Tally::default()),
            stage: watching,
        };
        Arc::new(Self { dialer: Arc::new(dialer), slots: Mutex::default(), _stage: stage })
    }

    /// Asks and waits for the answer. Dropping the future cancels the call.
    ///
    /// A connection that dies before the request has left is dialed again once; a request that has
    /// left is never sent twice ([`Fault::may_have_been_served`]).
    pub async fn call(
        &self,
        to: impl Into<Target>,
        lane: Lane,
        method: u16,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Bytes, Fault> {
        let slot = self.slot(to.into(), lane)?;
        let link = slot.link(&self.dialer, deadline).await?;
        match link.call(method, body.clone(), deadline).await {
            Err(Fault::Unreachable(_)) => {}
            answered => return answered,
        }
        let link = slot.link(&self.dialer, deadline).await?;
        link.call(method, body, deadline).await
    }

    /// Opens an exchange. The deadline bounds the dial and the opening; what follows has the
    /// deadlines that its user sets.
    pub async fn open(
        &self,
        to: impl Into<Target>,
        lane: Lane,
        method: u16,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Exchange, Fault> {
        let slot = self.slot(to.into(), lane)?;
        let link: Arc<Link> = slot.link(&self.dialer, deadline).await?;
        match link.open(method, body.clone(), false, deadline).await {
            Err(Fault::Unreachable(_)) => {}
            opened => return opened,
        }
        let link = slot.link(&self.dialer, deadline).await?;
        link.open(method, body, false, deadline).await
    }

    /// Forgets an address: its connections take no more exchanges and close when those that are
    /// open have ended. A later call dials anew, without a pause.
    pub fn forget(&self, to: SocketAddr) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|(target, _), slot| {
            let is_kept = target.address != to;
            if !is_kept {
                slot.retire();
            }
            is_kept
        });
    }

    /// What has happened so far.
    pub fn counters(&self) -> Counters {
        self.dialer.tally.read()
    }

    fn slot(&self, target: Target, lane: Lane) -> Result<Arc<Slot>, Fault> {
        let key = (target, lane);
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(&key) {
            return Ok(Arc::clone(slot));
        }
        if slots.len() >= self.dialer.limits.targets_max {
            let now = Instant::now();
            slots.retain(|_, slot| !slot.is_idle(now));
        }
        if slots.len() >= self.dialer.limits.targets_max {
            return Err(Fault::Busy);
        }
        let slot = Slot::new(key.0.clone(), lane);
        slots.insert(key, Arc::clone(&slot));
        Ok(slot)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("counters", &self.counters()).finish_non_exhaustive()
    }
}
