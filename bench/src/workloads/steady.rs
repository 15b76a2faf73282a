//! A thousand writes a second, due whether or not the server keeps up: what a client waits.
//!
//! The latencies of this row are free of coordinated omission: see [`crate::load`].

use crate::Result;
use crate::bench::Bench;
use crate::contestant::{Deed, Kind};
use crate::field::{Field, Work};
use crate::report::AtMost::{Cpu, Wait};

pub(crate) const SAYS: &str = "1,000 pairs put each second, one server and three";

const PAIRS: usize = 2_000;
const RATE: f64 = 1_000.0;

pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    let n_deeds = bench.size.of(500, 20_000);
    for n_servers in [1, 3] {
        let mut field = Field::start(bench, &[Kind::Put], n_servers).await;
        let pairs: Vec<Deed> = (0..PAIRS).map(Deed::Put).collect();
        field.prepare(&pairs).await;
        let says = format!("KV put 256 B at 1,000 a second, open loop, {n_servers} servers");
        let work = Work::new(says, n_deeds, |number| Deed::Put(number % PAIRS));
        // One server waits for its disk; three that share a core fill it.
        let stretched = if n_servers == 1 { Wait } else { Cpu };
        let work = work.waits_at_most(stretched(2.0), stretched(10.0));
        field.compare(work.by(64).at_rate(RATE)).await;
    }
    Ok(())
}
