//! A thousand blocking queries on one service wake with one write; a thousand others sleep on.

use std::time::Instant;

use super::{Setting, registration};
use crate::Result;
use crate::http::{Connection, get, request};
use crate::report::Row;

pub(crate) const SAYS: &str =
    "1,000 watchers of one service wake with one write, 1,000 of others do not";

const WATCHERS: usize = 1_000;

pub(crate) async fn run(setting: &Setting) -> Result<Vec<Row>> {
    let muster = setting.start_muster().await?;
    let address = muster.address("http")?;
    let mut writer = Connection::open(address).await?;
    for number in 0..11 {
        let service = if number < 10 { "web" } else { "other" };
        let body = registration(service, number);
        writer.exchange(&request("PUT", "/v1/catalog/register", &body)).await?;
    }
    let empty = muster.resident_bytes()?;
    let mut web = park(&muster, "web").await?;
    let others = park(&muster, "other").await?;
    let parked = muster.resident_bytes()?;
    let (cpu, begun) = (muster.cpu()?, Instant::now());
    let body = registration("web", 3).replace("\"Port\":80", "\"Port\":81");
    writer.exchange(&request("PUT", "/v1/catalog/register", &body)).await?;
    for watcher in &mut web {
        let answer = watcher.answer().await?;
        if answer.status != 200 {
            return Err(format!("a watcher was answered with {}", answer.status).into());
        }
    }
    let woken_after = begun.elapsed().as_secs_f64() * 1e3;
    let cpu = (muster.cpu()? - cpu).as_secs_f64() * 1e3;
    for watcher in others {
        watcher.is_silent()?;
    }
    let each = (parked - empty) as f64 / 1e3 / (2 * WATCHERS) as f64;
    Ok(vec![
        Row::once(
            "1 change, 1,000 watchers of a service of 10: last woken",
            woken_after,
            "ms",
            50.0,
        ),
        Row::once("1 change, 1,000 watchers of a service of 10: CPU", cpu, "ms", 25.0),
        Row::once("resident memory per parked watcher", each, "kB", 10.0),
    ])
}

/// A thousand connections, each with a blocking query under way.
async fn park(muster: &crate::server::Server, service: &str) -> Result<Vec<Connection>> {
    let address = muster.address("http")?;
    let target = format!("/v1/health/service/{service}?passing");
    let mut parked = Vec::with_capacity(WATCHERS);
    for _ in 0..WATCHERS {
        let mut connection = Connection::open(address).await?;
        let answer = connection.ask(&get(&target)).await?;
        let index = answer.header("x-consul-index").ok_or("no index")?;
        connection.send(&get(&format!("{target}&index={index}&wait=5m"))).await?;
        parked.push(connection);
    }
    // An answer on a later connection shows that the requests before it were read.
    Connection::open(address).await?.ask(&get(&target)).await?;
    Ok(parked)
}
