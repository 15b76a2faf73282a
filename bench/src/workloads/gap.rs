//! The leader of three is killed: how long nobody can write.

use std::time::{Duration, Instant};

use crate::Result;
use crate::bench::Bench;
use crate::cluster::Cluster;
use crate::contestant::{Addresses, Contestant, Deed, Kind};
use crate::field::{Field, prepare};
use crate::figures::summary;
use crate::report::AtMost::Amount;
use crate::report::Row;

pub(crate) const SAYS: &str = "the leader of three is killed: the gap to the next write";

/// How long a write may take before another server is asked.
const TRY_TIMEOUT: Duration = Duration::from_millis(500);
/// How long to wait after a failed write.
const TRY_INTERVAL: Duration = Duration::from_millis(2);
/// The longest gap that is waited for.
const GAP_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a cluster is let settle once its third server is back.
const SETTLE: Duration = Duration::from_secs(3);

pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    let n_kills = bench.size.of(2, 20);
    let mut field = Field::start(bench, &[Kind::Put], 3).await;
    let measure = async |cluster: &mut Cluster| {
        let gaps = summary(gaps(cluster, n_kills).await?);
        let says = "leader of 3 killed, gap to the first write";
        Ok(vec![Row::new(says, cluster.contestant.name(), gaps, "s").at_most(Amount(0.5))])
    };
    field.each("leader killed", measure).await;
    Ok(())
}

async fn gaps(cluster: &mut Cluster, n_kills: usize) -> Result<Vec<f64>> {
    prepare(cluster, (0..200).map(Deed::Put).collect()).await?;
    let mut gaps = Vec::new();
    for _ in 0..n_kills {
        let leader = cluster.leader().await?;
        cluster.kill(leader);
        let killed = Instant::now();
        let others: Vec<usize> = (0..cluster.n_servers()).filter(|own| *own != leader).collect();
        // Whoever of the others can be written to first.
        tokio::select! {
            written = write(&*cluster.contestant, cluster.addresses(others[0]), killed) => written?,
            written = write(&*cluster.contestant, cluster.addresses(others[1]), killed) => written?,
        }
        gaps.push(killed.elapsed().as_secs_f64());
        cluster.start_again(leader).await?;
        tokio::time::sleep(SETTLE).await;
    }
    Ok(gaps)
}

/// Tries to write until it is acknowledged.
async fn write(contestant: &dyn Contestant, to: &Addresses, since: Instant) -> Result<()> {
    let once = || async { contestant.connect(to).await?.perform(Deed::Put(0)).await };
    while since.elapsed() < GAP_TIMEOUT {
        if let Ok(Ok(_)) = tokio::time::timeout(TRY_TIMEOUT, once()).await {
            return Ok(());
        }
        tokio::time::sleep(TRY_INTERVAL).await;
    }
    Err("nothing can be written for a minute".into())
}
