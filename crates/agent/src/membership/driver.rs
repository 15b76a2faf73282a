//! The task that owns a pool: whatever happens becomes an input, whatever comes out is carried out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use muster_gossip::event::Event;
use muster_gossip::limits::PACKET_BYTES_MAX;
use muster_gossip::pool::SetupError;
use muster_gossip::port::{JoinResult, KeyringResult};
use muster_gossip::{Input, Member, Moment, Notice, Output, Pool};
use muster_world::{Datagram, World};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::streams::{self, Arrival};
use super::{Figures, GossipSockets, KeepKeys, PoolSetup, Published, Wish};

/// Exchanges whose bytes may wait to be taken in.
const ARRIVALS_MAX: usize = 64;
/// Datagrams that are taken in before anything else has its turn.
const PACKETS_AT_ONCE: usize = 64;
/// A datagram that is longer than any that a pool sends is told from one that fits.
const BUFFER_BYTES: usize = PACKET_BYTES_MAX + 1;

type Answer<T> = oneshot::Sender<Result<T, String>>;

/// A pool with all that it needs of the world.
pub(super) struct Driver {
    pool: Pool,
    world: Arc<dyn World>,
    packets: Box<dyn Datagram>,
    started_at: Instant,
    wishes: mpsc::Receiver<Wish>,
    arrivals: mpsc::Receiver<Arrival>,
    arriving: mpsc::Sender<Arrival>,
    accepting: AbortHandle,
    out: Vec<Output>,
    published: watch::Sender<Arc<[Member]>>,
    events: broadcast::Sender<Event>,
    keep_keys: KeepKeys,
    next_number: u64,
    streams: BTreeMap<u64, oneshot::Sender<Vec<u8>>>,
    joins: BTreeMap<u64, Answer<JoinResult>>,
    questions: BTreeMap<u64, Answer<KeyringResult>>,
    leaving: Vec<oneshot::Sender<()>>,
    has_changed: bool,
    figures: Figures,
}

impl Driver {
    pub(super) fn new(
        world: Arc<dyn World>,
        sockets: GossipSockets,
        setup: PoolSetup,
        wishes: mpsc::Receiver<Wish>,
        events: broadcast::Sender<Event>,
    ) -> Result<(Driver, Published), SetupError> {
        let pool = Pool::new(setup.gossip, Moment::default())?;
        let (arriving, arrivals) = mpsc::channel(ARRIVALS_MAX);
        let accepting = tokio::spawn(streams::accept(sockets.streams, arriving.clone()));
        let (published, members) = watch::channel(pool.members().cloned().collect());
        let figures = Arc::new(Mutex::new((pool.counters(), pool.gauges())));
        let driver = Driver {
            figures,
            pool,
            world,
            packets: sockets.packets,
            started_at: Instant::now(),
            wishes,
            arrivals,
            arriving,
            accepting: accepting.abort_handle(),
            out: Vec::new(),
            published,
            events,
            keep_keys: setup.keep_keys,
            next_number: 0,
            streams: BTreeMap::new(),
            joins: BTreeMap::new(),
            questions: BTreeMap::new(),
            leaving: Vec::new(),
            has_changed: false,
        };
        Ok((driver, members))
    }

    /// Runs until nobody holds the membership any more.
    pub(super) async fn run(mut self) {
        let mut buffer = [0; BUFFER_BYTES];
        self.happened(Input::Time);
        loop {
            let due = self.pool.next_deadline().map(|due| self.started_at + due.since_start());
            let idle = self.started_at + std::time::Duration::from_secs(u64::from(u32::MAX));
            tokio::select! {
                biased;
                wish = self.wishes.recv() => match wish {
                    Some(wish) => self.grant(wish),
                    None => return,
                },
                () = sleep_until(due.unwrap_or(idle)) => self.happened(Input::Time),
                received = self.packets.receive(&mut buffer) => {
                    self.received(&mut buffer, received);
                }
                Some(arrival) = self.arrivals.recv() => self.arrived(arrival),
            }
        }
    }

    pub(super) fn figures(&self) -> Figures {
        self.figures.clone()
    }

    fn now(&self) -> Moment {
        Moment::after_start(self.started_at.elapsed())
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    // ------------------------------------------------------------------------ what happens

    fn happened(&mut self, input: Input<'_>) {
        let now = self.now();
        self.pool.set_wall_clock(self.world.wall_clock());
        self.pool.handle(input, now, &mut self.out);
        self.carry_out();
    }

    /// Takes in a datagram, and those that are there already.
    fn received(&mut self, buffer: &mut [u8], first: std::io::Result<(usize, SocketAddr)>) {
        let mut next = first;
        for _ in 0..PACKETS_AT_ONCE {
            match next {
                Ok((length, from)) => {
                    self.happened(Input::Packet { from, bytes: &buffer[..length] });
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                // An earlier datagram could not be delivered: its sender finds that out itself.
                Err(error) => debug!(%error, "a datagram of gossip was not received"),
            }
            next = self.packets.try_receive(buffer);
        }
    }

    fn arrived(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Asked { from, bytes, answer } => {
                let stream = self.number();
                self.streams.insert(stream, answer);
                self.happened(Input::ExchangeAsked { from, stream, bytes: &bytes });
                self.streams.remove(&stream);
            }
            Arrival::Answered { exchange, answered: Ok(bytes) } => {
                self.happened(Input::ExchangeAnswered { exchange, bytes: &bytes });
            }
            Arrival::Answered { exchange, answered: Err(reason) } => {
                self.happened(Input::ExchangeFailed { exchange, reason: &reason });
            }
        }
    }

    fn grant(&mut self, wish: Wish) {
        let (now, number) = (self.now(), self.number());
        self.pool.set_wall_clock(self.world.wall_clock());
        // Whoever asked may have gone; then nobody needs the answer.
        match wish {
            Wish::Join(addresses, answer) => {
                match self.pool.join(&addresses, number, now, &mut self.out) {
                    Ok(()) => drop(self.joins.insert(number, answer)),
                    Err(error) => drop(answer.send(Err(error.to_string()))),
                }
            }
            Wish::Leave(answer) => {
                self.leaving.push(answer);
                self.pool.leave(now, &mut self.out);
            }
            Wish::ForceLeave(name, is_pruned, answer) => {
                let left = self.pool.force_leave(&name, is_pruned, now, &mut self.out);
                let _ = answer.send(left);
            }
            Wish::Fire(name, payload, answer) => {
                let fired = self.pool.fire(&name, &payload, now, &mut self.out);
                let _ = answer.send(fired.map_err(|error| error.to_string()));
            }
            Wish::Keyring(wish, wait, answer) => {
                match self.pool.ask_keyring(&wish, number, wait, now, &mut self.out) {
                    Ok(()) => drop(self.questions.insert(number, answer)),
                    Err(error) => drop(answer.send(Err(error.to_string()))),
                }
            }
            Wish::OwnKeyring(answer) => {
                let keys = self.pool.keyring().map(|keyring| keyring.keys().to_vec());
                let _ = answer.send(keys.unwrap_or_default());
            }
            Wish::Places(answer) => {
                let place = |member: &Member| {
                    let name = member.name().as_str();
                    Some((name.to_owned(), self.pool.coordinate_of(name)?.clone()))
                };
                let _ = answer.send(self.pool.members().filter_map(place).collect());
            }
            Wish::Snapshot(answer) => drop(answer.send(self.pool.snapshot())),
        }
        self.carry_out();
    }

    // ------------------------------------------------------------------------ what is to be done

    fn carry_out(&mut self) {
        for output in std::mem::take(&mut self.out) {
            match output {
                // A datagram that the machine does not take now is lost like any other.
                Output::Packet { to, bytes } => drop(self.packets.try_send(&bytes, to)),
                Output::Exchange { exchange, to, bytes } => self.ask(exchange, to, bytes),
                Output::Answer { stream, bytes } => {
                    if let Some(answer) = self.streams.remove(&stream) {
                        let _ = answer.send(bytes);
                    }
                }
                Output::Notice(notice) => self.notice(notice),
            }
        }
        if std::mem::take(&mut self.has_changed) {
            self.published.send_replace(self.pool.members().cloned().collect());
        }
        let figures = (self.pool.counters(), self.pool.gauges());
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner) = figures;
    }

    fn ask(&self, exchange: u64, to: SocketAddr, bytes: Vec<u8>) {
        let (world, arriving) = (self.world.clone(), self.arriving.clone());
        tokio::spawn(async move {
            let answered = streams::ask(world, to, bytes).await;
            // The pool may be gone.
            let _ = arriving.send(Arrival::Answered { exchange, answered }).await;
        });
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Joined(member) => self.tell("joined", &member),
            Notice::Failed(member) => self.tell("failed", &member),
            Notice::Left(member) => self.tell("left", &member),
            Notice::Reaped(member) => self.tell("forgotten", &member),
            Notice::Updated(_) | Notice::Suspected(_) | Notice::Refuted(_) => {
                self.has_changed = true;
            }
            // Nobody may be listening.
            Notice::Event(event) => drop(self.events.send(event)),
            Notice::JoinFinished(result) => {
                if let Some(answer) = self.joins.remove(&result.token) {
                    let _ = answer.send(Ok(result));
                }
            }
            Notice::KeyringAnswered(result) => {
                if let Some(answer) = self.questions.remove(&result.token) {
                    let _ = answer.send(Ok(result));
                }
            }
            Notice::LeaveFinished => {
                for answer in self.leaving.drain(..) {
                    let _ = answer.send(());
                }
            }
            Notice::KeyringChanged(keys) => (self.keep_keys)(&keys),
            Notice::Conflict(conflict) if conflict.is_refused_here => warn!(
                name = %conflict.name, holder = %conflict.holder,
                "another member has this agent's name: give this one another node_name, or stop \
                 the other"
            ),
            Notice::Conflict(conflict) => warn!(
                name = %conflict.name, holder = %conflict.holder, claimant = %conflict.claimant,
                "two members have one name: give one of them another node_name"
            ),
            Notice::ClockOff(off) => warn!(
                pool = self.pool.label(), member = %off.name, ahead_s = off.ahead_s,
                "the clock of a member and this one's are far apart: set the one that is wrong \
                 (NTP does); it could not join as it is"
            ),
            Notice::Refused(refused) => {
                let (pool, n) = (self.pool.label(), refused.n_since_told);
                warn!(pool, from = %refused.from, n, "gossip was refused: {}", refused.why);
            }
            Notice::AtLimit(what) => warn!(pool = self.pool.label(), "{what}"),
        }
    }

    fn tell(&mut self, what: &str, member: &Member) {
        self.has_changed = true;
        let (name, address) = (member.name(), member.address());
        info!(pool = self.pool.label(), member = %name, %address, "member {what}");
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
