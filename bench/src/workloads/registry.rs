//! What Eureka's clients do: read everything, read what changed, renew. Registrations go on
//! meanwhile, so that nobody lives off an answer of long ago.

use std::time::Duration;

use crate::Result;
use crate::bench::Bench;
use crate::contestant::{Deed, Instance, Kind, Service};
use crate::field::{Field, Work};
use crate::report::AtMost::Cpu;

pub(crate) const SAYS: &str = "Eureka's whole registry, compressed and not, and its delta";

const SERVICES: usize = 100;
/// How often an instance changes.
const CHANGE_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    let n_instances = bench.size.of(1_000, 10_000);
    let n_reads = bench.size.of(1_000, 4_000);
    let mut field = Field::start(bench, &[Kind::Registry], 1).await;
    let instance = move |number: usize| {
        let number_within = number % n_instances;
        let service = Service::Fleet(number_within % SERVICES);
        Deed::Register(Instance { service, number: number_within, version: number / n_instances })
    };
    let all: Vec<Deed> = (0..n_instances).map(instance).collect();
    field.prepare(&all).await;
    let change = move |number| instance(number + n_instances);
    let reads = [
        ("compressed", Deed::RegistryCompressed, Some(60.0)),
        ("plain", Deed::Registry, None),
        ("delta, compressed", Deed::Delta, None),
    ];
    for (how, deed, at_most) in reads {
        let says = format!("whole registry of {n_instances} instances, {how}");
        let mut work = Work::new(says, n_reads, move |_| deed).by(4);
        work = work.meanwhile(CHANGE_INTERVAL, change);
        if let Some(at_most) = at_most {
            work = work.at_most(Cpu(at_most));
        }
        field.compare(work).await;
    }
    Ok(())
}
