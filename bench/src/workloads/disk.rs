//! The floor of durable writes: 512 bytes and one fdatasync, on the disk that servers write to.

use std::io::Write;
use std::time::Instant;

use crate::Result;
use crate::bench::Bench;
use crate::figures::quantile;
use crate::process::data_folder;
use crate::report::{FLOOR, Row};

pub(crate) const SAYS: &str = "512 bytes appended and one fdatasync, again and again";

const SYNCS: usize = 1_000;

pub(crate) async fn run(bench: &mut Bench) -> Result<()> {
    let took = sync_times(SYNCS)?;
    for (work, share) in [("fdatasync of 512 B, p50", 0.5), ("fdatasync of 512 B, p99", 0.99)] {
        let figure = quantile(&took, share);
        let row = Row::new(work, FLOOR, (figure, (figure, figure)), "us");
        bench.report.rows.push(row);
    }
    Ok(())
}

/// How many microseconds each of so many took, the quickest first.
pub(crate) fn sync_times(n_syncs: usize) -> Result<Vec<f64>> {
    let folder = data_folder()?;
    let mut file = std::fs::File::create(folder.join("appended"))?;
    let mut took = Vec::new();
    for _ in 0..n_syncs {
        let begun = Instant::now();
        file.write_all(&[7; 512])?;
        file.sync_data()?;
        took.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    std::fs::remove_dir_all(&folder)?;
    took.sort_by(f64::total_cmp);
    Ok(took)
}
