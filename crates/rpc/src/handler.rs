//! What a port accepts connections for.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::hello::Peer;

/// An exchange that is being served.
pub type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves exchanges. Shared by all connections of a port.
pub trait Handler: Send + Sync + 'static {
    /// Whether to speak with this peer at all, asked once a connection. The words of a refusal are
    /// sent to it and logged there: they say what an operator can do.
    fn admit(&self, peer: &Peer) -> Result<(), String>;

    /// Serves one exchange, in a task of its own. The future is dropped when the opener cancels
    /// or its connection ends; an exchange that is dropped without an answer fails for the opener.
    fn serve(self: Arc<Self>, from: Arc<Peer>, opened: Opened) -> Serving;
}

/// An exchange that the other side opened.
#[derive(Debug)]
pub struct Opened {
    /// What is asked for; its meaning is agreed between handlers and callers.
    pub method: u16,
    /// The first body.
    pub body: Bytes,
    /// Until when the opener waits for an answer, if it was a call; of other exchanges, until when
    /// it waited for the opening. The clock is ours: the time on the way is not in it.
    pub deadline: Instant,
    /// For more items, either way.
    pub exchange: Exchange,
}

impl Opened {
    /// Answers with one body and ends this side's half. If the answer is too large for the
    /// opener, it is told so. An error says that nobody waits any more.
    pub async fn answer(self, body: Bytes) -> Result<(), Fault> {
        self.exchange.answer(body).await
    }

    /// Refuses; the opener is given these words as [`Fault::Refused`].
    pub async fn refuse(self, why: Bytes) {
        self.exchange.fail(why).await;
    }
}
