//! Writes that two of three servers have on disk before they are answered; costs are of all three.

use crate::Result;
use crate::bench::Bench;
use crate::contestant::{Deed, Instance, Kind, Service};
use crate::field::{Field, Work};
use crate::report::AtMost::Cpu;

pub(crate) const SAYS: &str = "pairs put and instances registered with three servers, costs in sum";

const SERVERS: usize = 3;
const PAIRS: usize = 2_000;
/// Connections, deeds of a quick round, and what a put may cost.
const LOADS: [(usize, usize, f64); 3] = [(1, 300, 600.0), (16, 2_000, 120.0), (64, 4_000, 70.0)];

pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    let more = bench.size.of(1, 4);
    let mut field = Field::start(bench, &[Kind::Put], SERVERS).await;
    let pairs: Vec<Deed> = (0..PAIRS).map(Deed::Put).collect();
    field.prepare(&pairs).await;
    for (n_connections, n_deeds, at_most) in LOADS {
        let says = format!("replicated put 256 B, 3 servers, {n_connections} connections");
        let work = Work::new(says, n_deeds * more, |number| Deed::Put(number % PAIRS));
        let work = work.by(n_connections).at_most(Cpu(at_most));
        // Only alone does a write wait for the replicas and for nobody else. The three share a core, so
        // nearly all of the wait is their work.
        let work = if n_connections == 1 { work.waits_at_most(Cpu(0.6), Cpu(2.0)) } else { work };
        field.compare(work).await;
    }
    let instance = |number| {
        let service = Service::Fleet(number % 100);
        Deed::Register(Instance { service, number: number % PAIRS, version: number })
    };
    let says = "replicated registration, 3 servers, 64 connections";
    field.compare(Work::new(says, 2_000 * more, instance).by(64).at_most(Cpu(90.0))).await;
    Ok(())
}
