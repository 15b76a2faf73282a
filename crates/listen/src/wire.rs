//! The bytes of a connection, watched.
//!
//! The HTTP engine does not tell when a request begins to come, so the wire does: it knows
//! whether a handler is at work ([`Busy`]) and notes the first byte that is read while none is.
//! From that moment on the head of a request is on its way and the connection's clock runs. The
//! wire also gives back the bytes that were read to tell HTTP/1.1 from HTTP/2.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use muster_world::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Duration, Instant};

/// Bytes that are read without an engine at a time: more than most heads have.
const TAKEN_MAX: usize = 1_024;
/// What an HTTP/2 connection begins with.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream, the bytes already taken from it, and what is going on.
pub(crate) struct Wire {
    stream: Stream,
    /// Bytes to be read before those of the stream, but for the first `given`.
    ahead: Vec<u8>,
    given: usize,
    pub(crate) activity: Arc<Activity>,
}

/// What is going on on a connection, as far as its clock must know.
#[derive(Debug)]
pub(crate) struct Activity {
    opened_at: Instant,
    /// Requests in the hands of a handler, and streamed answers not yet sent.
    busy: AtomicU32,
    /// When the head that is on its way began, as milliseconds since `opened_at` and one more;
    /// 0 when none is.
    head_began: AtomicU64,
    /// When the last request ended, in the same way but without the one more.
    idle_since: AtomicU64,
    /// Since when the client takes no more bytes, in the same way as `head_began`.
    blocked_since: AtomicU64,
    /// HTTP/2 has other traffic than requests, so its bytes do not begin a head.
    has_frames: AtomicBool,
    turn: AtomicU8,
}

/// Whether a parked request decides what becomes of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Turn {
    /// No.
    Usual,
    /// The request at hand was laid aside: the engine is to be taken apart.
    Parked,
    /// It was handed its answer: the engine is to be taken apart when that is written.
    Answered,
}

/// A request in the hands of a handler.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Activity>);

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            opened_at: Instant::now(),
            busy: AtomicU32::new(0),
            head_began: AtomicU64::new(0),
            idle_since: AtomicU64::new(0),
            blocked_since: AtomicU64::new(0),
            has_frames: AtomicBool::new(false),
            turn: AtomicU8::new(Turn::Usual as u8),
        })
    }

    /// A whole head has come.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.head_began.store(0, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    /// When the head that is on its way began.
    pub(crate) fn head_began(&self) -> Option<Instant> {
        self.moment(self.head_began.load(Ordering::Relaxed).checked_sub(1)?)
    }

    /// When the connection last had something to do.
    pub(crate) fn idle_since(&self) -> Instant {
        self.moment(self.idle_since.load(Ordering::Relaxed)).unwrap_or(self.opened_at)
    }

    /// Since when the client takes no more bytes, if so.
    pub(crate) fn blocked_since(&self) -> Option<Instant> {
        self.moment(self.blocked_since.load(Ordering::Relaxed).checked_sub(1)?)
    }

    /// Bytes that come no longer begin a head.
    pub(crate) fn has_frames(&self) {
        self.has_frames.store(true, Ordering::Relaxed);
        self.head_began.store(0, Ordering::Relaxed);
    }

    /// Whether the engine has nothing more to do for a parked request.
    pub(crate) fn is_engine_spare(&self) -> bool {
        let turn = self.turn.load(Ordering::Relaxed);
        let is_idle = !self.is_busy() && self.head_began().is_none();
        let is_spare = turn == Turn::Parked as u8 || turn == Turn::Answered as u8 && is_idle;
        is_spare && self.blocked_since().is_none()
    }

    pub(crate) fn set_turn(&self, turn: Turn) {
        self.turn.store(turn as u8, Ordering::Relaxed);
    }

    fn note_bytes(&self) {
        let is_head = !self.is_busy() && !self.has_frames.load(Ordering::Relaxed);
        if is_head && self.head_began.load(Ordering::Relaxed) == 0 {
            self.head_began.store(self.age_ms() + 1, Ordering::Relaxed);
        }
    }

    fn note_written<T>(&self, written: Poll<T>) -> Poll<T> {
        let was_blocked = self.blocked_since.load(Ordering::Relaxed) > 0;
        if written.is_pending() && !was_blocked {
            self.blocked_since.store(self.age_ms() + 1, Ordering::Relaxed);
        } else if written.is_ready() && was_blocked {
            self.blocked_since.store(0, Ordering::Relaxed);
        }
        written
    }

    fn moment(&self, age_ms: u64) -> Option<Instant> {
        self.opened_at.checked_add(Duration::from_millis(age_ms))
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.opened_at.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.idle_since.store(self.0.age_ms(), Ordering::Relaxed);
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Wire {
    pub(crate) fn new(stream: Stream) -> Self {
        let activity = Activity::new();
        Self { stream, ahead: Vec::new(), given: 0, activity }
    }

    /// Has these bytes read before all others.
    pub(crate) fn give_back(&mut self, bytes: &[u8]) {
        self.ahead.splice(..self.given, bytes.iter().copied());
        self.given = 0;
    }

    /// Waits until the client has gone. One that sends on has not, and what it sends first is kept
    /// to be read: no more is taken, so its going is told only by the next reading.
    pub(crate) async fn hung_up(&mut self) {
        if self.has_bytes().await {
            std::future::pending().await
        }
    }

    /// Waits for bytes to be read. False if the client has gone instead.
    pub(crate) async fn has_bytes(&mut self) -> bool {
        if self.ahead.is_empty() {
            let took = std::future::poll_fn(|context| self.poll_take(context, TAKEN_MAX)).await;
            return took.is_ok_and(|count| count > 0);
        }
        true
    }

    /// Reads at most so many bytes from the stream, and keeps them to be read once more.
    fn poll_take(&mut self, context: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        let mut room = [0; TAKEN_MAX];
        let mut room = ReadBuf::new(&mut room[..most]);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut room))?;
        if !room.filled().is_empty() {
            self.activity.note_bytes();
            self.ahead.extend_from_slice(room.filled());
        }
        Poll::Ready(Ok(room.filled().len()))
    }

    /// Takes some bytes and says what they show; all are given back to who reads.
    pub(crate) async fn sniff(&mut self) -> io::Result<Sniffed> {
        let wanted = PREFACE.len() - self.ahead.len();
        if std::future::poll_fn(|context| self.poll_take(context, wanted)).await? == 0 {
            return Ok(Sniffed::Nobody);
        }
        Ok(match PREFACE.starts_with(&self.ahead) {
            false => Sniffed::Http1,
            true if self.ahead.len() == PREFACE.len() => Sniffed::Http2,
            true => Sniffed::Unclear,
        })
    }
}

/// What the first bytes of a connection show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sniffed {
    /// Too few bytes to tell.
    Unclear,
    Http1,
    Http2,
    /// The client left.
    Nobody,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let has_some = !self.ahead.is_empty();
        if has_some {
            let count = buffer.remaining().min(self.ahead.len() - self.given);
            buffer.put_slice(&self.ahead[self.given..self.given + count]);
            self.given += count;
            if self.given < self.ahead.len() {
                return Poll::Ready(Ok(()));
            }
            (self.ahead, self.given) = (Vec::new(), 0);
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.note_bytes();
        }
        // What was kept is given with what follows it, so that the head comes as one: for the second
        // part of one the engine would take another buffer, twice as large. That nothing follows,
        // for now or for ever, is told by the next reading.
        if has_some { Poll::Ready(Ok(())) } else { read }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.activity.note_written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.activity.note_written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn what_told_the_protocol_comes_with_what_follows_it() {
        let (mut client, server) = duplex(1024);
        let head = b"GET /a-path-that-is-longer-than-the-preface HTTP/1.1\r\n\r\n";
        client.write_all(head).await.expect("there is room");
        let mut wire = Wire::new(Box::new(server));
        assert_eq!(wire.sniff().await.expect("readable"), Sniffed::Http1);
        let mut read = [0; 256];
        let count = wire.read(&mut read).await.expect("readable");
        assert_eq!(read[..count], head[..], "in one piece");
    }

    #[tokio::test]
    async fn a_head_that_nothing_follows_is_given_at_once_and_its_end_is_told_next() {
        let (mut client, server) = duplex(1024);
        let head = b"GET / HTTP/1.1\r\n";
        client.write_all(head).await.expect("there is room");
        let mut wire = Wire::new(Box::new(server));
        assert_eq!(wire.sniff().await.expect("readable"), Sniffed::Http1);
        let mut read = [0; 256];
        let count = wire.read(&mut read).await.expect("readable");
        assert_eq!(read[..count], head[..]);
        drop(client);
        assert_eq!(wire.read(&mut read).await.expect("a clean end"), 0);
    }
}
