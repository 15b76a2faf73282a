//! An empty server, from its start until it has done something.

use crate::Result;
use crate::bench::Bench;
use crate::cluster::Cluster;
use crate::figures::summary;
use crate::report::AtMost::Amount;
use crate::report::Row;

pub(crate) const SAYS: &str = "an empty server does its first deed how soon, and takes how much";

pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    let contestants = bench.contestants.clone();
    for contestant in contestants {
        if contestant.name() == crate::report::FLOOR {
            continue;
        }
        let (mut times, mut sizes) = (Vec::new(), Vec::new());
        for _ in 0..bench.size.of(2, bench.n_rounds) {
            match Cluster::start(&contestant, 1).await {
                Ok(cluster) => {
                    times.push(cluster.ready_after.as_secs_f64() * 1e3);
                    sizes.push(cluster.resident_bytes()? as f64 / 1e6);
                }
                Err(error) => bench.report.leave_out(contestant.name(), "start", &error),
            }
        }
        if times.is_empty() {
            continue;
        }
        let name = contestant.name();
        let (start, size) = ("start of an empty server to its first deed", "resident, empty");
        bench.report.rows.extend([
            Row::new(start, name, summary(times), "ms").at_most(Amount(100.0)),
            Row::new(size, name, summary(sizes), "MB").at_most(Amount(15.0)),
        ]);
    }
    Ok(())
}
