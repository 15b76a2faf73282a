//! The body of an answer: whole, as nearly all are, or a stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;

use crate::wire::Busy;

/// What is sent back. A whole one costs no allocation of its own.
#[derive(Debug)]
pub struct Body(Kind);

#[derive(Debug)]
enum Kind {
    Whole(Bytes),
    Stream { chunks: mpsc::Receiver<io::Result<Bytes>>, _busy: Option<Busy> },
}

/// Feeds a streamed body. Dropping it ends the body.
#[derive(Debug)]
pub struct Sender(mpsc::Sender<io::Result<Bytes>>);

impl Body {
    /// No bytes.
    pub const fn empty() -> Self {
        Self(Kind::Whole(Bytes::new()))
    }

    /// A body that is sent as it is made. At most `chunks_max` wait for a slow client.
    pub fn stream(chunks_max: usize) -> (Sender, Self) {
        let (sender, chunks) = mpsc::channel(chunks_max);
        (Sender(sender), Self(Kind::Stream { chunks, _busy: None }))
    }

    /// Keeps the connection's clock off until this body is sent.
    pub(crate) fn keep_busy(&mut self, busy: Busy) {
        if let Kind::Stream { _busy, .. } = &mut self.0 {
            *_busy = Some(busy);
        }
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(whole: T) -> Self {
        Self(Kind::Whole(whole.into()))
    }
}

impl Sender {
    /// Sends a piece, waiting while the client is slow. False when the client has gone, so that
    /// there is no need for more.
    pub async fn send(&self, chunk: impl Into<Bytes>) -> bool {
        self.0.send(Ok(chunk.into())).await.is_ok()
    }

    /// Breaks the body off, so that the client does not take it for complete.
    pub async fn fail(self, error: io::Error) {
        // If the client has gone there is nobody left to be misled.
        let _ = self.0.send(Err(error)).await;
    }

    /// Waits until the client has gone.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.0 {
            Kind::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Stream { chunks, .. } => {
                chunks.poll_recv(context).map(|chunk| chunk.map(|it| it.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Kind::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream { .. } => SizeHint::default(),
        }
    }
}
