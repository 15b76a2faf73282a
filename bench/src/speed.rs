//! How fast this machine is today: goals were set on another.

use std::rc::Rc;
use std::sync::Arc;

use serde::Serialize;

use crate::Result;
use crate::bench::Bench;
use crate::cluster::Cluster;
use crate::contestant::{Contestant, Deed, Kind};
use crate::figures::{quantile, summary};
use crate::load::{self, Deeds};
use crate::report::Row;
use crate::workloads::disk::sync_times;

/// Bytes of the bare answer by which machines are compared, and microseconds of CPU that it took
/// where the goals were set.
const ANSWER_BYTES: usize = 64;
const GOALS_SET_AT: f64 = 6.4;
/// Microseconds that a sync of 512 bytes took there, in the middle.
const SYNC_SET_AT: f64 = 136.0;
const CONNECTIONS: usize = 16;
const DEEDS: usize = 4_000;
const ROUNDS: usize = 3;
const SYNCS: usize = 300;

/// How many times as long work takes here as on the machine that the goals were set on.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Slowness {
    /// A processor's.
    pub(crate) cpu: f64,
    /// The disk's.
    pub(crate) disk: f64,
}

/// Measures the bare answer and the sync between workloads: a shared machine may be slower by half
/// from one minute to the next.
pub(crate) struct Speedometer {
    bare: Rc<dyn Contestant>,
    last: Slowness,
    /// Of the workloads so far, by name.
    all: Vec<(&'static str, Slowness)>,
}

impl Speedometer {
    /// Measures for the first time; nothing in a run without floors.
    pub(crate) async fn start(bench: &Bench) -> Result<Option<Speedometer>> {
        let bare = bench.contestants.iter().find(|contestant| contestant.can(Kind::Bare)).cloned();
        let Some(bare) = bare else { return Ok(None) };
        let last = slowness(&bare).await?;
        Ok(Some(Speedometer { bare, last, all: Vec::new() }))
    }

    /// Measures again after a workload. How slow the machine was meanwhile is the middle of before
    /// and after, and goals of the rows are stretched or shrunk by it.
    pub(crate) async fn judge(&mut self, workload: &'static str, rows: &mut [Row]) -> Result<()> {
        let now = slowness(&self.bare).await?;
        let before = std::mem::replace(&mut self.last, now);
        let cpu = f64::midpoint(before.cpu, now.cpu);
        let meanwhile = Slowness { cpu, disk: f64::midpoint(before.disk, now.disk) };
        for row in rows {
            row.slowness = Some(meanwhile);
        }
        self.all.push((workload, meanwhile));
        Ok(())
    }

    /// What the goals are of, and how this machine compares, for people.
    pub(crate) fn says(&self) -> String {
        let each = |(workload, here): &(&str, Slowness)| {
            format!("{workload} {:.2} and {:.2}", here.cpu, here.disk)
        };
        format!(
            "of a machine on which a bare answer of {ANSWER_BYTES} B costs {GOALS_SET_AT} us of \
             CPU and a sync of 512 B takes {SYNC_SET_AT} us; here so many times as much: {}",
            self.all.iter().map(each).collect::<Vec<_>>().join(", ")
        )
    }
}

async fn slowness(bare: &Rc<dyn Contestant>) -> Result<Slowness> {
    let cluster = Cluster::start(bare, 1).await?;
    let mut crew = cluster.crew(CONNECTIONS).await?;
    let deeds: Deeds = Arc::new(|_| Deed::Bare(ANSWER_BYTES));
    let mut costs = Vec::new();
    for _ in 0..=ROUNDS {
        costs.push(load::closed(&cluster, &mut crew, &deeds, 0..DEEDS).await?.cpu);
    }
    // The first has warmed it up.
    let (cost, _) = summary(costs.split_off(1));
    let sync = quantile(&sync_times(SYNCS)?, 0.5);
    Ok(Slowness { cpu: cost / GOALS_SET_AT, disk: sync / SYNC_SET_AT })
}
