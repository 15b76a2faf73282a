//! One exchange as its users hold it: a sending and a receiving half.
//!
//! Dropping a half that has not ended breaks the exchange: the other side must not take what was
//! cut for whole, nor wait for what nobody reads. Both futures, of sending and of receiving, can
//! be dropped while they wait; nothing is lost by it, so a caller sets a deadline from outside.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;

use crate::fault::Fault;
use crate::frame::Frame;
use crate::hello::Peer;
use crate::ledger::{Course, Ledger};
use crate::link::Link;
use crate::outbox::Queue;

/// Both halves of an exchange. Dropping it cancels what has not ended.
#[derive(Debug)]
pub struct Exchange {
    sender: Sender,
    receiver: Receiver,
}

impl Exchange {
    pub(crate) fn new(link: &Arc<Link>, id: u32, ledger: &Arc<Ledger>) -> Self {
        let course = || Held { link: Arc::clone(link), ledger: Arc::clone(ledger), id };
        let sender = Sender { held: course(), queue: Queue::Prompt };
        Self { sender, receiver: Receiver { held: course() } }
    }

    /// See [`Sender::send`].
    pub async fn send(&mut self, item: Bytes) -> Result<(), Fault> {
        self.sender.send(item).await
    }

    /// See [`Sender::finish_with`].
    pub async fn finish_with(&mut self, item: Bytes) -> Result<(), Fault> {
        self.sender.finish_with(item).await
    }

    /// See [`Sender::finish`].
    pub fn finish(&mut self) -> Result<(), Fault> {
        self.sender.finish()
    }

    /// See [`Sender::fail`].
    pub async fn fail(self, why: Bytes) {
        self.sender.fail(why).await;
    }

    /// See [`Receiver::next`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        self.receiver.next().await
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.sender.held.link.peer
    }

    /// The two halves, for two tasks.
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    pub(crate) async fn answer(mut self, body: Bytes) -> Result<(), Fault> {
        let sent = self.sender.finish_with(body).await;
        if let Err(fault @ Fault::TooLarge { .. }) = &sent {
            self.sender.fail_as(fault.clone()).await;
        }
        sent
    }
}

/// What both halves hold on to.
struct Held {
    link: Arc<Link>,
    ledger: Arc<Ledger>,
    id: u32,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exchange {} with {}", self.id, self.link.peer)
    }
}

// ------------------------------------------------------------------------------------------------
// Sending
// ------------------------------------------------------------------------------------------------

/// The sending half. Dropping it before the end breaks the exchange.
#[derive(Debug)]
pub struct Sender {
    held: Held,
    /// Streamed as soon as a first item was, so that nothing overtakes.
    queue: Queue,
}

impl Sender {
    /// Sends an item, waiting until the other side has room for it and the connection has. What
    /// was sent is not yet received: only an answer tells that.
    pub async fn send(&mut self, item: Bytes) -> Result<(), Fault> {
        self.queue = Queue::Streamed;
        self.push(item, false).await
    }

    /// Sends the last item and ends this half.
    pub async fn finish_with(&mut self, item: Bytes) -> Result<(), Fault> {
        self.push(item, true).await
    }

    /// Ends this half without another item.
    pub fn finish(&mut self) -> Result<(), Fault> {
        let Held { link, ledger, id } = &self.held;
        let Some(course) = ledger.finish()? else { return Ok(()) };
        link.outbox.say_in(self.queue, Frame::End { id: *id });
        if course == Course::Over {
            link.remove(*id);
        }
        Ok(())
    }

    /// Ends the exchange, both ways: the other side is given these words as [`Fault::Refused`],
    /// after the items that were sent. Words over the other side's limit are cut.
    pub async fn fail(mut self, why: Bytes) {
        self.fail_as(Fault::Refused(why)).await;
    }

    async fn fail_as(&mut self, fault: Fault) {
        let Held { link, ledger, id } = &self.held;
        let (code, mut body) = fault.to_wire();
        body.truncate(link.body_bytes_max());
        let Ok(room) = link.outbox.room(self.queue, body.len()).await else { return };
        if link.remove(*id).is_some() {
            link.outbox.push(Frame::Fault { id: *id, code, body }, room);
        }
        ledger.fail(Fault::Stopped);
    }

    async fn push(&mut self, body: Bytes, is_last: bool) -> Result<(), Fault> {
        let Held { link, ledger, id } = &self.held;
        link.check_size(&body)?;
        poll_fn(|context| ledger.poll_may_send(context)).await?;
        let room = link.outbox.room(self.queue, body.len()).await;
        let course = ledger.spend(&body, is_last)?;
        // Sealed, and no fault yet: the connection's last moment.
        let room = room.map_err(|_| Fault::Stopped)?;
        link.outbox.push(Frame::Item { id: *id, is_last, body }, room);
        if course == Course::Over {
            link.remove(*id);
        }
        Ok(())
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if self.held.ledger.is_sending() {
            self.held.link.cancel(self.held.id);
        }
    }
}

// ------------------------------------------------------------------------------------------------
// Receiving
// ------------------------------------------------------------------------------------------------

/// The receiving half. Dropping it before the other side's end breaks the exchange.
#[derive(Debug)]
pub struct Receiver {
    held: Held,
}

impl Receiver {
    /// Waits for the next item; `None` when the other side has ended its half. Items that came
    /// before a fault are given first.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        let Held { link, ledger, id } = &self.held;
        let Some(read) = poll_fn(|context| ledger.poll_next(context)).await? else {
            return Ok(None);
        };
        if let Some(credit) = read.give_back {
            let number = |n: i64| u32::try_from(n).expect("what is owed is below the ceiling");
            let (items, bytes) = (number(credit.items), number(credit.bytes));
            link.outbox.say(Frame::Credit { id: *id, items, bytes });
        }
        Ok(Some(read.item))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if self.held.ledger.is_receiving() {
            self.held.link.cancel(self.held.id);
        }
    }
}
