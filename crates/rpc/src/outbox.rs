//! Frames that wait to be written, and the writing.
//!
//! Whatever waits when the stream is free leaves in one write. There are two queues. *Prompt*
//! frames (calls, answers, and all small talk) go first and whole; *streamed* items go behind
//! them, so many bytes a write, so that a long transfer delays a call by one write at most. The
//! order inside an exchange holds: its streamed items always come after its opening, and once a
//! half has streamed, all that follows in that half is streamed too.
//!
//! While many exchanges are open the writer lets the tasks that are ready run first, so that their
//! frames leave with the one that woke it; a call on a quiet connection does not wait.
//!
//! Each queue has room for so many bytes; who wants to send asks for room first and waits for it
//! in turn. Small talk (answers to pings, credits, cancels, faults) does not ask; when too much of
//! it waits, nothing more is read, so that it cannot grow ([`Outbox::gate`]).

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::task::yield_now;

use crate::counters::{Tally, add, count};
use crate::frame::{Frame, HEAD_BYTES};
use crate::limits::{COPIED_BYTES_MAX, STREAMED_BATCH_BYTES, UNPAID_FRAMES_MAX};
use crate::pulse::Pulse;

/// In which of the two queues a frame waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    Prompt,
    Streamed,
}

#[derive(Debug)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    prompt_room: Semaphore,
    streamed_room: Semaphore,
    /// Bytes for which each of the two has room.
    room_bytes: u32,
    /// Something waits, or the end has come.
    ready: Notify,
    /// Something was taken.
    taken: Notify,
    n_unpaid: AtomicUsize,
    /// The last exchange whose opening was taken to be written; what is after it was not sent.
    opened_id: AtomicU32,
}

#[derive(Debug, Default)]
struct Waiting {
    prompt: VecDeque<Queued>,
    streamed: VecDeque<Queued>,
    /// Nothing more is taken in; when the queues are empty, the stream is shut down.
    is_sealed: bool,
}

#[derive(Debug)]
struct Queued {
    frame: Frame,
    /// The room it holds; 0 for small talk.
    paid: u32,
    queue: Queue,
}

/// Room for one frame. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    permit: SemaphorePermit<'a>,
    queue: Queue,
}

/// The outbox takes nothing more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sealed;

impl Outbox {
    pub(crate) fn new(room_bytes: u32) -> Self {
        // A semaphore has fewer permits than an u32 can count on small machines only.
        let permits = (room_bytes as usize).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            waiting: Mutex::default(),
            prompt_room: Semaphore::new(permits),
            streamed_room: Semaphore::new(permits),
            room_bytes: u32::try_from(permits).unwrap_or(u32::MAX),
            ready: Notify::new(),
            taken: Notify::new(),
            n_unpaid: AtomicUsize::new(0),
            opened_id: AtomicU32::new(0),
        }
    }

    /// Waits, in turn, for room for a body. What is larger than all room waits for all of it.
    pub(crate) async fn room(&self, queue: Queue, body_bytes: usize) -> Result<Room<'_>, Sealed> {
        let bytes = u32::try_from(body_bytes + HEAD_BYTES).unwrap_or(u32::MAX);
        let permits = bytes.min(self.room_bytes);
        let permit = self.room_of(queue).acquire_many(permits).await.map_err(|_| Sealed)?;
        Ok(Room { permit, queue })
    }

    /// Takes a frame in that has room.
    pub(crate) fn push(&self, frame: Frame, room: Room<'_>) {
        let paid = u32::try_from(room.permit.num_permits()).unwrap_or(u32::MAX);
        room.permit.forget();
        self.enqueue(Queued { frame, paid, queue: room.queue });
    }

    /// Takes small talk in.
    pub(crate) fn say(&self, frame: Frame) {
        self.say_in(Queue::Prompt, frame);
    }

    /// Takes small talk in that may not overtake the exchange's streamed items.
    pub(crate) fn say_in(&self, queue: Queue, frame: Frame) {
        self.n_unpaid.fetch_add(1, Ordering::Relaxed);
        self.enqueue(Queued { frame, paid: 0, queue });
    }

    fn enqueue(&self, queued: Queued) {
        let mut waiting = self.lock();
        if waiting.is_sealed {
            return;
        }
        match queued.queue {
            Queue::Prompt => waiting.prompt.push_back(queued),
            Queue::Streamed => waiting.streamed.push_back(queued),
        }
        drop(waiting);
        self.ready.notify_one();
    }

    /// Waits until not too much small talk waits.
    pub(crate) async fn gate(&self) {
        while self.n_unpaid.load(Ordering::Relaxed) > UNPAID_FRAMES_MAX {
            self.taken.notified().await;
        }
    }

    /// Takes nothing more in; what waits is written, then the stream is shut down.
    pub(crate) fn seal(&self) {
        self.lock().is_sealed = true;
        self.close();
    }

    /// Takes nothing more in and forgets what waits; last words are written, then the stream is
    /// shut down.
    pub(crate) fn condemn(&self, words: Option<Frame>) {
        let mut waiting = self.lock();
        waiting.streamed.clear();
        waiting.prompt.clear();
        let last = words.map(|frame| Queued { frame, paid: 0, queue: Queue::Prompt });
        waiting.prompt.extend(last);
        waiting.is_sealed = true;
        drop(waiting);
        self.close();
    }

    fn close(&self) {
        self.prompt_room.close();
        self.streamed_room.close();
        self.ready.notify_one();
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        let waiting = self.lock();
        waiting.prompt.is_empty() && waiting.streamed.is_empty()
    }

    /// Whether the opening of this exchange may have left.
    pub(crate) fn has_opened(&self, id: u32) -> bool {
        id <= self.opened_id.load(Ordering::Relaxed)
    }

    fn room_of(&self, queue: Queue) -> &Semaphore {
        match queue {
            Queue::Prompt => &self.prompt_room,
            Queue::Streamed => &self.streamed_room,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ------------------------------------------------------------------------------------------------
// Writing
// ------------------------------------------------------------------------------------------------

impl Outbox {
    /// Writes what waits, again and again, until the outbox is sealed and empty. While it
    /// `is_crowded`, others that are ready to send may do so before each write.
    pub(crate) async fn write_to(
        &self,
        stream: &mut (impl AsyncWrite + Unpin),
        pulse: &Pulse,
        tally: &Tally,
        is_crowded: impl Fn() -> bool,
    ) -> io::Result<()> {
        let mut taken = VecDeque::new();
        let mut batch = Batch::default();
        loop {
            if !self.take(&mut taken) {
                if self.is_finished() {
                    return stream.shutdown().await;
                }
                self.ready.notified().await;
                if is_crowded() {
                    yield_now().await;
                }
                continue;
            }
            let (prompt, streamed) = self.encode(&mut taken, &mut batch, tally);
            while batch.has_remaining() {
                pulse.write();
                let n = stream.write_buf(&mut batch).await?;
                if n == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                count(&tally.writes);
                add(&tally.bytes_written, n);
            }
            stream.flush().await?;
            pulse.rest();
            self.prompt_room.add_permits(prompt);
            self.streamed_room.add_permits(streamed);
        }
    }

    /// Takes what goes into the next write: everything prompt, and some of what is streamed.
    fn take(&self, taken: &mut VecDeque<Queued>) -> bool {
        let mut waiting = self.lock();
        std::mem::swap(taken, &mut waiting.prompt);
        let mut bytes = 0;
        while bytes < STREAMED_BATCH_BYTES
            && let Some(queued) = waiting.streamed.pop_front()
        {
            bytes += queued.paid as usize;
            taken.push_back(queued);
        }
        !taken.is_empty()
    }

    fn is_finished(&self) -> bool {
        let is_sealed = self.lock().is_sealed;
        is_sealed && self.is_empty()
    }

    /// Turns frames into bytes; tells the room that they give back when written.
    fn encode(
        &self,
        taken: &mut VecDeque<Queued>,
        batch: &mut Batch,
        tally: &Tally,
    ) -> (usize, usize) {
        let (mut prompt, mut streamed, mut n_unpaid) = (0, 0, 0);
        add(&tally.frames_written, taken.len());
        for Queued { frame, paid, queue } in taken.drain(..) {
            match queue {
                _ if paid == 0 => n_unpaid += 1,
                Queue::Prompt => prompt += paid as usize,
                Queue::Streamed => streamed += paid as usize,
            }
            if let Frame::Open { id, .. } = &frame {
                self.opened_id.store(*id, Ordering::Relaxed);
            }
            batch.push(frame);
        }
        batch.finish();
        if n_unpaid > 0 {
            self.n_unpaid.fetch_sub(n_unpaid, Ordering::Relaxed);
            self.taken.notify_one();
        }
        (prompt, streamed)
    }
}

/// The bytes of one write: small frames copied together, large bodies as they are.
#[derive(Debug, Default)]
struct Batch {
    pieces: VecDeque<Bytes>,
    /// What was copied since the last piece. Its memory is used again by the next batch.
    copied: BytesMut,
}

impl Batch {
    fn push(&mut self, frame: Frame) {
        if let Some(body) = frame.encode(&mut self.copied) {
            self.finish();
            self.pieces.push_back(body);
        }
    }

    fn finish(&mut self) {
        if !self.copied.is_empty() {
            self.pieces.push_back(self.copied.split().freeze());
        }
        if self.copied.capacity() > 4 * COPIED_BYTES_MAX {
            self.copied = BytesMut::new();
        }
    }
}

impl Buf for Batch {
    fn remaining(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = slices.iter_mut().zip(&self.pieces);
        filled.map(|(slice, piece)| *slice = IoSlice::new(piece)).count()
    }

    fn advance(&mut self, mut n: usize) {
        while n > 0 {
            let Some(piece) = self.pieces.front_mut() else { return };
            let from_it = n.min(piece.len());
            piece.advance(from_it);
            n -= from_it;
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: u32, byte: u8, bytes: usize) -> Frame {
        Frame::Item { id, is_last: false, body: vec![byte; bytes].into() }
    }

    async fn push(outbox: &Outbox, queue: Queue, frame: Frame) {
        let bytes = match &frame {
            Frame::Item { body, .. } => body.len(),
            _ => 0,
        };
        let room = outbox.room(queue, bytes).await.expect("not sealed");
        outbox.push(frame, room);
    }

    /// What is written until the outbox is empty, as ids of frames, and in how many writes.
    async fn written(outbox: &Outbox) -> (Vec<u32>, u64) {
        let (pulse, tally) = (Pulse::new(), Tally::default());
        let mut bytes = Vec::new();
        outbox.seal();
        outbox.write_to(&mut bytes, &pulse, &tally, || false).await.expect("memory takes it");
        let mut buffer = BytesMut::from(&bytes[..]);
        let mut ids = Vec::new();
        while let Ok(crate::frame::Parsed::Whole(frame)) = crate::frame::parse(&mut buffer, 1 << 24)
        {
            match frame {
                Frame::Item { id, .. } | Frame::Cancel { id } => ids.push(id),
                _ => panic!("only items and cancels were written"),
            }
        }
        assert!(buffer.is_empty());
        (ids, tally.read().writes)
    }

    #[tokio::test]
    async fn what_waits_together_leaves_in_one_write() {
        let outbox = Outbox::new(1 << 20);
        for id in 1..=100 {
            push(&outbox, Queue::Prompt, item(id, 7, 100)).await;
        }
        assert_eq!(written(&outbox).await, ((1..=100).collect(), 1));
    }

    #[tokio::test]
    async fn large_bodies_keep_their_place() {
        let outbox = Outbox::new(1 << 20);
        push(&outbox, Queue::Prompt, item(1, 1, 10)).await;
        push(&outbox, Queue::Prompt, item(2, 2, 100_000)).await;
        push(&outbox, Queue::Prompt, item(3, 3, 10)).await;
        assert_eq!(written(&outbox).await.0, [1, 2, 3]);
    }

    #[tokio::test]
    async fn prompt_frames_overtake_streamed_ones_but_not_each_other() {
        let outbox = Outbox::new(1 << 20);
        push(&outbox, Queue::Streamed, item(1, 1, 200_000)).await;
        push(&outbox, Queue::Streamed, item(2, 2, 10)).await;
        push(&outbox, Queue::Prompt, item(3, 3, 10)).await;
        outbox.say(Frame::Cancel { id: 4 });
        assert_eq!(written(&outbox).await.0, [3, 4, 1, 2]);
    }

    #[tokio::test]
    async fn a_sender_waits_for_room_and_what_is_larger_than_all_room_waits_for_all() {
        let outbox = Outbox::new(1_000);
        push(&outbox, Queue::Prompt, item(1, 1, 5_000)).await;
        let (pulse, tally) = (Pulse::new(), Tally::default());
        let mut waits = std::pin::pin!(outbox.room(Queue::Prompt, 1));
        let is_waiting = std::future::poll_fn(|context| {
            std::task::Poll::Ready(waits.as_mut().poll(context).is_pending())
        });
        assert!(is_waiting.await);
        let mut bytes = Vec::new();
        let mut writing = std::pin::pin!(outbox.write_to(&mut bytes, &pulse, &tally, || false));
        tokio::select! {
            biased;
            _ = &mut writing => panic!("it is not sealed"),
            room = waits => assert!(room.is_ok()),
        }
        outbox.condemn(None);
        assert!(matches!(outbox.room(Queue::Prompt, 1).await, Err(Sealed)));
    }

    #[tokio::test]
    async fn too_much_small_talk_stops_the_reader_until_it_is_written() {
        let outbox = Outbox::new(1_000);
        (0..=UNPAID_FRAMES_MAX).for_each(|_| outbox.say(Frame::Pong));
        let (pulse, tally) = (Pulse::new(), Tally::default());
        let mut bytes = Vec::new();
        tokio::select! {
            biased;
            () = outbox.gate() => {}
            _ = outbox.write_to(&mut bytes, &pulse, &tally, || false) => panic!("it is not sealed"),
        }
        assert_eq!(bytes.len(), HEAD_BYTES * (UNPAID_FRAMES_MAX + 1));
    }
}
