//! Ten instances by HTTP, while one of a hundred changes each second.

use std::time::{Duration, Instant};

use super::{Setting, registration};
use crate::Result;
use crate::http::{Connection, get, request};
use crate::report::{Row, summary};
use crate::server::Server;

pub(crate) const SAYS: &str =
    "10 instances by HTTP at default freshness and stale, against a bare handler";

/// Services of ten instances each; the changes go around among all of them.
const SERVICES: usize = 10;
const INSTANCES: usize = 10;
/// Requests of one round.
const REQUESTS: usize = 20_000;

pub(crate) async fn run(setting: &Setting) -> Result<Vec<Row>> {
    let muster = setting.start_muster().await?;
    let address = muster.address("http")?;
    let mut writer = Connection::open(address).await?;
    for number in 0..SERVICES * INSTANCES {
        let service = format!("web{}", number % SERVICES);
        let body = registration(&service, number);
        let status = writer.exchange(&request("PUT", "/v1/catalog/register", &body)).await?;
        if status != 200 {
            return Err(format!("a registration was answered with {status}").into());
        }
    }
    let target = "/v1/health/service/web0?passing";
    let answer = Connection::open(address).await?.ask(&get(target)).await?;
    let length = answer.body.len();
    if answer.status != 200 || !answer.body.windows(5).any(|word| word == b"web0-") {
        return Err(format!("the service is not found: {}", answer.status).into());
    }
    let floor = setting.start_floor(&["http", &length.to_string()]).await?;
    let mut rows = Vec::new();
    for (name, target) in [("default", target.to_string()), ("stale", format!("{target}&stale"))] {
        let (mut own, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..setting.rounds {
            own.push(round(&muster, &target, Some(&mut writer)).await?);
            bare.push(round(&floor, &target, None).await?);
        }
        let (figure, spread) = summary(own);
        let (floor, _) = summary(bare);
        rows.push(Row {
            work: format!("discover 10 instances, HTTP ({length} B), {name}"),
            figure,
            unit: "us CPU",
            floor: Some(floor),
            at_most: 1.5,
            spread,
        });
    }
    Ok(rows)
}

/// CPU microseconds of the server per request, over 16 connections.
async fn round(server: &Server, target: &str, writer: Option<&mut Connection>) -> Result<f64> {
    let address = server.address("http")?;
    let asked = get(target);
    let begun = server.cpu()?;
    let readers: Vec<_> = (0..16)
        .map(|_| {
            let asked = asked.clone();
            tokio::spawn(async move {
                let mut connection = Connection::open(address).await?;
                for _ in 0..REQUESTS / 16 {
                    connection.exchange(&asked).await?;
                }
                Result::Ok(())
            })
        })
        .collect();
    if let Some(writer) = writer {
        change_while(writer, || readers.iter().all(tokio::task::JoinHandle::is_finished)).await?;
    }
    for reader in readers {
        reader.await??;
    }
    Ok((server.cpu()? - begun).as_secs_f64() * 1e6 / REQUESTS as f64)
}

/// One instance in a hundred changes its port each second until `is_done`.
async fn change_while(writer: &mut Connection, is_done: impl Fn() -> bool) -> Result<()> {
    let mut next = Instant::now();
    let mut number = 0;
    while !is_done() {
        if Instant::now() >= next {
            let service = format!("web{}", number % SERVICES);
            let body = registration(&service, number % (SERVICES * INSTANCES)).replace(
                "\"Port\":80",
                if number % 2 == 0 { "\"Port\":81" } else { "\"Port\":82" },
            );
            writer.exchange(&request("PUT", "/v1/catalog/register", &body)).await?;
            number += 1;
            next = Instant::now() + Duration::from_secs(1);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
