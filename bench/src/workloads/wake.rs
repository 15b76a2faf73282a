//! Many wait for a change of one thing, and it changes; many others wait for something else.

use std::time::{Duration, Instant};

use super::dns::both_services;
use crate::Result;
use crate::bench::Bench;
use crate::cluster::Cluster;
use crate::contestant::{Connection, Deed, Instance, Kind, Service, Watched};
use crate::field::{Field, prepare};
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

/// One thing that many watch, and what they may cost.
struct Crowd {
    says: &'static str,
    watched: Watched,
    change: Deed,
    cpu_at_most: f64,
    last_at_most: f64,
}

pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    let sizes: &[usize] = bench.size.of(&[1_000], &[1_000, 10_000, 18_000]);
    for n_watchers in sizes {
        same(bench, *n_watchers).await;
        together(bench, *n_watchers).await;
        others(bench, *n_watchers).await?;
    }
    Ok(())
}

/// All watch the same.
async fn same(bench: &mut Bench, n_watchers: usize) {
    let (pair, hundred) = (Watched::Pair(WATCHED), Watched::Service(Service::Hundred));
    let changed = Instance { service: Service::Hundred, number: INSTANCES / 2, version: 1 };
    // The limits are for ten thousand.
    let limit = |for_ten_thousand: f64| for_ten_thousand * n_watchers as f64 / 10_000.0;
    let crowds = [
        Crowd {
            says: "a pair",
            watched: pair,
            change: Deed::Put(WATCHED),
            cpu_at_most: limit(120.0),
            last_at_most: limit(200.0),
        },
        Crowd {
            says: "a service of 100",
            watched: hundred,
            change: Deed::Register(changed),
            cpu_at_most: limit(250.0),
            last_at_most: limit(500.0),
        },
    ];
    for crowd in crowds {
        let field = Field::start(bench, &[crowd.watched.kind()], 1).await;
        for number in 0..field.entrants.len() {
            let cluster = &field.entrants[number].cluster;
            let name = cluster.contestant.name().to_string();
            match wake(cluster, &crowd, n_watchers).await {
                Ok(rows) => field.bench.report.rows.extend(rows),
                Err(error) => field.bench.report.leave_out(&name, crowd.says, &error),
            }
        }
    }
}

/// All wake with one change: what that costs, and when the last is awake.
async fn wake(cluster: &Cluster, crowd: &Crowd, n_watchers: usize) -> Result<Vec<Row>> {
    let contestant = &cluster.contestant;
    let mut deeds = both_services();
    deeds.push(Deed::Put(WATCHED));
    deeds.retain(|deed| contestant.can(deed.kind()));
    prepare(cluster, deeds).await?;
    let empty = cluster.resident_bytes()?;
    let mut parked = park(cluster, n_watchers, |_| crowd.watched).await?;
    let each = (cluster.resident_bytes()?.saturating_sub(empty)) as f64 / 1e3 / n_watchers as f64;
    let mut writer = cluster.connect(0).await?;
    let (cpu, begun) = (cluster.cpu()?, Instant::now());
    writer.perform(crowd.change).await?;
    for watcher in &mut parked {
        let woken = tokio::time::timeout(WAKE_TIMEOUT, watcher.woken()).await;
        woken.map_err(|_| "a watcher does not wake")??;
    }
    let last = begun.elapsed().as_secs_f64() * 1e3;
    let cpu = (cluster.cpu()? - cpu).as_secs_f64() * 1e3;
    let row = |what: &str, figure, unit| {
        let says = format!("1 change, {n_watchers} watchers of {}: {what}", crowd.says);
        Row::new(&says, contestant.name(), (figure, (figure, figure)), unit)
    };
    Ok(vec![
        row("CPU", cpu, "ms CPU").at_most(crowd.cpu_at_most),
        row("last woken", last, "ms").at_most(crowd.last_at_most),
        row("resident for each parked", each, "kB").at_most(10.0),
    ])
}

/// All watch a pair, many over each connection.
async fn together(bench: &mut Bench, n_watchers: usize) {
    let field = Field::start(bench, &[Kind::WatchTogether], 1).await;
    for number in 0..field.entrants.len() {
        let cluster = &field.entrants[number].cluster;
        let name = cluster.contestant.name().to_string();
        match wake_together(cluster, n_watchers).await {
            Ok(rows) => field.bench.report.rows.extend(rows),
            Err(error) => field.bench.report.leave_out(&name, "watchers together", &error),
        }
    }
}

async fn wake_together(cluster: &Cluster, n_watchers: usize) -> Result<[Row; 3]> {
    let mut writer = cluster.connect(0).await?;
    writer.perform(Deed::Put(WATCHED)).await?;
    let empty = cluster.resident_bytes()?;
    let mut parked = Vec::new();
    for _ in 0..n_watchers / TOGETHER {
        let mut connection = cluster.connect(0).await?;
        connection.park_together(WATCHED, TOGETHER).await?;
        parked.push(connection);
    }
    tokio::time::sleep(SETTLES).await;
    let each = cluster.resident_bytes()?.saturating_sub(empty) as f64 / 1e3 / n_watchers as f64;
    let (cpu, begun) = (cluster.cpu()?, Instant::now());
    writer.perform(Deed::Put(WATCHED)).await?;
    for watchers in &mut parked {
        let woken = tokio::time::timeout(WAKE_TIMEOUT, watchers.all_woken()).await;
        woken.map_err(|_| "a watcher does not wake")??;
    }
    let last = begun.elapsed().as_secs_f64() * 1e3;
    let cpu = (cluster.cpu()? - cpu).as_secs_f64() * 1e3;
    let limit = |for_ten_thousand: f64| for_ten_thousand * n_watchers as f64 / 10_000.0;
    let row = |what: &str, figure, unit| {
        let says = format!("1 change, {n_watchers} watchers, {TOGETHER} a connection: {what}");
        Row::new(&says, cluster.contestant.name(), (figure, (figure, figure)), unit)
    };
    Ok([
        row("CPU", cpu, "ms CPU").at_most(limit(20.0)),
        row("last woken", last, "ms").at_most(limit(40.0)),
        row("resident for each parked", each, "kB").at_most(0.35),
    ])
}

/// Each watches a service of its own, and one of these changes: nobody else wakes.
async fn others(bench: &mut Bench, n_watchers: usize) -> Result<()> {
    let service = Watched::Service(Service::Fleet(0)).kind();
    let field = Field::start(bench, &[service], 1).await;
    for number in 0..field.entrants.len() {
        let cluster = &field.entrants[number].cluster;
        let name = cluster.contestant.name().to_string();
        match wake_one(cluster, n_watchers).await {
            Ok(cpu) => {
                let says = format!("{n_watchers} watchers of different services, one changes: CPU");
                let row = Row::new(&says, &name, (cpu, (cpu, cpu)), "ms CPU").at_most(1.0);
                field.bench.report.rows.push(row);
            }
            Err(error) => field.bench.report.leave_out(&name, "different services", &error),
        }
    }
    Ok(())
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
