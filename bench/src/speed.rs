//! How fast this machine is today: goals were set on another.

use std::sync::Arc;

use serde::Serialize;

use crate::Result;
use crate::bench::Bench;
use crate::cluster::Cluster;
use crate::contestant::{Deed, Kind};
use crate::figures::{quantile, summary};
use crate::load::{self, Deeds};
use crate::report::{CPU, FLOOR, Row};
use crate::workloads::disk::sync_times;

/// Bytes of the bare answer by which machines are compared, and microseconds of CPU that it took
/// where the goals were set.
const ANSWER_BYTES: usize = 64;
const GOALS_SET_AT: f64 = 6.4;
/// Microseconds that a sync of 512 bytes took there, in the middle.
const SYNC_SET_AT: f64 = 136.0;
const CONNECTIONS: usize = 16;
const DEEDS: usize = 10_000;
const ROUNDS: usize = 5;

/// How many times as long work takes here as on the machine that the goals were set on.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Slowness {
    /// A processor's.
    pub(crate) cpu: f64,
    /// The disk's.
    pub(crate) disk: f64,
}

/// Measures the bare answer and the sync, and from then on goals for the work of processor and disk
/// are stretched or shrunk by them. Does nothing in a run without floors.
pub(crate) async fn compare_machines(bench: &mut Bench) -> Result<()> {
    let bare = bench.contestants.iter().find(|contestant| contestant.can(Kind::Bare)).cloned();
    let Some(bare) = bare else { return Ok(()) };
    let cluster = Cluster::start(&bare, 1).await?;
    let mut crew = cluster.crew(CONNECTIONS).await?;
    let deeds: Deeds = Arc::new(|_| Deed::Bare(ANSWER_BYTES));
    let mut costs = Vec::new();
    for _ in 0..ROUNDS {
        costs.push(load::closed(&cluster, &mut crew, &deeds, 0..DEEDS).await?.cpu);
    }
    let (cost, spread) = summary(costs);
    let sync = quantile(&sync_times()?, 0.5);
    let (cpu, disk) = (cost / GOALS_SET_AT, sync / SYNC_SET_AT);
    let says = format!(
        "of a machine on which a bare answer of {ANSWER_BYTES} B costs {GOALS_SET_AT} us of CPU and \
         a sync of 512 B takes {SYNC_SET_AT} us; here {cpu:.2} and {disk:.2} times as much"
    );
    bench.report.circumstances.push(("goals".into(), says));
    bench.report.slowness = Some(Slowness { cpu, disk });
    let work = format!("bare answer of {ANSWER_BYTES} B, HTTP");
    bench.report.rows.push(Row::new(&work, FLOOR, (cost, spread), CPU));
    Ok(())
}
