//! One in twenty of many instances changes each second, under watchers who come back for more.

use std::time::{Duration, Instant};

use crate::Result;
use crate::bench::Bench;
use crate::cluster::Cluster;
use crate::contestant::{Connection, Deed, Instance, Service, Watched};
use crate::field::{Field, prepare};
use crate::figures::quantile;
use crate::load::{self, Deeds};
use crate::report::Row;

pub(crate) const SAYS: &str =
    "5 % of the instances change each second under watchers of all services";

const WATCHERS: usize = 1_000;
const WRITERS: usize = 16;

pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    let n_instances = bench.size.of(2_000, 10_000);
    let seconds = bench.size.of(5, 20);
    let watched = Watched::Service(Service::Fleet(0)).kind();
    let mut field = Field::start(bench, &[watched], 1).await;
    field.each("churn", async |cluster| churn(cluster, n_instances, seconds).await).await;
    Ok(())
}

async fn churn(cluster: &Cluster, n_instances: usize, seconds: usize) -> Result<Vec<Row>> {
    let n_services = n_instances / 10;
    let instance = move |number: usize| {
        let (own, version) = (number % n_instances, number / n_instances);
        Deed::Register(Instance { service: Service::Fleet(own % n_services), number: own, version })
    };
    prepare(cluster, (0..n_instances).map(instance).collect()).await?;
    let mut watchers = Vec::with_capacity(WATCHERS);
    for number in 0..WATCHERS {
        let watched = Watched::Service(Service::Fleet(number % n_services));
        let connection = cluster.connect(0).await?;
        watchers.push(tokio::spawn(watch(connection, watched)));
    }
    let mut crew = cluster.crew(WRITERS).await?;
    let deeds: Deeds = std::sync::Arc::new(instance);
    let (rate, first) = (n_instances as f64 / 20.0, n_instances);
    let numbers = first..first + (rate as usize) * seconds;
    let (cpu, begun) = (cluster.cpu()?, Instant::now());
    let round = load::open(cluster, &mut crew, &deeds, numbers, rate).await?;
    let share = (cluster.cpu()? - cpu).as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0;
    for watcher in &watchers {
        watcher.abort();
    }
    let wait = quantile(&round.took, 0.99) / 1e3;
    let name = cluster.contestant.name();
    let row = |what: &str, figure: f64, unit| {
        let work = format!("5 % of {n_instances} instances a second, {WATCHERS} watchers: {what}");
        Row::new(&work, name, (figure, (figure, figure)), unit)
    };
    Ok(vec![row("CPU", share, "% of a core"), row("a write waits, p99", wait, "ms")])
}

/// Watches again and again until it is ended.
async fn watch(mut connection: Box<dyn Connection>, watched: Watched) -> Result<()> {
    loop {
        connection.park(watched).await?;
        tokio::time::timeout(Duration::from_secs(600), connection.woken()).await??;
    }
}
