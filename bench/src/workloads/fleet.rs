//! A hundred thousand instances: what they take in memory, to load, to keep, and to start again
//! with.

use std::time::{Duration, Instant};

use super::idle::idle;
use crate::Result;
use crate::bench::Bench;
use crate::cluster::Cluster;
use crate::contestant::{Deed, Instance, Kind, Service};
use crate::field::Field;
use crate::figures::summary;
use crate::load::{self, Deeds};
use crate::report::AtMost::{Amount, Cpu};
use crate::report::Row;

pub(crate) const SAYS: &str =
    "instances in 1,000 services on 1,000 nodes: memory, load, idleness, restart";

const FLEET: usize = 100_000;
const SERVICES: usize = 1_000;
const CONNECTIONS: usize = 64;
/// After that long a server has done what the load left it to do.
const SETTLES: Duration = Duration::from_secs(3);

pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    let n_instances = bench.size.of(10_000, FLEET);
    let idles_for = bench.size.of(Duration::from_secs(2), Duration::from_secs(15));
    let mut field = Field::start(bench, &[Kind::Register], 1).await;
    field.each("a fleet", async |cluster| fill(cluster, n_instances, idles_for).await).await;
    Ok(())
}

async fn fill(cluster: &mut Cluster, n_instances: usize, idles_for: Duration) -> Result<Vec<Row>> {
    let empty = cluster.resident_bytes()?;
    let deeds: Deeds = std::sync::Arc::new(|number| {
        let service = Service::Fleet(number / SERVICES % SERVICES);
        Deed::Register(Instance { service, number, version: 0 })
    });
    let mut crew = cluster.crew(CONNECTIONS).await?;
    let begun = Instant::now();
    load::closed(cluster, &mut crew, &deeds, 0..n_instances).await?;
    let load = begun.elapsed().as_secs_f64();
    drop(crew);
    // A snapshot that the load set off holds what was until it is written.
    tokio::time::sleep(SETTLES).await;
    let grown = cluster.resident_bytes()?.saturating_sub(empty);
    let each = grown as f64 / n_instances as f64;
    let (idle, idle_spread) = summary(idle(&[cluster], idles_for).await?.remove(0));
    cluster.stop(0)?;
    let restart = cluster.start_again(0).await?.as_secs_f64();
    let name = cluster.contestant.name();
    let once = |work: String, figure, unit| Row::new(&work, name, (figure, (figure, figure)), unit);
    let says = format!("idle with {n_instances} instances");
    let rows = vec![
        once(format!("resident for each of {n_instances} instances"), each, "B")
            .at_most(Amount(1_000.0)),
        once(format!("load {n_instances} instances"), load, "s").at_most(Cpu(5.0)),
        Row::new(&says, name, (idle, idle_spread), "% of a core").at_most(Amount(0.2)),
        once(format!("restart with {n_instances} instances to the first deed"), restart, "s")
            .at_most(Amount(0.8)),
    ];
    // The goals are for the great fleet.
    let no_goal = |row| Row { at_most: None, ..row };
    Ok(if n_instances == FLEET { rows } else { rows.into_iter().map(no_goal).collect() })
}
