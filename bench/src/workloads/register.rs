//! Instances put in the catalog, declared to the agent, and renewed.

use crate::Result;
use crate::bench::Bench;
use crate::contestant::{Deed, Instance, Kind, Service};
use crate::field::{Field, Work};
use crate::report::AtMost::Cpu;

pub(crate) const SAYS: &str =
    "instances registered by 1, 16 and 64 connections, deregistered, declared to an agent, renewed";

const INSTANCES: usize = 2_000;
/// Connections, deeds of a quick round, and what a registration may cost.
const LOADS: [(usize, usize, f64); 3] = [(1, 300, 200.0), (16, 2_000, 50.0), (64, 4_000, 35.0)];
/// How many come before one goes again.
const STAY: usize = 500;
/// Instances that an agent has: a Consul agent gets slower with each.
const LOCAL: usize = 200;

pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    let more = bench.size.of(1, 4);
    let mut field = Field::start(bench, &[Kind::Register], 1).await;
    for (n_connections, n_deeds, at_most) in LOADS {
        let says = format!("register an instance, durable, {n_connections} connections");
        let work = Work::new(says, n_deeds * more, instance);
        field.compare(work.by(n_connections).at_most(Cpu(at_most))).await;
    }
    let says = "register and deregister in turn, durable, 16 connections";
    field.compare(Work::new(says, 2_000 * more, come_and_go).by(16)).await;
    let local: Vec<Deed> = (0..LOCAL).map(Deed::Vouch).collect();
    field.prepare(&local).await;
    let says = format!("register with an agent of {LOCAL} instances, 16 connections");
    let work = Work::new(says, 500 * more, |number| Deed::Vouch(number % LOCAL));
    field.compare(work.by(16).at_most(Cpu(50.0))).await;
    let says = "renew an instance, 64 connections";
    let work = Work::new(says, 8_000 * more, |number| Deed::Renew(number % LOCAL));
    field.compare(work.by(64).at_most(Cpu(10.0))).await;
    Ok(())
}

/// Instances come, and some time later each of them goes.
fn come_and_go(number: usize) -> Deed {
    let of = |number| Instance { service: Service::Fleet(number % 100), number, version: 0 };
    let number = number + 2 * INSTANCES;
    match number % 2 {
        0 => Deed::Deregister(of(number / 2 - STAY)),
        _ => Deed::Register(of(number / 2)),
    }
}

/// An instance of one of a hundred services, never twice alike.
fn instance(number: usize) -> Deed {
    let service = Service::Fleet(number % 100);
    Deed::Register(Instance { service, number: number % INSTANCES, version: number })
}
