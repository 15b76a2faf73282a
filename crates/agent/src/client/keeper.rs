//! The one task that keeps the kept answers fresh.
//!
//! It looks whenever something was heard. What was touched is asked for again at once, but the same
//! answer only after a pause, so that a service that changes all the time does not cost a question
//! for each change. Where all may have changed, chance spreads the questions: a fleet does not ask
//! for everything in one moment.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use muster_registry::{Call, Caller};
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::client_agent::Shared;
use super::kept::Entry;
use crate::wire::Asker;

/// Answers that are asked for at a time.
const REFRESHES_MAX: usize = 16;
/// How often what nobody asks for is dropped.
const DROP_INTERVAL: Duration = Duration::from_secs(15);
/// How often those look again who wait for more than is followed, and old answers are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The pause after a question without an answer.
const FAILED_GAP: Duration = Duration::from_secs(1);

/// Keeps answers fresh for as long as the agent runs.
pub(super) async fn run(shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(REFRESHES_MAX));
    let mut n_hubs = shared.news.n_hubs();
    let mut look = interval(LOOK_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut drop_at = Instant::now() + DROP_INTERVAL;
    loop {
        let mut next = None;
        if shared.news.is_in_contact() {
            spread_if_all_changed(&shared, &mut n_hubs);
            let (due, later) = shared.kept.due();
            next = later;
            for entry in due {
                // The others are due still when this one is done.
                let Ok(place) = places.clone().try_acquire_owned() else { break };
                entry.is_refreshing.store(true, Ordering::Release);
                let shared = shared.clone();
                tokio::spawn(async move {
                    refresh(&shared, &entry).await;
                    drop(place);
                    shared.news.has_news.notify_one();
                });
            }
            // The last known good outlives those who asked for it, until there is better.
            if Instant::now() >= drop_at {
                shared.kept.drop_idle();
                drop_at = Instant::now() + DROP_INTERVAL;
            }
        }
        let is_due = async {
            match next {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.news.has_news.notified() => {}
            () = is_due => {}
            _ = look.tick() => shared.news.close_overflow(),
        }
    }
}

fn spread_if_all_changed(shared: &Shared, n_hubs: &mut u64) {
    let now = shared.news.n_hubs();
    // The first hub is the one that an agent begins with, before anything is kept.
    if now != *n_hubs && *n_hubs > 0 {
        let servers = shared.forward.servers();
        for entry in shared.kept.all() {
            let spread = Duration::ZERO..shared.settings.refresh_spread;
            shared.kept.hold_back(&entry, servers.draw_duration(spread));
        }
    }
    *n_hubs = now;
}

async fn refresh(shared: &Arc<Shared>, entry: &Entry) {
    shared.kept.hold_back(entry, shared.settings.refresh_gap);
    let caller = Caller { token: entry.token.clone() };
    let asker = Asker::of(&Call { caller, ..Call::default() });
    let deadline = Instant::now() + shared.settings.patience;
    let asked = shared.ask_for_keeping(asker, entry.query.clone(), deadline).await;
    if let Err(refusal) = asked {
        tracing::debug!("a kept answer could not be asked for again: {refusal}");
        let servers = shared.forward.servers();
        shared.kept.hold_back(entry, servers.draw_duration(FAILED_GAP..2 * FAILED_GAP));
    }
    entry.is_refreshing.store(false, Ordering::Release);
}
