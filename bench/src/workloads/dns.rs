//! Ten instances by DNS, against a bare echo of datagrams.

use super::{Setting, registration};
use crate::Result;
use crate::http::{Connection, request};
use crate::report::{Row, summary};
use crate::server::Server;
use crate::udp;

pub(crate) const SAYS: &str =
    "SRV and A of 10 instances and a name that does not exist, against a bare echo";

const QUESTIONS: usize = 60_000;
const A: u16 = 1;
const SRV: u16 = 33;

/// What is asked, and how many times an echo it may cost.
const WORK: [(&str, &str, u16, f64); 3] = [
    ("DNS SRV, 10 instances, EDNS", "web.service.consul", SRV, 1.7),
    ("DNS A, 10 instances", "web.service.consul", A, 1.55),
    ("DNS, name that does not exist", "none.service.consul", A, 1.4),
];

pub(crate) async fn run(setting: &Setting) -> Result<Vec<Row>> {
    let muster = setting.start_muster().await?;
    let mut writer = Connection::open(muster.address("http")?).await?;
    for number in 0..10 {
        let body = registration("web", number);
        writer.exchange(&request("PUT", "/v1/catalog/register", &body)).await?;
    }
    let floor = setting.start_floor(&["udp"]).await?;
    let mut rows = Vec::new();
    for (work, name, kind, at_most) in WORK {
        let question = udp::question(name, kind);
        let (mut own, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..setting.rounds {
            own.push(round(&muster, &question).await?);
            bare.push(round(&floor, &question).await?);
        }
        let (figure, spread) = summary(own);
        let (floor, _) = summary(bare);
        let work = work.to_string();
        rows.push(Row { work, figure, unit: "us CPU", floor: Some(floor), at_most, spread });
    }
    Ok(rows)
}

/// CPU microseconds of the server per question.
async fn round(server: &Server, question: &[u8]) -> Result<f64> {
    let begun = server.cpu()?;
    udp::exchange(server.address("dns")?, question, QUESTIONS).await?;
    Ok((server.cpu()? - begun).as_secs_f64() * 1e6 / QUESTIONS as f64)
}
