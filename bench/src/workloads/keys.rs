//! A million pairs: what each takes in memory, how evenly they load, and how soon a server is back.

use std::time::Instant;

use crate::Result;
use crate::bench::Bench;
use crate::cluster::Cluster;
use crate::contestant::{Deed, Kind};
use crate::field::Field;
use crate::load::{self, Deeds};
use crate::report::Row;

pub(crate) const SAYS: &str = "a million pairs of 256 bytes: memory, load, restart";

const CONNECTIONS: usize = 64;
/// Parts of the load, of which the slowest is told: a server that stalls shows there.
const PARTS: usize = 20;

pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    let n_pairs = bench.size.of(100_000, 1_000_000);
    let mut field = Field::start(bench, &[Kind::Put], 1).await;
    field.each("a million pairs", async |cluster| fill(cluster, n_pairs).await).await;
    Ok(())
}

async fn fill(cluster: &mut Cluster, n_pairs: usize) -> Result<Vec<Row>> {
    let empty = cluster.resident_bytes()?;
    let deeds: Deeds = std::sync::Arc::new(Deed::Put);
    let mut crew = cluster.crew(CONNECTIONS).await?;
    let (begun, mut slowest) = (Instant::now(), f64::INFINITY);
    for part in 0..PARTS {
        let numbers = n_pairs / PARTS * part..n_pairs / PARTS * (part + 1);
        slowest = slowest.min(load::closed(cluster, &mut crew, &deeds, numbers).await?.rate);
    }
    let load = begun.elapsed().as_secs_f64();
    drop(crew);
    let each = cluster.resident_bytes()?.saturating_sub(empty) as f64 / n_pairs as f64;
    cluster.stop(0)?;
    let restart = cluster.start_again(0).await?.as_secs_f64();
    let name = cluster.contestant.name();
    let once = |work: String, figure, unit| Row::new(&work, name, (figure, (figure, figure)), unit);
    let slowest = slowest / (n_pairs as f64 / load) * 100.0;
    Ok(vec![
        once(format!("resident for each of {n_pairs} pairs of 256 B"), each, "B"),
        once(format!("load {n_pairs} pairs"), load, "s"),
        once(format!("load {n_pairs} pairs: slowest twentieth"), slowest, "% of the mean rate"),
        once(format!("restart with {n_pairs} pairs to the first deed"), restart, "s"),
    ])
}
