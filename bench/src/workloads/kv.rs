//! Pairs of 256 bytes written to disk and read, by 1, 16 and 64 connections; created if they are not
//! there; listed.

use crate::Result;
use crate::bench::Bench;
use crate::contestant::{Deed, Kind};
use crate::field::{Field, Work};
use crate::report::AtMost::Cpu;

pub(crate) const SAYS: &str = "pairs written durably and read, by 1, 16 and 64 connections";

const PAIRS: usize = 2_000;
/// Connections, deeds of a quick round, and what a put and a get may cost.
const LOADS: [(usize, usize, f64, f64); 3] =
    [(1, 500, 150.0, 30.0), (16, 4_000, 40.0, 12.0), (64, 8_000, 25.0, 10.0)];

pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    let more = bench.size.of(1, 3);
    let mut field = Field::start(bench, &[Kind::Put, Kind::Get], 1).await;
    let pairs: Vec<Deed> = (0..PAIRS).map(Deed::Put).collect();
    field.prepare(&pairs).await;
    for (n_connections, n_deeds, put_at_most, _) in LOADS {
        let says = format!("KV put 256 B, durable, {n_connections} connections");
        let work = Work::new(says, n_deeds * more, |number| Deed::Put(number % PAIRS));
        field.compare(work.by(n_connections).at_most(Cpu(put_at_most))).await;
    }
    for (n_connections, n_deeds, _, get_at_most) in LOADS {
        let says = format!("KV get, linearizable, {n_connections} connections");
        let work = Work::new(says, 2 * n_deeds * more, |number| Deed::Get(number % PAIRS));
        field.compare(work.by(n_connections).at_most(Cpu(get_at_most))).await;
    }
    let says = "KV compare and set of a new key 256 B, durable, 16 connections";
    field.compare(Work::new(says, 4_000 * more, Deed::Create).by(16)).await;
    let says = "KV list of 111 pairs, 16 connections";
    field.compare(Work::new(says, 2_000 * more, |_| Deed::List).by(16)).await;
    Ok(())
}
