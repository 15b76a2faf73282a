//! What a decided command costs, beside the bare disk.
//!
//! ```text
//! cargo run --release -p muster-consensus --example proposals -- FOLDER
//! ```
//!
//! In one run, on the disk of FOLDER: a plain append with fdatasync (the floor), the log with its
//! groups of 1, 16 and 64, restart with 100,000 entries, and the start of an empty server.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a tool that reports and stops")]

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use muster_consensus::{Committed, Consensus, Folder, Frozen, Machine, Settings};
use muster_world::{Open, Real, World};
use tokio::time::Instant;

const ENTRY: usize = 256;

/// Keeps the last commands, so that there is a state to snapshot.
#[derive(Clone, Default)]
struct Keeper(Vec<Bytes>);

impl Machine for Keeper {
    fn apply(&mut self, batch: &[Committed], outcomes: &mut Vec<Bytes>) {
        for committed in batch {
            if self.0.len() < 100_000 {
                self.0.push(committed.command.clone());
            }
            outcomes.push(Bytes::new());
        }
    }

    fn freeze(&self) -> Box<dyn Frozen> {
        Box::new(self.clone())
    }

    fn restore(&mut self, _index: Option<u64>, from: &mut dyn Read) -> io::Result<()> {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes)?;
        let bytes = Bytes::from(bytes);
        self.0 =
            (0..bytes.len() / ENTRY).map(|n| bytes.slice(n * ENTRY..(n + 1) * ENTRY)).collect();
        Ok(())
    }
}

impl Frozen for Keeper {
    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        self.0.iter().try_for_each(|command| to.write_all(command))
    }
}

/// Processor time of this process, in microseconds (the system counts it in steps of 10 ms).
fn processor_us() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10_000
}

struct Meter {
    started: Instant,
    processor: u64,
}

impl Meter {
    fn start() -> Meter {
        Meter { started: Instant::now(), processor: processor_us() }
    }

    fn report(&self, what: &str, n: u64) {
        let wall = self.started.elapsed().as_micros() as u64;
        let processor = processor_us() - self.processor;
        println!(
            "{what:<44} {:>7.1} us CPU  {:>7.1} us wall, each of {n}",
            processor as f64 / n as f64,
            wall as f64 / n as f64,
        );
    }
}

/// One writer, one write, one sync, nothing else.
fn floor(folder: &Path, entries: usize, is_laid_out: bool) {
    let real = Real::new();
    let file = real.files().open(&folder.join("floor"), Open::Create).unwrap();
    if is_laid_out {
        file.write_all_at(&vec![0; 64 << 20], 0).unwrap();
        file.sync().unwrap();
    }
    let bytes = vec![7; ENTRY * entries];
    let n = 4000;
    let meter = Meter::start();
    for at in 0..n {
        file.write_all_at(&bytes, at * bytes.len() as u64).unwrap();
        file.sync().unwrap();
    }
    let how = if is_laid_out { "over zeros" } else { "at the end" };
    meter.report(&format!("write + fdatasync {how}, {entries} x {ENTRY} B"), n);
    real.files().remove(&folder.join("floor")).unwrap();
}

async fn start(folder: PathBuf) -> Consensus {
    let world: Arc<dyn World> = Arc::new(Real::new());
    let opened =
        tokio::task::spawn_blocking(move || Folder::open(world, &folder, Some(1)).unwrap()).await;
    let on_fatal = Arc::new(|fatal| panic!("{fatal}"));
    let machine = Box::new(Keeper::default());
    let peers = Arc::new(muster_consensus::NoPeers);
    Consensus::start(Settings::default(), opened.unwrap(), machine, peers, on_fatal).await.unwrap()
}

async fn propose(consensus: &Arc<Consensus>, writers: u64, n: u64) {
    let left = Arc::new(AtomicU64::new(n));
    let tasks: Vec<_> = (0..writers)
        .map(|_| {
            let (consensus, left) = (consensus.clone(), left.clone());
            tokio::spawn(async move {
                let take = |left: u64| left.checked_sub(1);
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                    let deadline = Instant::now() + Duration::from_secs(30);
                    consensus.propose(vec![7; ENTRY].into(), deadline).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("the folder to measure on"));
    fs::create_dir_all(&folder).unwrap();
    let data = folder.join("data");
    let _ = fs::remove_dir_all(&data);
    for entries in [1, 16, 64] {
        floor(&folder, entries, false);
        floor(&folder, entries, true);
    }
    let started = Instant::now();
    let consensus = Arc::new(start(data.clone()).await);
    propose(&consensus, 1, 1).await;
    println!("an empty server: {:?} to the first write", started.elapsed());
    for (writers, n) in [(1, 8000), (16, 60_000), (64, 120_000)] {
        let before = consensus.stats();
        let meter = Meter::start();
        propose(&consensus, writers, n).await;
        meter.report(&format!("propose, {writers} at a time"), n);
        let after = consensus.stats();
        let groups = after.n_syncs - before.n_syncs;
        println!(
            "    {:.1} entries a sync",
            (after.n_entries - before.n_entries) as f64 / groups as f64
        );
    }
    let meter = Meter::start();
    for _ in 0..10_000_000 {
        std::hint::black_box(consensus.confirmed());
    }
    println!("confirmed(): {:.1} ns", meter.started.elapsed().as_nanos() as f64 / 1e7);
    let idle = Meter::start();
    let nothing = std::future::pending::<()>();
    let _elapsed = tokio::time::timeout(Duration::from_secs(5), nothing).await;
    println!("idle: {} us CPU in 5 s", processor_us() - idle.processor);
    let stats = consensus.stats();
    Arc::into_inner(consensus).unwrap().shutdown().await;
    let started = Instant::now();
    let consensus = start(data).await;
    println!(
        "restart: {:?}, {} entries behind the snapshot",
        started.elapsed(),
        stats.last_index - stats.snapshot_index
    );
    consensus.shutdown().await;
    fs::remove_dir_all(&folder).unwrap();
}
