//! The well instances of a service by HTTP, while one of them changes each second.

use std::time::Duration;

use super::dns::both_services;
use crate::Result;
use crate::bench::Bench;
use crate::contestant::{Deed, Instance, Kind, Service};
use crate::field::{Field, Work};
use crate::report::AtMost::Floors;

pub(crate) const SAYS: &str =
    "1, 10, 100 and 1,000 instances by HTTP, fresh and stale, against a bare handler";

/// How often one instance changes.
const CHANGE_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    let more = bench.size.of(1, 4);
    let kinds = [Kind::Discover, Kind::DiscoverStale, Kind::Bare];
    let mut field = Field::start(bench, &kinds, 1).await;
    field.prepare(&both_services()).await;
    let others = Service::One.instances(1).chain(Service::Thousand.instances(1_000));
    field.prepare(&others.map(Deed::Register).collect::<Vec<_>>()).await;
    let ten = Service::Ten;
    let says = "discover 10 instances, HTTP, default";
    let work = Work::new(says, 8_000 * more, move |_| Deed::Discover(ten));
    let work = work.by(16).meanwhile(CHANGE_INTERVAL, change);
    field.compare(work.against_bare().at_most(Floors(1.5))).await;
    let says = "discover 10 instances, HTTP, stale";
    let work = Work::new(says, 8_000 * more, move |_| Deed::DiscoverStale(ten));
    let work = work.by(16).meanwhile(CHANGE_INTERVAL, change);
    field.compare(work.against_bare().at_most(Floors(1.5))).await;
    let says = "discover 100 instances, HTTP, stale";
    let work = Work::new(says, 1_600 * more, |_| Deed::DiscoverStale(Service::Hundred));
    field.compare(work.by(16).against_bare().at_most(Floors(1.65))).await;
    for (says, service, n_deeds) in [
        ("discover 1 instance, HTTP, stale", Service::One, 8_000),
        ("discover 1,000 instances, HTTP, stale", Service::Thousand, 160),
    ] {
        let work = Work::new(says, n_deeds * more, move |_| Deed::DiscoverStale(service));
        field.compare(work.by(16).against_bare()).await;
    }
    Ok(())
}

/// One instance of the ten is registered anew.
fn change(number: usize) -> Deed {
    Deed::Register(Instance { service: Service::Ten, number: number % 10, version: number + 1 })
}
