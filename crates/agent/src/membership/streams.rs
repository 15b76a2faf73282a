//! Exchanges over streams: each side sends one message, with its length before it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use muster_gossip::limits::EXCHANGE_BYTES_MAX;
use muster_world::{Address, Listener, Stream, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

/// How long one exchange may take, from the first byte to the last.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams that are served at once; others wait to be accepted.
const STREAMS_MAX: usize = 128;
/// The pause after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What is read at a time, so that a length that lies costs nothing.
const READ_BYTES: usize = 64 << 10;

/// Something that happened on a stream.
pub(super) enum Arrival {
    /// Another member asks.
    Asked { from: SocketAddr, bytes: Vec<u8>, answer: oneshot::Sender<Vec<u8>> },
    /// What was asked was answered, or not.
    Answered { exchange: u64, answered: Result<Vec<u8>, String> },
}

/// Accepts streams for as long as somebody takes what arrives.
pub(super) async fn accept(streams: Box<dyn Listener>, arrivals: mpsc::Sender<Arrival>) {
    let places = Arc::new(Semaphore::new(STREAMS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (stream, from) = match streams.accept().await {
            Ok((stream, Address::Inet(from))) => (stream, from),
            Ok(_) => continue,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a stream of gossip");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if arrivals.is_closed() {
            return;
        }
        let arrivals = arrivals.clone();
        tokio::spawn(async move {
            if let Ok(Err(error)) = timeout(EXCHANGE_TIMEOUT, serve(stream, from, arrivals)).await {
                tracing::debug!(%from, %error, "an exchange of gossip was broken off");
            }
            drop(place);
        });
    }
}

async fn serve(
    mut stream: Stream,
    from: SocketAddr,
    arrivals: mpsc::Sender<Arrival>,
) -> io::Result<()> {
    let bytes = read(&mut stream).await?;
    let (answer, answered) = oneshot::channel();
    let gone = || io::Error::other("the pool is gone");
    arrivals.send(Arrival::Asked { from, bytes, answer }).await.map_err(|_| gone())?;
    // Without an answer the pool does not want this exchange, and has counted why.
    let Ok(answer) = answered.await else { return Ok(()) };
    write(&mut stream, &answer).await
}

/// Opens a stream, asks and waits for the answer.
pub(super) async fn ask(
    world: Arc<dyn World>,
    to: SocketAddr,
    bytes: Vec<u8>,
) -> Result<Vec<u8>, String> {
    let exchange = async {
        let mut stream = world.connect(&Address::Inet(to)).await?;
        write(&mut stream, &bytes).await?;
        read(&mut stream).await
    };
    match timeout(EXCHANGE_TIMEOUT, exchange).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err("it closed the stream without an answer: its log says why".to_owned())
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_late) => Err(format!("no answer within {} s", EXCHANGE_TIMEOUT.as_secs())),
    }
}

async fn write(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(bytes).await?;
    stream.flush().await
}

async fn read(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let length = stream.read_u32().await? as usize;
    if length > EXCHANGE_BYTES_MAX {
        let why = format!("an exchange of {length} bytes; the limit is {EXCHANGE_BYTES_MAX}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    let mut bytes = Vec::with_capacity(length.min(READ_BYTES));
    let read = stream.take(length as u64).read_to_end(&mut bytes).await?;
    if read < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}
