//! How exchanges begin on a connection: by the dialer, and as the acceptor sees it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::{Duration, Instant, timeout_at};

use crate::counters::count;
use crate::ending::Ending;
use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::frame::Frame;
use crate::handler::Opened;
use crate::ledger::Ledger;
use crate::link::{Entry, Link, Role, Standing, violation};
use crate::outbox::{Queue, Room};

impl Link {
    /// Opens an exchange and waits for its answer. Dropping the future cancels it.
    pub(crate) async fn call(
        self: &Arc<Self>,
        method: u16,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Bytes, Fault> {
        let mut exchange = self.open(method, body, true, deadline).await?;
        let answer = timeout_at(deadline, exchange.next()).await.map_err(|_| Fault::Late)??;
        answer.ok_or_else(|| Fault::Lost(format!("{} ended without an answer", self.peer)))
    }

    /// Opens an exchange; with `is_whole`, the opener's half ends with the body. If the connection
    /// takes no more, the fault is [`Fault::Unreachable`].
    pub(crate) async fn open(
        self: &Arc<Self>,
        method: u16,
        body: Bytes,
        is_whole: bool,
        deadline: Instant,
    ) -> Result<Exchange, Fault> {
        self.check_size(&body)?;
        let room = timeout_at(deadline, self.outbox.room(Queue::Prompt, body.len()));
        let room = room.await.map_err(|_| Fault::Late)?.map_err(|_| self.no_more())?;
        let remaining = deadline.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            return Err(Fault::Late);
        }
        let remaining_ms = u32::try_from(remaining.as_millis()).unwrap_or(u32::MAX).max(1);
        let opening = |id| Frame::Open { id, method, remaining_ms, is_whole, body };
        self.begin(opening, is_whole, room)
    }

    /// Gives the exchange its id. Ids are sent in the order in which they are given, so the frame
    /// is queued under the same lock.
    fn begin(
        self: &Arc<Self>,
        opening: impl FnOnce(u32) -> Frame,
        is_whole: bool,
        room: Room<'_>,
    ) -> Result<Exchange, Fault> {
        let ledger = Ledger::new(&self.limits.terms(), &self.theirs, is_whole, false);
        let ledger = Arc::new(ledger);
        let mut table = self.lock();
        if table.standing != Standing::Open {
            return Err(self.no_more());
        }
        if table.exchanges.len() >= self.theirs.exchanges_max as usize {
            count(&self.tally.exchanges_busy);
            return Err(Fault::Busy);
        }
        let id = table.last_id + 1;
        if id == u32::MAX {
            table.standing = Standing::Leaving;
            self.retiring.notify_one();
        }
        let entry = Entry { ledger: Arc::clone(&ledger), server: None, body_bytes: 0 };
        self.insert(&mut table, id, entry);
        self.outbox.push(opening(id), room);
        drop(table);
        count(&self.tally.exchanges);
        Ok(Exchange::new(self, id, &ledger))
    }

    fn no_more(&self) -> Fault {
        Fault::Unreachable(format!("the connection to {} takes no more", self.peer))
    }

    /// The other side opened an exchange: it is served in a task of its own, or turned away.
    pub(crate) fn opened(
        self: &Arc<Self>,
        id: u32,
        method: u16,
        remaining_ms: u32,
        is_whole: bool,
        body: Bytes,
    ) -> Result<(), Ending> {
        let Role::Acceptor(handler) = &self.role else {
            return Err(violation("the acceptor opened an exchange"));
        };
        let ledger = Ledger::new(&self.limits.terms(), &self.theirs, false, is_whole);
        let ledger = Arc::new(ledger);
        if let Err(fault) = self.enter(id, &ledger, body.len())? {
            let (code, body) = fault.to_wire();
            self.outbox.say(Frame::Fault { id, code, body });
            return Ok(());
        }
        count(&self.tally.exchanges);
        let deadline = Instant::now() + Duration::from_millis(remaining_ms.into());
        let exchange = Exchange::new(self, id, &ledger);
        let opened = Opened { method, body, deadline, exchange };
        let (handler, peer) = (Arc::clone(handler), Arc::clone(&self.peer));
        let server = tokio::spawn(async move { handler.serve(peer, opened).await });
        if let Some(entry) = self.lock().exchanges.get_mut(&id) {
            entry.server = Some(server.abort_handle());
        }
        Ok(())
    }

    /// Puts an exchange that came into the table, or says why it is turned away.
    fn enter(
        &self,
        id: u32,
        ledger: &Arc<Ledger>,
        body_bytes: usize,
    ) -> Result<Result<(), Fault>, Ending> {
        let mut table = self.lock();
        if id <= table.last_id {
            return Err(violation("an exchange was opened twice"));
        }
        if table.standing != Standing::Open {
            table.last_id = id;
            return Ok(Err(Fault::Stopped));
        }
        let is_full = table.exchanges.len() >= self.limits.terms().exchanges_max as usize;
        let bodies_bytes = table.bodies_bytes + body_bytes;
        // One body is served whatever its size, else it never would be.
        let is_heavy = table.bodies_bytes > 0 && bodies_bytes > self.limits.bodies_bytes_max;
        if is_full || is_heavy {
            table.last_id = id;
            count(&self.tally.exchanges_busy);
            return Ok(Err(Fault::Busy));
        }
        let entry = Entry { ledger: Arc::clone(ledger), server: None, body_bytes };
        self.insert(&mut table, id, entry);
        Ok(Ok(()))
    }
}
