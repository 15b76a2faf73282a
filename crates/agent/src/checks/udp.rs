//! A datagram that is not refused passes: no answer is a good answer.

use std::io;
use std::time::Duration;

use muster_health::check::Observation;
use muster_model::Status;
use tokio::time::timeout;

use super::dial::Dial;
use super::found;

/// Room for an answer, which is not looked at.
const ANSWER_BYTES: usize = 512;

/// Sends an empty datagram and waits for an answer or a refusal, for `patience` at most.
pub(super) async fn run(dial: &Dial, address: &str, patience: Duration) -> io::Result<Observation> {
    let addresses = dial.resolve(address).await?;
    let to = addresses
        .first()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))?;
    let socket = dial.world.connect_datagram(*to)?;
    socket.send(&[], *to).await?;
    let mut answer = [0; ANSWER_BYTES];
    match timeout(patience, socket.receive(&mut answer)).await {
        Ok(Err(error)) => Ok(found(Status::Critical, format!("UDP {address}: {error}"))),
        Ok(Ok(_)) | Err(_) => Ok(found(Status::Passing, format!("UDP connect {address}: Success"))),
    }
}
