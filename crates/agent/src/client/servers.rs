//! Which server a client agent speaks to.
//!
//! It stays with one, so that what it sees comes from one place in the log, and leaves it when it
//! fails, when it is no longer among those that are known, or, so that the load stays even when
//! servers come and go, after some minutes that chance draws out. Where it goes is drawn by chance:
//! ten thousand agents that lose a server find others evenly.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::ClientSettings;

/// The servers that are known, as gossip has them.
pub type Known = watch::Receiver<Arc<[SocketAddr]>>;

/// The servers, and which of them it is.
pub struct Servers {
    known: Known,
    chosen: Mutex<Chosen>,
    /// The server that it is now.
    current: watch::Sender<Option<SocketAddr>>,
    failed_for: Duration,
    stay: Duration,
}

struct Chosen {
    /// Servers that failed, and when.
    failed: BTreeMap<SocketAddr, Instant>,
    chance: SmallRng,
}

impl Servers {
    pub(crate) fn new(known: Known, settings: &ClientSettings) -> Arc<Servers> {
        let chance = SmallRng::from_seed(settings.seed);
        Arc::new(Servers {
            known,
            chosen: Mutex::new(Chosen { failed: BTreeMap::new(), chance }),
            current: watch::Sender::new(None),
            failed_for: settings.failed_for,
            stay: settings.stay,
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.known.borrow().len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.known.borrow().is_empty()
    }

    /// The server that it is now. Wakes when it is another.
    pub fn current(&self) -> watch::Receiver<Option<SocketAddr>> {
        self.current.subscribe()
    }

    /// The one to speak to, of those that were not tried: the present one, else another.
    pub(crate) fn choose(&self, tried: &[SocketAddr]) -> Option<SocketAddr> {
        let known = self.known.borrow().clone();
        let is_open = |server: &SocketAddr| known.contains(server) && !tried.contains(server);
        let current = *self.current.borrow();
        if let Some(current) = current.filter(is_open) {
            return Some(current);
        }
        let open: Vec<SocketAddr> = known.iter().copied().filter(is_open).collect();
        let next = self.lock().draw(&open, self.failed_for)?;
        if !current.is_some_and(|current| known.contains(&current)) {
            self.current.send_replace(Some(next));
        }
        Some(next)
    }

    /// A server was reached where the present one was not, or did not know what to do.
    pub(crate) fn prefer(&self, server: SocketAddr) {
        self.lock().failed.remove(&server);
        self.move_to(server);
    }

    /// A server could not be reached, or does not answer.
    pub(crate) fn note_failed(&self, server: SocketAddr) {
        let known = self.known.borrow().clone();
        let mut chosen = self.lock();
        chosen.failed.retain(|own, _| known.contains(own));
        chosen.failed.insert(server, Instant::now());
        if *self.current.borrow() != Some(server) {
            return;
        }
        let others: Vec<SocketAddr> = known.iter().copied().filter(|own| *own != server).collect();
        if let Some(next) = chosen.draw(&others, self.failed_for) {
            drop(chosen);
            self.move_to(next);
        }
    }

    /// Goes to another server from time to time. Never ends.
    pub(crate) async fn move_around(&self) {
        loop {
            let stay = self.draw_duration(self.stay..2 * self.stay);
            sleep(stay).await;
            let known = self.known.borrow().clone();
            let drawn = self.lock().draw(&known, self.failed_for);
            if let Some(server) = drawn {
                self.move_to(server);
            }
        }
    }

    /// Waits until others are known, or until an instant.
    pub(crate) async fn wait_for_others(&self, until: Instant) {
        let mut known = self.known.clone();
        known.mark_unchanged();
        if let Ok(Err(_)) = timeout_at(until, known.changed()).await {
            // Nobody tells of servers any more: there is nothing to wait for but the time.
            sleep_until(until).await;
        }
    }

    /// Wakes when others are known.
    pub(crate) fn known(&self) -> Known {
        self.known.clone()
    }

    /// A duration that chance chooses.
    pub(crate) fn draw_duration(&self, range: std::ops::Range<Duration>) -> Duration {
        if range.is_empty() { range.start } else { self.lock().chance.random_range(range) }
    }

    fn move_to(&self, server: SocketAddr) {
        self.current.send_if_modified(|current| {
            let is_news = *current != Some(server);
            *current = Some(server);
            is_news
        });
    }

    /// Nothing that runs under the lock leaves the data half changed.
    fn lock(&self) -> MutexGuard<'_, Chosen> {
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chosen {
    /// One of these, if possible one that did not fail lately.
    fn draw(&mut self, among: &[SocketAddr], failed_for: Duration) -> Option<SocketAddr> {
        let now = Instant::now();
        self.failed.retain(|_, at| *at + failed_for > now);
        let well: Vec<SocketAddr> =
            among.iter().copied().filter(|server| !self.failed.contains_key(server)).collect();
        let from = if well.is_empty() { among } else { &well };
        from.choose(&mut self.chance).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn servers(ports: &[u16]) -> (watch::Sender<Arc<[SocketAddr]>>, Arc<Servers>) {
        let list: Arc<[SocketAddr]> = ports.iter().copied().map(address).collect();
        let (tell, known) = watch::channel(list);
        (tell, Servers::new(known, &ClientSettings::default()))
    }

    #[tokio::test(start_paused = true)]
    async fn it_stays_with_one_until_that_fails_or_goes() {
        let (tell, servers) = servers(&[1, 2, 3]);
        let first = servers.choose(&[]).unwrap();
        for _ in 0..10 {
            assert_eq!(servers.choose(&[]), Some(first));
        }
        let second = servers.choose(&[first]).unwrap();
        assert_ne!(second, first);
        assert_eq!(servers.choose(&[]), Some(first));
        servers.note_failed(first);
        let now = servers.choose(&[]).unwrap();
        assert_ne!(now, first);
        tell.send_replace([address(9)].into());
        assert_eq!(servers.choose(&[]), Some(address(9)));
        assert_eq!(servers.choose(&[address(9)]), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_server_is_tried_again_although_it_failed() {
        let (_tell, servers) = servers(&[1]);
        servers.choose(&[]);
        servers.note_failed(address(1));
        assert_eq!(servers.choose(&[]), Some(address(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn agents_spread_over_the_servers_and_move_at_different_times() {
        let mut n_at_first = BTreeMap::<SocketAddr, u32>::new();
        let mut moved_at = std::collections::BTreeSet::new();
        for seed in 0..64_u8 {
            let list: Arc<[SocketAddr]> = [1, 2, 3].map(address).into();
            let settings = ClientSettings { seed: [seed; 32], ..ClientSettings::default() };
            let servers = Servers::new(watch::channel(list).1, &settings);
            *n_at_first.entry(servers.choose(&[]).unwrap()).or_default() += 1;
            let stay = servers.draw_duration(settings.stay..2 * settings.stay);
            assert!(stay >= settings.stay && stay < 2 * settings.stay);
            moved_at.insert(stay.as_secs());
        }
        assert!(n_at_first.values().all(|n| *n > 10), "{n_at_first:?}");
        assert!(moved_at.len() > 32, "{moved_at:?}");
    }
}
