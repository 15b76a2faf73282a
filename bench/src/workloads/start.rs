//! An empty server, from its start until it serves.

use super::Setting;
use crate::Result;
use crate::report::{Row, summary};

pub(crate) const SAYS: &str =
    "an empty server serves how long after its start, and takes how much memory";

pub(crate) async fn run(setting: &Setting) -> Result<Vec<Row>> {
    let mut times = Vec::new();
    let mut sizes = Vec::new();
    for _ in 0..setting.rounds {
        let server = setting.start_muster().await?;
        times.push(server.ready_after.as_secs_f64() * 1e3);
        sizes.push(server.resident_bytes()? as f64 / 1e6);
    }
    let (time, time_spread) = summary(times);
    let (size, size_spread) = summary(sizes);
    Ok(vec![
        Row {
            work: "start of an empty server".into(),
            figure: time,
            unit: "ms",
            floor: None,
            at_most: 100.0,
            spread: time_spread,
        },
        Row {
            work: "resident memory, empty".into(),
            figure: size,
            unit: "MB",
            floor: None,
            at_most: 15.0,
            spread: size_spread,
        },
    ])
}
