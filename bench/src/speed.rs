//! How fast this machine is today: goals in CPU time were set on another.

use std::sync::Arc;

use crate::Result;
use crate::bench::Bench;
use crate::cluster::Cluster;
use crate::contestant::{Deed, Kind};
use crate::figures::summary;
use crate::load::{self, Deeds};
use crate::report::{CPU, FLOOR, Row};

/// Bytes of the bare answer by which machines are compared, and microseconds of CPU that it took
/// where the goals were set.
const ANSWER_BYTES: usize = 64;
const GOALS_SET_AT: f64 = 6.4;
const CONNECTIONS: usize = 16;
const DEEDS: usize = 10_000;
const ROUNDS: usize = 5;

/// Measures the bare answer, and from then on goals in CPU time are stretched or shrunk by it. Does
/// nothing in a run without floors.
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
    let slowness = cost / GOALS_SET_AT;
    let says = format!(
        "of a machine on which a bare answer of {ANSWER_BYTES} B costs {GOALS_SET_AT} us of CPU; \
         here they are {slowness:.2} times as large"
    );
    bench.report.circumstances.push(("goals in CPU time".into(), says));
    bench.report.slowness = Some(slowness);
    let work = format!("bare answer of {ANSWER_BYTES} B, HTTP");
    bench.report.rows.push(Row::new(&work, FLOOR, (cost, spread), CPU));
    Ok(())
}
