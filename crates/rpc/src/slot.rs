//! A place in a pool: the connection to one target on one lane, dialed when it is needed.
//!
//! Callers that come while it is being dialed wait for the same dial, which is a task of its own:
//! a caller that leaves takes nothing from the others. After a failed dial there is a pause, in
//! which calls fail at once with what the dial said; it doubles with each failure.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use muster_world::{Address, World};
use tokio::io::split;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use crate::counters::{Tally, count};
use crate::drive::Stage;
use crate::fault::Fault;
use crate::handshake::introduce;
use crate::hello::{Greeting, Hello, Lane, Target};
use crate::inbox::Inbox;
use crate::limits::Limits;
use crate::link::{Link, Role};
use crate::security::Security;

/// What a pool dials with.
pub(crate) struct Dialer {
    pub(crate) world: Arc<dyn World>,
    pub(crate) hello: Hello,
    pub(crate) limits: Arc<Limits>,
    pub(crate) security: Arc<dyn Security>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) stage: watch::Receiver<Stage>,
}

type Dialed = Result<Arc<Link>, Fault>;

pub(crate) struct Slot {
    target: Target,
    lane: Lane,
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    link: Option<Arc<Link>>,
    /// The dial that is under way.
    dialing: Option<watch::Receiver<Option<Dialed>>>,
    /// Failed dials since the last that did not.
    n_failures: u32,
    /// Until when there is no other dial, and what the last one said.
    pause: Option<(Instant, Fault)>,
}

impl Slot {
    pub(crate) fn new(target: Target, lane: Lane) -> Arc<Self> {
        Arc::new(Self { target, lane, line: Mutex::default() })
    }

    /// The connection, dialed if there is none that takes exchanges.
    pub(crate) async fn link(
        self: &Arc<Self>,
        dialer: &Arc<Dialer>,
        deadline: Instant,
    ) -> Result<Arc<Link>, Fault> {
        let mut dialing = {
            let mut line = self.lock();
            if let Some(link) = line.link.as_ref().filter(|link| link.is_open()) {
                return Ok(Arc::clone(link));
            }
            line.link = None;
            if let Some((until, fault)) = &line.pause
                && Instant::now() < *until
            {
                return Err(fault.clone());
            }
            line.dialing.get_or_insert_with(|| self.start_dial(dialer)).clone()
        };
        let dialed = timeout_at(deadline, dialing.wait_for(Option::is_some)).await;
        let Ok(dialed) = dialed.map_err(|_| Fault::Late)? else {
            // The dial ended without a result, as tasks do when their runtime goes down.
            self.lock().dialing = None;
            return Err(Fault::Stopped);
        };
        dialed.clone().unwrap_or(Err(Fault::Stopped))
    }

    /// Whether there is nothing to keep it for.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        let line = self.lock();
        let is_paused = line.pause.as_ref().is_some_and(|(until, _)| now < *until);
        let is_linked = line.link.as_ref().is_some_and(|link| link.is_open());
        line.dialing.is_none() && !is_paused && !is_linked
    }

    /// Takes no more exchanges on the connection; those that are open may end.
    pub(crate) fn retire(&self) {
        if let Some(link) = self.lock().link.take() {
            link.leave();
            link.retiring.notify_one();
        }
    }

    fn start_dial(self: &Arc<Self>, dialer: &Arc<Dialer>) -> watch::Receiver<Option<Dialed>> {
        let (done, dialing) = watch::channel(None);
        let (slot, dialer) = (Arc::clone(self), Arc::clone(dialer));
        tokio::spawn(async move {
            let dialed = slot.dial(&dialer).await;
            slot.note(&dialer, &dialed);
            done.send_replace(Some(dialed));
        });
        dialing
    }

    fn note(&self, dialer: &Dialer, dialed: &Dialed) {
        let mut line = self.lock();
        line.dialing = None;
        match dialed {
            Ok(link) => {
                *line = Line { link: Some(Arc::clone(link)), ..Line::default() };
            }
            Err(fault) => {
                let limits = &dialer.limits;
                let factor = 1_u32.checked_shl(line.n_failures).unwrap_or(u32::MAX);
                let pause = limits.redial_pause_min.saturating_mul(factor);
                let until = Instant::now() + pause.min(limits.redial_pause_max);
                line.pause = Some((until, fault.clone()));
                line.n_failures = line.n_failures.saturating_add(1);
            }
        }
    }

    async fn dial(&self, dialer: &Arc<Dialer>) -> Dialed {
        let dialed = match timeout(dialer.limits.dial_timeout, self.connect(dialer)).await {
            Ok(dialed) => dialed,
            Err(_) => {
                let within = dialer.limits.dial_timeout;
                let what = format!("{} did not answer within {within:?}", self.target.address);
                Err(Fault::Unreachable(what))
            }
        };
        if let Err(fault) = &dialed {
            count(&dialer.tally.dials_failed);
            dialer.tally.complain(&self.target.address.into(), &fault.to_string());
        }
        dialed
    }

    async fn connect(&self, dialer: &Arc<Dialer>) -> Dialed {
        let address = Address::from(self.target.address);
        let stream =
            dialer.world.connect(&address).await.map_err(|error| {
                Fault::Unreachable(format!("cannot connect to {address}: {error}"))
            })?;
        let secured = dialer.security.connect(stream, &self.target).await;
        let stream = secured.map_err(|error| {
            Fault::Protocol(format!("cannot secure the connection to {address}: {error}"))
        })?;
        let (read, mut write) = split(stream);
        let mut inbox = Inbox::new(read);
        let terms = dialer.limits.terms();
        let ours = Greeting { hello: dialer.hello.clone(), lane: self.lane, terms };
        let met = introduce(&mut inbox, &mut write, &ours, &address).await?;
        let (limits, tally) = (Arc::clone(&dialer.limits), Arc::clone(&dialer.tally));
        let link = Link::new(met.peer, met.theirs, Role::Dialer, limits, tally);
        tokio::spawn(Arc::clone(&link).drive(inbox, write, dialer.stage.clone()));
        Ok(link)
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
