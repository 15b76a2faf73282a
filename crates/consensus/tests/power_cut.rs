//! The power fails at any moment, a random part of what was not synced is lost, and nothing that
//! was acknowledged is missing afterwards.
//!
//! One disk goes through many lives. In each, a server starts, a few writers propose until the
//! power fails after a random number of changes to the disk, and the next life is checked: every
//! acknowledged command stands at its index, and nothing stands there that nobody proposed. Small
//! segments and frequent snapshots make the cuts fall into every step: the first layout of the
//! folder, elections, groups, rolls, snapshots, purges, and the repair of the cut before.
//!
//! `MUSTER_POWER_CUTS` sets how many cuts are made; 1,000 without it.
#![allow(clippy::unwrap_used, reason = "this is test code")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{Applied, start_mortal};
use muster_consensus::{Consensus, Settings};
use muster_world::memory::Faults;
use muster_world::{Memory, Real, World};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

const LIVES_PER_DISK: u64 = 10;
const WRITERS: usize = 4;
const PROPOSALS_PER_WRITER: usize = 8;

/// What the world outside knows about a disk.
#[derive(Default)]
struct Known {
    acknowledged: BTreeMap<u64, Bytes>,
    proposed: BTreeSet<Bytes>,
}

impl Known {
    /// What is wrong with a state, if anything.
    fn check(&self, applied: &Applied) -> Result<(), String> {
        let applied = applied.0.lock().unwrap();
        for (index, command) in &self.acknowledged {
            if applied.get(index) != Some(command) {
                return Err(format!("acknowledged entry {index} is lost"));
            }
        }
        match applied.values().find(|command| !self.proposed.contains(*command)) {
            Some(command) => Err(format!("{command:?} was never proposed")),
            None => Ok(()),
        }
    }
}

fn settings() -> Settings {
    Settings {
        snapshot_after: 40,
        entries_kept: 5,
        segment_bytes: 4096,
        cache_bytes: 2048,
        reserve_bytes: 0,
        ..Settings::default()
    }
}

/// Commands differ in length, so that they lie across sectors in every way.
fn command(rng: &mut SmallRng, n: u64) -> Bytes {
    let length = [0, 20, 200, 700, 1500][rng.random_range(0..5)];
    let filling: Vec<u8> = (0..length).map(|_| rng.random_range(1..=255)).collect();
    Bytes::from([format!("{n}:").as_bytes(), &filling].concat())
}

async fn write_until_the_power_fails(consensus: &Consensus, rng: &mut SmallRng, known: &mut Known) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut plan = || -> Vec<Bytes> {
        let next = || NEXT.fetch_add(1, Ordering::Relaxed);
        (0..PROPOSALS_PER_WRITER).map(|_| command(rng, next())).collect()
    };
    let plans: [Vec<Bytes>; WRITERS] = std::array::from_fn(|_| plan());
    known.proposed.extend(plans.iter().flatten().cloned());
    let writers = plans.map(|plan| async move {
        let mut acknowledged = Vec::new();
        for command in plan {
            let deadline = Instant::now() + Duration::from_secs(10);
            match consensus.propose(command.clone(), deadline).await {
                Ok(decided) => acknowledged.push((decided.index, command)),
                Err(_) => break,
            }
        }
        acknowledged
    });
    let written = futures_util::future::join_all(writers).await;
    known.acknowledged.extend(written.into_iter().flatten());
}

/// Puts one disk through its lives and says what went wrong, and how much was acknowledged.
async fn live(seed: u64, lives: u64, faults: &Faults) -> Result<usize, String> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut disk = Memory::new();
    let mut known = Known::default();
    for life in 0..=lives {
        let changes_left = (life < lives).then(|| rng.random_range(0..120));
        disk.set_faults(Faults { changes_left, ..faults.clone() });
        let world: Arc<dyn World> = Arc::new(Real::with_files(Arc::new(disk.clone())));
        let started = start_mortal(&world, Path::new("/data"), settings(), Arc::new(|_| {})).await;
        match started {
            Ok((consensus, applied)) => {
                known
                    .check(&applied)
                    .map_err(|wrong| format!("disk {seed}, life {life}: {wrong}"))?;
                write_until_the_power_fails(&consensus, &mut rng, &mut known).await;
                known
                    .check(&applied)
                    .map_err(|wrong| format!("disk {seed}, life {life}: {wrong}"))?;
            }
            Err(_) if disk.is_without_power() => {}
            Err(error) => {
                return Err(format!("disk {seed}, life {life}: it does not start: {error}"));
            }
        }
        disk = disk.power_cut(rng.random());
    }
    Ok(known.acknowledged.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_write_is_lost_in_a_thousand_cuts() {
    let cuts = std::env::var("MUSTER_POWER_CUTS").map_or(1000, |cuts| cuts.parse().unwrap());
    let mut acknowledged = 0;
    for seed in 0..cuts / LIVES_PER_DISK {
        acknowledged += live(seed, LIVES_PER_DISK, &Faults::default()).await.unwrap();
    }
    println!("{cuts} cuts, {acknowledged} acknowledged writes, none lost");
    assert!(acknowledged as u64 > cuts, "the lives were long enough to write something");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_test_notices_that_syncs_do_nothing() {
    let broken = Faults { syncs_do_nothing: true, ..Faults::default() };
    let mut noticed = 0;
    for seed in 0..20 {
        noticed += u32::from(live(seed, LIVES_PER_DISK, &broken).await.is_err());
    }
    assert!(noticed >= 15, "without syncs only {noticed} of 20 disks lost something");
}
