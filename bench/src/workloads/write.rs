//! Durable writes: an instance registered, a pair put, by 1, 16 and 64 connections.

use std::sync::Arc;

use super::{Setting, registration};
use crate::Result;
use crate::http::{Connection, request};
use crate::report::{Row, summary};
use crate::server::Server;

pub(crate) const SAYS: &str = "instances and pairs written to disk, by 1, 16 and 64 connections";

/// Connections, writes of a round, and what a registration and a put may cost.
const LOADS: [(usize, usize, f64, f64); 3] =
    [(1, 1_000, 200.0, 150.0), (16, 8_000, 50.0, 40.0), (64, 16_000, 35.0, 25.0)];

/// Makes the request of a write from its number.
type Make = Arc<dyn Fn(usize) -> Vec<u8> + Send + Sync>;

pub(crate) async fn run(setting: &Setting) -> Result<Vec<Row>> {
    let muster = setting.start_muster().await?;
    let register: Make = Arc::new(|number| {
        let body = registration(&format!("web{}", number % 100), number % 2_000);
        // No two writes in a row of the same instance are alike: a write that changes nothing
        // would cost less.
        let body = body.replace("\"version\":\"1.0\"", &format!("\"version\":\"{number}\""));
        request("PUT", "/v1/catalog/register", &body)
    });
    let put: Make = Arc::new(|number| {
        request("PUT", &format!("/v1/kv/bench/{}", number % 2_000), &format!("{number:>256}"))
    });
    let mut rows = Vec::new();
    let mut first = 0;
    for (n_connections, n_writes, register_at_most, put_at_most) in LOADS {
        let kinds = [
            ("register an instance", &register, register_at_most),
            ("KV put 256 B", &put, put_at_most),
        ];
        for (what, make, at_most) in kinds {
            let mut costs = Vec::new();
            for _ in 0..setting.rounds.min(3) {
                costs.push(round(&muster, make, n_connections, first..first + n_writes).await?);
                first += n_writes;
            }
            let (figure, spread) = summary(costs);
            let work = format!("{what}, durable, {n_connections} connections");
            rows.push(Row { work, figure, unit: "us CPU", floor: None, at_most, spread });
        }
    }
    Ok(rows)
}

/// CPU microseconds of the server per write.
async fn round(
    server: &Server,
    make: &Make,
    n_connections: usize,
    numbers: std::ops::Range<usize>,
) -> Result<f64> {
    let address = server.address("http")?;
    let n_writes = numbers.len();
    let begun = server.cpu()?;
    let writers: Vec<_> = (0..n_connections)
        .map(|writer| {
            let (make, numbers) = (make.clone(), numbers.clone());
            tokio::spawn(async move {
                let mut connection = Connection::open(address).await?;
                for number in numbers.skip(writer).step_by(n_connections) {
                    match connection.exchange(&make(number)).await? {
                        200 => {}
                        status => return Err(format!("a write was answered with {status}").into()),
                    }
                }
                Result::Ok(())
            })
        })
        .collect();
    for writer in writers {
        writer.await??;
    }
    Ok((server.cpu()? - begun).as_secs_f64() * 1e6 / n_writes as f64)
}
