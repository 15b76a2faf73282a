//! A server that nobody asks anything: what it costs to be there.

use std::time::Duration;

use crate::Result;
use crate::bench::Bench;
use crate::cluster::Cluster;
use crate::contestant::Kind;
use crate::field::Field;
use crate::figures::summary;
use crate::report::AtMost::Amount;
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
    let clusters: Vec<&Cluster> = field.entrants.iter().map(|entrant| &entrant.cluster).collect();
    for (cluster, shares) in clusters.iter().zip(idle(&clusters, span).await?) {
        let name = cluster.contestant.name();
        rows.push(
            Row::new("idle, empty", name, summary(shares), "% of a core").at_most(Amount(0.1)),
        );
    }
    field.bench.report.rows.extend(rows);
    Ok(())
}

/// Percents of a core that each of them takes while nobody asks, three times in turn.
pub(super) async fn idle(clusters: &[&Cluster], span: Duration) -> Result<Vec<Vec<f64>>> {
    let mut shares = vec![Vec::new(); clusters.len()];
    for _ in 0..3 {
        let begun: Vec<Duration> =
            clusters.iter().map(|cluster| cluster.cpu()).collect::<Result<_>>()?;
        tokio::time::sleep(span / 3).await;
        for ((cluster, begun), shares) in clusters.iter().zip(begun).zip(&mut shares) {
            let taken = cluster.cpu()?.saturating_sub(begun);
            shares.push(taken.as_secs_f64() / (span / 3).as_secs_f64() * 100.0);
        }
    }
    Ok(shares)
}
