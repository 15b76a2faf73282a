//! The load: what clients do to the servers of one contestant, and what that costs.
//!
//! [`closed`] has every connection ask again as soon as it is answered: it saturates, and its
//! latencies are those of a saturated server. [`open`] has deeds fall due at a steady rate whether
//! or not earlier ones are answered, and counts from the instant at which a deed was due: a server
//! that stalls is charged for everybody who would have come meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::Result;
use crate::cluster::Cluster;
use crate::contestant::{Connection, Deed};
use crate::figures::Round;

/// The deeds of a round by their number.
pub(crate) type Deeds = Arc<dyn Fn(usize) -> Deed + Send + Sync>;

/// Connections of clients, kept from round to round.
pub(crate) type Crew = Vec<Box<dyn Connection>>;

/// Nearer than this a deed's instant is waited for by asking the clock: timers are too coarse.
const SPIN: Duration = Duration::from_millis(2);
/// A round that makes no progress for this long is given up.
const ROUND_TIMEOUT: Duration = Duration::from_secs(300);

/// Has the crew do so many deeds, each connection the next as soon as it is answered.
pub(crate) async fn closed(
    cluster: &Cluster,
    crew: &mut Crew,
    deeds: &Deeds,
    numbers: std::ops::Range<usize>,
) -> Result<Round> {
    round(cluster, crew, deeds, numbers, None).await
}

/// Has the crew do so many deeds, of which `rate` fall due each second.
pub(crate) async fn open(
    cluster: &Cluster,
    crew: &mut Crew,
    deeds: &Deeds,
    numbers: std::ops::Range<usize>,
    rate: f64,
) -> Result<Round> {
    round(cluster, crew, deeds, numbers, Some(rate)).await
}

async fn round(
    cluster: &Cluster,
    crew: &mut Crew,
    deeds: &Deeds,
    numbers: std::ops::Range<usize>,
    rate: Option<f64>,
) -> Result<Round> {
    let n_deeds = numbers.len() as f64;
    let (cpu, written, begun) = (cluster.cpu()?, cluster.written_bytes(), Instant::now());
    let schedule = Arc::new(Schedule { next: AtomicUsize::new(0), numbers, rate, begun });
    let workers: Vec<_> = crew
        .drain(..)
        .map(|connection| tokio::spawn(work(connection, schedule.clone(), deeds.clone())))
        .collect();
    let mut took = Vec::with_capacity(n_deeds as usize);
    for worker in workers {
        let ended = tokio::time::timeout(ROUND_TIMEOUT, worker).await;
        let (connection, own) = ended.map_err(|_| "the round does not end")???;
        crew.push(connection);
        took.extend(own);
    }
    let seconds = begun.elapsed().as_secs_f64();
    took.sort_by(f64::total_cmp);
    let written = written.zip(cluster.written_bytes()).map(|(before, after)| after - before);
    Ok(Round {
        cpu: (cluster.cpu()? - cpu).as_secs_f64() * 1e6 / n_deeds,
        rate: n_deeds / seconds,
        took,
        written: written.map(|bytes| bytes as f64 / n_deeds),
        resident: cluster.resident_bytes()? as f64,
    })
}

/// Which deed comes next, and when.
struct Schedule {
    next: AtomicUsize,
    numbers: std::ops::Range<usize>,
    /// Deeds that fall due each second; without, each as soon as somebody is free.
    rate: Option<f64>,
    begun: Instant,
}

impl Schedule {
    /// The next deed's number, and the instant from which it counts.
    async fn next(&self) -> Option<(usize, Instant)> {
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        let number = self.numbers.start + ticket;
        if number >= self.numbers.end {
            return None;
        }
        let Some(rate) = self.rate else { return Some((number, Instant::now())) };
        let due = self.begun + Duration::from_secs_f64(ticket as f64 / rate);
        if let Some(early) = due.checked_duration_since(Instant::now() + SPIN) {
            tokio::time::sleep(early).await;
        }
        while Instant::now() < due {
            tokio::task::yield_now().await;
        }
        Some((number, due))
    }
}

/// One connection's part; gives it back with the microseconds that its deeds took.
async fn work(
    mut connection: Box<dyn Connection>,
    schedule: Arc<Schedule>,
    deeds: Deeds,
) -> Result<(Box<dyn Connection>, Vec<f64>)> {
    let mut took = Vec::new();
    while let Some((number, due)) = schedule.next().await {
        connection.perform(deeds(number)).await?;
        took.push(due.elapsed().as_secs_f64() * 1e6);
    }
    Ok((connection, took))
}
