//! A hundred thousand instances: what they take in memory, to load, and to start again with.

use super::Setting;
use crate::Result;
use crate::http::{Connection, request};
use crate::report::Row;

pub(crate) const SAYS: &str =
    "100,000 instances in 1,000 services on 1,000 nodes: memory, load, restart";

const INSTANCES: usize = 100_000;
const SERVICES: usize = 1_000;
const NODES: usize = 1_000;
const CONNECTIONS: usize = 64;

pub(crate) async fn run(setting: &Setting) -> Result<Vec<Row>> {
    let muster = setting.start_muster().await?;
    let empty = muster.resident_bytes()?;
    let address = muster.address("http")?;
    let begun = std::time::Instant::now();
    let writers: Vec<_> = (0..CONNECTIONS)
        .map(|writer| {
            tokio::spawn(async move {
                let mut connection = Connection::open(address).await?;
                for number in (writer..INSTANCES).step_by(CONNECTIONS) {
                    let body = instance(number);
                    let put = request("PUT", "/v1/catalog/register", &body);
                    let status = connection.exchange(&put).await?;
                    if status != 200 {
                        return Err(format!("a registration was answered with {status}").into());
                    }
                }
                Result::Ok(())
            })
        })
        .collect();
    for writer in writers {
        writer.await??;
    }
    let load = begun.elapsed().as_secs_f64();
    let each = (muster.resident_bytes()? - empty) as f64 / INSTANCES as f64;
    let folder = muster.stop()?.ok_or("muster has no folder")?;
    let again = setting.start_muster_on(folder).await?;
    let mut writer = Connection::open(again.address("http")?).await?;
    let after_ready = std::time::Instant::now();
    writer.exchange(&request("PUT", "/v1/kv/first", "write")).await?;
    let restart = (again.ready_after + after_ready.elapsed()).as_secs_f64();
    Ok(vec![
        Row::once("resident memory per instance, 100,000 instances", each, "B", 1_000.0),
        Row::once("load 100,000 instances", load, "s", 5.0),
        Row::once("restart with 100,000 instances to the first write", restart, "s", 0.8),
    ])
}

/// Instance `number` with 2 tags, 2 facts and a check with 60 bytes of output.
fn instance(number: usize) -> String {
    let (service, node) = (number % SERVICES, number / SERVICES % NODES * 10 + number % 10);
    let node = node % NODES;
    serde_json::json!({
        "Node": format!("node-{node}"),
        "Address": format!("10.0.{}.{}", node / 256, node % 256),
        "Service": {
            "ID": format!("service-{service}-{number}"),
            "Service": format!("service-{service}"),
            "Tags": ["v1", format!("shard-{}", number % 16)],
            "Meta": { "version": "1.0", "zone": format!("zone-{}", number % 3) },
            "Port": 1_024 + number % 60_000,
        },
        "Check": {
            "Node": format!("node-{node}"),
            "CheckID": format!("service:service-{service}-{number}"),
            "Name": format!("Service 'service-{service}' check"),
            "Status": "passing",
            "ServiceID": format!("service-{service}-{number}"),
            "Output": format!("HTTP GET http://10.0.0.1:8000/health: 200 OK, {number:>14}"),
        },
    })
    .to_string()
}
