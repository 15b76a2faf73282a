//! A server that nobody asks anything: what it costs to be there.

use std::time::Duration;

use crate::Result;
use crate::bench::Bench;
use crate::cluster::Cluster;
use crate::contestant::Kind;
use crate::field::Field;
use crate::figures::summary;
use crate::report::Row;

pub(crate) const SAYS: &str = "an empty server that nobody asks anything";

/// What follows a start (the own node's registration, a first sync, a compiler) is not idleness.
const SETTLE: Duration = Duration::from_secs(5);

pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    let span = bench.size.of(Duration::from_secs(5), Duration::from_secs(30));
    let kinds = [Kind::Put, Kind::Register, Kind::Ask];
    let mut field = Field::start(bench, &kinds, 1).await;
    field.entrants.retain(|entrant| !entrant.is_floor());
    tokio::time::sleep(SETTLE).await;
    let mut rows = Vec::new();
    for entrant in &field.entrants {
        let name = entrant.cluster.contestant.name();
        let (figure, spread) = summary(idle(&entrant.cluster, span).await?);
        let row = Row::new("idle, empty", name, (figure, spread), "% of a core");
        rows.push(row.at_most(0.1));
    }
    field.bench.report.rows.extend(rows);
    Ok(())
}

/// The share of a core that a cluster uses in each of three spans, in percent.
pub(super) async fn idle(cluster: &Cluster, span: Duration) -> Result<Vec<f64>> {
    let mut shares = Vec::new();
    for _ in 0..3 {
        let begun = cluster.cpu()?;
        tokio::time::sleep(span / 3).await;
        shares.push((cluster.cpu()? - begun).as_secs_f64() / (span / 3).as_secs_f64() * 100.0);
    }
    Ok(shares)
}
