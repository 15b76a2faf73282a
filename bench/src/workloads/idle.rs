//! A server that nobody asks anything: what it costs to be there.

use std::time::Duration;

use super::Setting;
use crate::Result;
use crate::report::{Row, summary};

pub(crate) const SAYS: &str = "an empty server that nobody asks anything";

/// How long a server is watched in a round.
const ROUND: Duration = Duration::from_secs(4);

pub(crate) async fn run(setting: &Setting) -> Result<Vec<Row>> {
    let muster = setting.start_muster().await?;
    // What follows a start (the own node's registration, a first sync) is not idleness.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut shares = Vec::new();
    for _ in 0..setting.rounds.min(3) {
        let begun = muster.cpu()?;
        tokio::time::sleep(ROUND).await;
        shares.push((muster.cpu()? - begun).as_secs_f64() / ROUND.as_secs_f64() * 100.0);
    }
    let (figure, spread) = summary(shares);
    let work = "idle, empty".into();
    Ok(vec![Row { work, figure, unit: "% of a core", floor: None, at_most: 0.1, spread }])
}
