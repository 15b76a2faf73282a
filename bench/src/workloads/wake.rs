//! Many wait for a change of one thing, and it changes; many others wait for something else.

use std::time::{Duration, Instant};

use super::dns::both_services;
use crate::Result;
use crate::bench::Bench;
use crate::cluster::Cluster;
use crate::contestant::{Connection, Deed, Instance, Kind, Service, Watched};
use crate::field::{Field, prepare};
use crate::report::AtMost::{self, Amount, Cpu};
use crate::report::Row;

pub(crate) const SAYS: &str = "watchers of one pair, of one service and of many, and one change";

/// How long the last may take to wake.
const WAKE_TIMEOUT: Duration = Duration::from_secs(60);
/// Instances of the one service that is watched.
const INSTANCES: usize = 100;
/// The pair that is watched: not the one that new connections try a server with.
const WATCHED: usize = 1;
/// Watches that share a connection, where they do.
const TOGETHER: usize = 100;
/// After that long a parked watch has taken the memory that it takes.
const SETTLES: Duration = Duration::from_millis(200);

/// A change for which many wait.
struct Crowd {
    says: String,
    n_watchers: usize,
    change: Deed,
    goals: Option<Goals>,
}

/// What waking a crowd may cost.
#[derive(Clone, Copy)]
struct Goals {
    /// For ten thousand, milliseconds of CPU.
    cpu: f64,
    /// For ten thousand, milliseconds until the last is awake.
    last: f64,
    /// Kilobytes for each.
    resident: f64,
}

const OF_A_PAIR: Goals = Goals { cpu: 120.0, last: 200.0, resident: 10.0 };
const OF_A_SERVICE: Goals = Goals { cpu: 250.0, last: 500.0, resident: 10.0 };
const ON_STREAMS: Goals = Goals { cpu: 20.0, last: 40.0, resident: 0.35 };

/// How watches share a connection.
#[derive(Clone, Copy)]
enum Sharing {
    /// Each is asked and answered for itself.
    Connection,
    /// All are numbers or names on one stream.
    Stream,
}

pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    let sizes: &[usize] = bench.size.of(&[1_000], &[1_000, 10_000, 18_000]);
    for n_watchers in sizes {
        pair(bench, *n_watchers).await;
        service(bench, *n_watchers).await;
        together(bench, *n_watchers, Sharing::Connection).await;
        together(bench, *n_watchers, Sharing::Stream).await;
        others(bench, *n_watchers).await;
    }
    Ok(())
}

/// All watch a pair.
async fn pair(bench: &mut Bench, n_watchers: usize) {
    let crowd = Crowd {
        says: format!("{n_watchers} watchers of a pair"),
        n_watchers,
        change: Deed::Put(WATCHED),
        goals: Some(OF_A_PAIR),
    };
    let mut field = Field::start(bench, &[Kind::WatchPair], 1).await;
    field
        .each("watchers of a pair", async |cluster| {
            wake(cluster, &crowd, Watched::Pair(WATCHED)).await
        })
        .await;
}

/// All watch a service.
async fn service(bench: &mut Bench, n_watchers: usize) {
    let changed = Instance { service: Service::Hundred, number: INSTANCES / 2, version: 1 };
    let crowd = Crowd {
        says: format!("{n_watchers} watchers of a service of 100"),
        n_watchers,
        change: Deed::Register(changed),
        goals: Some(OF_A_SERVICE),
    };
    let watched = Watched::Service(Service::Hundred);
    let mut field = Field::start(bench, &[Kind::WatchService], 1).await;
    field.each("watchers of a service", async |cluster| wake(cluster, &crowd, watched).await).await;
}

/// All wake with one change, each on a connection of its own.
async fn wake(cluster: &Cluster, crowd: &Crowd, watched: Watched) -> Result<Vec<Row>> {
    let mut deeds = both_services();
    deeds.push(Deed::Put(WATCHED));
    deeds.retain(|deed| cluster.contestant.can(deed.kind()));
    prepare(cluster, deeds).await?;
    let empty = cluster.resident_bytes()?;
    let mut parked = park(cluster, crowd.n_watchers, |_| watched).await?;
    let grown = cluster.resident_bytes()?.saturating_sub(empty);
    crowd.wake(cluster, grown, &mut parked, async |watcher| watcher.woken().await).await
}

/// All watch a pair, many over each connection.
async fn together(bench: &mut Bench, n_watchers: usize, sharing: Sharing) {
    let (kind, shared, goals) = match sharing {
        Sharing::Connection => (Kind::WatchTogether, "connection", None),
        Sharing::Stream => (Kind::WatchOnStream, "stream", Some(ON_STREAMS)),
    };
    let crowd = Crowd {
        says: format!("{n_watchers} watchers, {TOGETHER} a {shared}"),
        n_watchers,
        change: Deed::Put(WATCHED),
        goals,
    };
    let mut field = Field::start(bench, &[kind], 1).await;
    let measure = async |cluster: &mut Cluster| wake_together(cluster, &crowd, sharing).await;
    field.each("watchers together", measure).await;
}

async fn wake_together(cluster: &Cluster, crowd: &Crowd, sharing: Sharing) -> Result<Vec<Row>> {
    cluster.connect(0).await?.perform(Deed::Put(WATCHED)).await?;
    let empty = cluster.resident_bytes()?;
    let mut parked = Vec::new();
    for _ in 0..crowd.n_watchers / TOGETHER {
        let mut connection = cluster.connect(0).await?;
        match sharing {
            Sharing::Connection => connection.park_together(WATCHED, TOGETHER).await?,
            Sharing::Stream => connection.park_on_stream(WATCHED, TOGETHER).await?,
        }
        parked.push(connection);
    }
    tokio::time::sleep(SETTLES).await;
    let grown = cluster.resident_bytes()?.saturating_sub(empty);
    crowd.wake(cluster, grown, &mut parked, async |watchers| watchers.all_woken().await).await
}

impl Crowd {
    /// Makes the change: what that costs, and when the last is awake. `grown` is what all of them
    /// together took when they were parked.
    async fn wake(
        &self,
        cluster: &Cluster,
        grown: u64,
        parked: &mut [Box<dyn Connection>],
        is_woken: impl AsyncFn(&mut Box<dyn Connection>) -> Result<()>,
    ) -> Result<Vec<Row>> {
        let mut writer = cluster.connect(0).await?;
        let (cpu, begun) = (cluster.cpu()?, Instant::now());
        writer.perform(self.change).await?;
        for watcher in parked {
            let woken = tokio::time::timeout(WAKE_TIMEOUT, is_woken(watcher)).await;
            woken.map_err(|_| "a watcher does not wake")??;
        }
        let last = begun.elapsed().as_secs_f64() * 1e3;
        let cpu = (cluster.cpu()? - cpu).as_secs_f64() * 1e3;
        let each = grown as f64 / 1e3 / self.n_watchers as f64;
        let share = self.n_watchers as f64 / 10_000.0;
        let row = |what: &str, figure, unit, at_most: Option<AtMost>| {
            let says = format!("1 change, {}: {what}", self.says);
            let name = cluster.contestant.name();
            Row { at_most, ..Row::new(&says, name, (figure, (figure, figure)), unit) }
        };
        let goals = self.goals;
        Ok(vec![
            row("CPU", cpu, "ms CPU", goals.map(|goals| Cpu(goals.cpu * share))),
            row("last woken", last, "ms", goals.map(|goals| Cpu(goals.last * share))),
            row("resident for each parked", each, "kB", goals.map(|goals| Amount(goals.resident))),
        ])
    }
}

/// Each watches a service of its own, and one of these changes: nobody else wakes.
async fn others(bench: &mut Bench, n_watchers: usize) {
    let mut field = Field::start(bench, &[Kind::WatchService], 1).await;
    let measure = async |cluster: &mut Cluster| {
        let cpu = wake_one(cluster, n_watchers).await?;
        let says = format!("{n_watchers} watchers of different services, one changes: CPU");
        let row = Row::new(&says, cluster.contestant.name(), (cpu, (cpu, cpu)), "ms CPU");
        Ok(vec![row.at_most(Cpu(1.0))])
    };
    field.each("different services", measure).await;
}

async fn wake_one(cluster: &Cluster, n_watchers: usize) -> Result<f64> {
    let instance = |number| Instance { service: Service::Fleet(number), number, version: 0 };
    let deeds = (0..n_watchers).map(|number| Deed::Register(instance(number)));
    prepare(cluster, deeds.collect()).await?;
    let watched = |number| Watched::Service(Service::Fleet(number));
    let mut parked = park(cluster, n_watchers, watched).await?;
    let mut writer = cluster.connect(0).await?;
    let cpu = cluster.cpu()?;
    writer.perform(Deed::Register(Instance { version: 1, ..instance(0) })).await?;
    let mut others = parked.split_off(1);
    let woken = tokio::time::timeout(WAKE_TIMEOUT, parked[0].woken()).await;
    woken.map_err(|_| "its watcher does not wake")??;
    let cpu = (cluster.cpu()? - cpu).as_secs_f64() * 1e3;
    for watcher in &mut others {
        if !watcher.is_silent().await? {
            return Err("a watcher of another service woke".into());
        }
    }
    Ok(cpu)
}

/// So many connections, each with a watch.
async fn park(
    cluster: &Cluster,
    n_watchers: usize,
    watched: impl Fn(usize) -> Watched,
) -> Result<Vec<Box<dyn Connection>>> {
    let mut parked = Vec::with_capacity(n_watchers);
    for number in 0..n_watchers {
        let mut connection = cluster.connect(0).await?;
        connection.park(watched(number)).await?;
        parked.push(connection);
    }
    // An answer on a later connection shows that the requests before it were read.
    cluster.connect(0).await?.perform(cluster.contestant.first_deed()).await?;
    tokio::time::sleep(SETTLES).await;
    Ok(parked)
}
