//! A connection that opens passes.

use std::io;

use muster_health::check::Observation;
use muster_model::Status;
use muster_model::definition::TlsOptions;

use super::dial::{Dial, Tls};
use super::found;

pub(super) async fn run(
    dial: &Dial,
    address: &str,
    tls: Option<&TlsOptions>,
) -> io::Result<Observation> {
    let tls = tls.map(|options| Tls { options, protocol: b"" });
    dial.open(address, tls)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("TCP connect {address}: {error}")))?;
    Ok(found(Status::Passing, format!("TCP connect {address}: Success")))
}
