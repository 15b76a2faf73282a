//! Services and names by DNS, against a bare echo of datagrams; and services over TCP.

use crate::Result;
use crate::bench::Bench;
use crate::contestant::{Deed, Kind, Question, Service};
use crate::field::{Field, Work};
use crate::report::AtMost::{self, Floors};

pub(crate) const SAYS: &str = "SRV, A and a name that does not exist, against a bare echo";

/// What is asked, and what it may cost.
const QUESTIONS: [(&str, Question, AtMost); 4] = [
    ("DNS SRV, 10 instances, EDNS", Question::Srv(Service::Ten), Floors(1.7)),
    ("DNS A, 10 instances", Question::A(Service::Ten), Floors(1.55)),
    ("DNS, name that does not exist", Question::Missing, Floors(1.4)),
    ("DNS SRV, 100 instances", Question::Srv(Service::Hundred), Floors(3.0)),
];

pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    let more = bench.size.of(1, 4);
    let mut field = Field::start(bench, &[Kind::Ask], 1).await;
    field.prepare(&both_services()).await;
    for (says, question, at_most) in QUESTIONS {
        let n_deeds = if question == Question::Srv(Service::Hundred) { 3_000 } else { 12_000 };
        let work = Work::new(says, n_deeds * more, move |_| Deed::Ask(question));
        field.compare(work.by(16).at_most(at_most)).await;
    }
    let question = Question::Srv(Service::Ten);
    let says = "DNS SRV, 10 instances, EDNS, over TCP";
    field.compare(Work::new(says, 6_000 * more, move |_| Deed::AskOverTcp(question)).by(16)).await;
    Ok(())
}

/// A service of ten instances, and one of a hundred.
pub(super) fn both_services() -> Vec<Deed> {
    let ten = Service::Ten.instances(10);
    ten.chain(Service::Hundred.instances(100)).map(Deed::Register).collect()
}
