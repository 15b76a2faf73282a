//! One gossip pool of this agent, running: the sockets and the clock around the rules of `gossip`.
//!
//! The rules are in a [`muster_gossip::Pool`], which belongs to one task (`driver`). Everybody else
//! holds a [`Membership`]: what the pool believes is published as a list that wakes who watches it,
//! and wishes travel to the task. Datagrams and streams share one port (`sockets`, `streams`).
//!
//! Not here: what follows from a member's failure. That is decided by whoever watches.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use muster_gossip::Member;
use muster_gossip::coordinate::Coordinate;
use muster_gossip::counters::{Counters, Gauges};
use muster_gossip::event::Event;
use muster_gossip::keyring::Key;
use muster_gossip::pool::{ForceLeaveError, SetupError};
use muster_gossip::port::{JoinResult, KeyringResult};
use muster_gossip::question::KeyringWish;
use muster_registry::Refusal;
use muster_world::World;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

mod driver;
mod sockets;
mod streams;

pub use sockets::GossipSockets;

use driver::Driver;

/// Wishes that may wait for the pool's task.
const WISHES_MAX: usize = 256;
/// Events that a slow listener may miss.
const EVENTS_KEPT: usize = 256;
/// Addresses of one host that are tried in a join.
const ADDRESSES_TRIED: usize = 8;
/// How long the others may take to hear that this member leaves.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a join may take.
const JOIN_TIMEOUT: Duration = Duration::from_secs(20);

/// What a pool is made of, apart from its sockets.
pub(crate) struct PoolSetup {
    pub(crate) gossip: muster_gossip::Setup,
    /// The port of addresses that name none.
    pub(crate) usual_port: u16,
    /// Told of the keys whenever they change, so that they are kept.
    pub(crate) keep_keys: KeepKeys,
}

/// Keeps the keys of a pool.
pub(crate) type KeepKeys = Box<dyn Fn(&[Key]) + Send + Sync>;

/// The members, as they are published.
type Published = watch::Receiver<Arc<[Member]>>;

/// Where members stand on the round-trip map, as far as this one knows.
pub(crate) type Places = Vec<(String, Coordinate)>;

/// One gossip pool of this agent.
pub struct Membership {
    wishes: mpsc::Sender<Wish>,
    members: Published,
    events: broadcast::Sender<Event>,
    figures: Figures,
    world: Arc<dyn World>,
    usual_port: u16,
    task: AbortHandle,
}

/// Written by the pool's task after each turn, read for metrics.
type Figures = Arc<Mutex<(Counters, Gauges)>>;

/// What the pool's task is asked for, and where the answer goes.
enum Wish {
    Join(Vec<SocketAddr>, oneshot::Sender<Result<JoinResult, String>>),
    Leave(oneshot::Sender<()>),
    ForceLeave(String, bool, oneshot::Sender<Result<(), ForceLeaveError>>),
    Fire(String, Vec<u8>, oneshot::Sender<Result<u64, String>>),
    Keyring(Box<KeyringWish>, Duration, oneshot::Sender<Result<KeyringResult, String>>),
    OwnKeyring(oneshot::Sender<Vec<Key>>),
    Places(oneshot::Sender<Places>),
    Snapshot(oneshot::Sender<Vec<u8>>),
}

impl Membership {
    /// Starts a pool in which this member is alone.
    pub(crate) fn start(
        world: Arc<dyn World>,
        sockets: GossipSockets,
        setup: PoolSetup,
    ) -> Result<Membership, SetupError> {
        let (wishes, waiting) = mpsc::channel(WISHES_MAX);
        let events = broadcast::Sender::new(EVENTS_KEPT);
        let usual_port = setup.usual_port;
        let (driver, members) =
            Driver::new(world.clone(), sockets, setup, waiting, events.clone())?;
        let figures = driver.figures();
        let task = tokio::spawn(driver.run()).abort_handle();
        Ok(Membership { wishes, members, events, figures, world, usual_port, task })
    }

    /// All members by name, this one included. Wakes at every change.
    pub fn members(&self) -> watch::Receiver<Arc<[Member]>> {
        self.members.clone()
    }

    /// User events from now on, those fired here included.
    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Joins by the members at some addresses, each `host` or `host:port`. Gives how many of them
    /// answered.
    ///
    /// # Errors
    /// Where none did: why not, for each.
    pub(crate) async fn join(&self, addresses: &[String]) -> Result<usize, Refusal> {
        let mut found = Vec::new();
        let mut failures = Vec::new();
        for address in addresses {
            match self.world.resolve(&with_port(address, self.usual_port)).await {
                Ok(resolved) => found.extend(resolved.into_iter().take(ADDRESSES_TRIED)),
                Err(error) => failures.push(format!("{address}: {error}")),
            }
        }
        if !found.is_empty() {
            let joining = self.ask(|answer| Wish::Join(found, answer));
            let joined = timeout(JOIN_TIMEOUT, joining).await.map_err(|_| Refusal::Late)??;
            let joined = joined.map_err(Refusal::Invalid)?;
            if joined.n_joined > 0 {
                return Ok(joined.n_joined);
            }
            failures.extend(joined.failures.iter().map(|(at, why)| format!("{at}: {why}")));
        }
        let n = failures.len();
        Err(Refusal::Invalid(format!("{n} error(s) occurred: {}", failures.join("; "))))
    }

    /// Tells the others that this member leaves, and waits until they have heard.
    pub(crate) async fn leave(&self) {
        let leaving = timeout(LEAVE_TIMEOUT, self.ask(Wish::Leave)).await;
        if !matches!(leaving, Ok(Ok(()))) {
            tracing::warn!("the others may not have heard that this agent leaves");
        }
    }

    /// Has a failed member count as left; with `is_pruned` forgets it.
    pub(crate) async fn force_leave(&self, name: &str, is_pruned: bool) -> Result<(), Refusal> {
        let name = name.to_owned();
        let left = self.ask(|answer| Wish::ForceLeave(name, is_pruned, answer)).await?;
        match left {
            // Who asks answers, and who answers stays, as any member that is alive does.
            Ok(()) | Err(ForceLeaveError::Myself) => Ok(()),
            Err(unknown) => Err(Refusal::Unknown(unknown.to_string())),
        }
    }

    /// Fires an event; gives its Lamport time.
    pub(crate) async fn fire(&self, name: &str, payload: Vec<u8>) -> Result<u64, Refusal> {
        let name = name.to_owned();
        let fired = self.ask(|answer| Wish::Fire(name, payload, answer)).await?;
        fired.map_err(Refusal::Invalid)
    }

    /// Asks all members something about their keys.
    pub(crate) async fn ask_keyring(
        &self,
        wish: KeyringWish,
        wait: Duration,
    ) -> Result<KeyringResult, Refusal> {
        let asked = self.ask(|answer| Wish::Keyring(Box::new(wish), wait, answer)).await?;
        asked.map_err(Refusal::Invalid)
    }

    /// The keys of this member, the one in use first.
    pub(crate) async fn own_keys(&self) -> Result<Vec<Key>, Refusal> {
        self.ask(Wish::OwnKeyring).await
    }

    /// Where the members stand, this one included.
    pub(crate) async fn places(&self) -> Result<Places, Refusal> {
        self.ask(Wish::Places).await
    }

    /// What was counted, and how the pool stands.
    pub(crate) fn figures(&self) -> (Counters, Gauges) {
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Peers to join after a restart.
    pub(crate) async fn snapshot(&self) -> Result<Vec<u8>, Refusal> {
        self.ask(Wish::Snapshot).await
    }

    async fn ask<T>(&self, wish: impl FnOnce(oneshot::Sender<T>) -> Wish) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.wishes.send(wish(answer)).await.map_err(|_| Refusal::Stopping)?;
        answered.await.map_err(|_| Refusal::Stopping)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// `host:port`, with the usual port where none is named. An IPv6 address without brackets names
/// none.
fn with_port(address: &str, usual: u16) -> String {
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<std::net::Ipv6Addr>().is_ok() {
        return format!("[{bare}]:{usual}");
    }
    let names_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if names_port { address.to_owned() } else { format!("{address}:{usual}") }
}

#[cfg(test)]
mod tests {
    use super::with_port;

    #[test]
    fn an_address_without_a_port_gets_the_usual_one() {
        for (address, whole) in [
            ("10.0.0.1", "10.0.0.1:8301"),
            ("10.0.0.1:9", "10.0.0.1:9"),
            ("node.example", "node.example:8301"),
            ("::1", "[::1]:8301"),
            ("[::1]", "[::1]:8301"),
            ("[::1]:9", "[::1]:9"),
        ] {
            assert_eq!(with_port(address, 8301), whole);
        }
    }
}
