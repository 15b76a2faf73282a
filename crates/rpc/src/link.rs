//! One connection after its hello: the exchanges that are open on it, and what each frame does
//! to them.
//!
//! Only the dialer opens exchanges. Their ids grow by one, so both sides can tell a frame that
//! comes late for an exchange that is over (which is nothing) from one for an exchange that never
//! was (which is a violation). When the ids are used up, the connection retires.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::counters::Tally;
use crate::ending::{Ending, Words};
use crate::fault::Fault;
use crate::frame::Frame;
use crate::handler::Handler;
use crate::hello::Peer;
use crate::ledger::{Course, Credit, Ledger, Overdrawn};
use crate::limits::{Limits, Terms};
use crate::outbox::{Outbox, Queue};
use crate::pulse::Pulse;

pub(crate) struct Link {
    pub(crate) peer: Arc<Peer>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) outbox: Outbox,
    pub(crate) pulse: Pulse,
    pub(crate) tally: Arc<Tally>,
    pub(crate) role: Role,
    /// What the other side takes.
    pub(crate) theirs: Terms,
    table: Mutex<Table>,
    /// The table is no longer empty, and the clock believed that it was.
    pub(crate) busy: Notify,
    /// The table is empty, and the connection was to take no more.
    pub(crate) emptied: Notify,
    /// The connection is to take no more.
    pub(crate) retiring: Notify,
}

/// Which side of the connection this is.
pub(crate) enum Role {
    /// Opens exchanges.
    Dialer,
    /// Serves them.
    Acceptor(Arc<dyn Handler>),
}

/// The exchanges of a connection.
pub(crate) struct Table {
    /// Walked by id, which is the order in which they were opened.
    pub(crate) exchanges: BTreeMap<u32, Entry>,
    /// The last id that was used.
    pub(crate) last_id: u32,
    /// Bytes of the first bodies of those that are served.
    pub(crate) bodies_bytes: usize,
    pub(crate) standing: Standing,
    /// When the table last became empty.
    pub(crate) emptied_at: Instant,
    pub(crate) awaiting: Awaiting,
    /// The clock sleeps until the connection has idled long enough.
    pub(crate) is_clock_idle: bool,
}

/// Since when something is to be heard. Kept over exchanges that ended unheard, so that calls
/// which give up, one after the other, do not hide a peer that is gone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Awaiting {
    pub(crate) since: Instant,
    /// How often something had been heard then.
    pub(crate) n_heard: u64,
}

/// One open exchange.
pub(crate) struct Entry {
    pub(crate) ledger: Arc<Ledger>,
    /// Who serves it.
    pub(crate) server: Option<AbortHandle>,
    pub(crate) body_bytes: usize,
}

/// Whether exchanges can be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Open,
    /// Those that are open may end.
    Leaving,
    Closed,
}

impl Link {
    pub(crate) fn new(
        peer: Peer,
        theirs: Terms,
        role: Role,
        limits: Arc<Limits>,
        tally: Arc<Tally>,
    ) -> Arc<Self> {
        let table = Table {
            exchanges: BTreeMap::new(),
            last_id: 0,
            bodies_bytes: 0,
            standing: Standing::Open,
            emptied_at: Instant::now(),
            // As if something had been heard since: nothing was asked yet.
            awaiting: Awaiting { since: Instant::now(), n_heard: u64::MAX },
            is_clock_idle: false,
        };
        Arc::new(Self {
            peer: Arc::new(peer),
            outbox: Outbox::new(limits.queue_bytes_max),
            pulse: Pulse::new(),
            tally,
            role,
            theirs,
            table: Mutex::new(table),
            limits,
            busy: Notify::new(),
            emptied: Notify::new(),
            retiring: Notify::new(),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an exchange can be opened now.
    pub(crate) fn is_open(&self) -> bool {
        self.lock().standing == Standing::Open
    }

    /// Bytes that the other side takes in one body.
    pub(crate) fn body_bytes_max(&self) -> usize {
        self.theirs.body_bytes_max as usize
    }

    /// Whether the other side takes a body of this size.
    pub(crate) fn check_size(&self, body: &Bytes) -> Result<(), Fault> {
        if body.len() <= self.body_bytes_max() {
            return Ok(());
        }
        let bytes_max = self.body_bytes_max() as u64;
        Err(Fault::TooLarge { bytes: body.len() as u64, bytes_max })
    }

    /// Puts a new exchange into the table, which the caller has locked.
    pub(crate) fn insert(&self, table: &mut Table, id: u32, entry: Entry) {
        table.last_id = id;
        table.bodies_bytes += entry.body_bytes;
        if table.exchanges.is_empty() {
            let n_heard = self.pulse.n_heard();
            if table.awaiting.n_heard != n_heard {
                table.awaiting = Awaiting { since: Instant::now(), n_heard };
            }
            if std::mem::take(&mut table.is_clock_idle) {
                self.busy.notify_one();
            }
        }
        table.exchanges.insert(id, entry);
    }

    /// Takes an exchange out of the table, if it is still there.
    pub(crate) fn remove(&self, id: u32) -> Option<Entry> {
        let mut table = self.lock();
        let entry = table.exchanges.remove(&id)?;
        table.bodies_bytes -= entry.body_bytes;
        if table.exchanges.is_empty() {
            table.emptied_at = Instant::now();
            if table.standing != Standing::Open {
                self.emptied.notify_one();
            }
        }
        Some(entry)
    }

    /// This side leaves an exchange that has not ended. What it has ended itself is sent first.
    pub(crate) fn cancel(&self, id: u32) {
        if let Some(entry) = self.remove(id) {
            let queue = match entry.ledger.is_sending() {
                true => Queue::Prompt,
                false => Queue::Streamed,
            };
            self.outbox.say_in(queue, Frame::Cancel { id });
            entry.ledger.fail(Fault::Stopped);
        }
    }

    /// The connection takes no more exchanges; the other side is told if it would open them.
    pub(crate) fn leave(&self) {
        let mut table = self.lock();
        if table.standing == Standing::Open {
            table.standing = Standing::Leaving;
            if let Role::Acceptor(_) = self.role {
                self.outbox.say(Frame::Leave);
            }
        }
    }

    /// The connection is over: what is open on it fails, in the order in which it was opened.
    pub(crate) fn close(&self, ending: &Ending) {
        let mut table = self.lock();
        table.standing = Standing::Closed;
        table.bodies_bytes = 0;
        let exchanges = std::mem::take(&mut table.exchanges);
        drop(table);
        let peer = self.peer.to_string();
        for (id, entry) in exchanges {
            let was_sent = matches!(self.role, Role::Acceptor(_)) || self.outbox.has_opened(id);
            entry.ledger.fail(match ending.fault(&peer) {
                Fault::Lost(_) | Fault::Protocol(_) if !was_sent => {
                    Fault::Unreachable(ending.describe(&peer))
                }
                fault => fault,
            });
            entry.server.iter().for_each(AbortHandle::abort);
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link to {}", self.peer)
    }
}

// ------------------------------------------------------------------------------------------------
// What frames do
// ------------------------------------------------------------------------------------------------

impl Link {
    /// Does what a frame asks for. An error ends the connection.
    pub(crate) fn handle(self: &Arc<Self>, frame: Frame) -> Result<(), Ending> {
        match frame {
            Frame::Open { id, method, remaining_ms, is_whole, body } => {
                self.opened(id, method, remaining_ms, is_whole, body)
            }
            Frame::Item { id, is_last, body } => {
                self.in_exchange(id, |ledger| ledger.item(body, is_last))
            }
            Frame::End { id } => self.in_exchange(id, Ledger::end),
            Frame::Credit { id, items, bytes } => {
                let credit = Credit { items: items.into(), bytes: bytes.into() };
                self.in_exchange(id, |ledger| {
                    ledger.credit(credit, &self.theirs).map(|()| Course::Goes)
                })
            }
            Frame::Fault { id, code, body } => {
                self.known(id)?;
                if let Some(entry) = self.remove(id) {
                    entry.ledger.fail(Fault::from_wire(code, body));
                }
                Ok(())
            }
            Frame::Cancel { id } => {
                self.known(id)?;
                if let Some(entry) = self.remove(id) {
                    let what = format!("{} left the exchange before its end", self.peer);
                    entry.ledger.fail(Fault::Lost(what));
                    entry.server.iter().for_each(AbortHandle::abort);
                }
                Ok(())
            }
            Frame::Ping => {
                self.outbox.say(Frame::Pong);
                Ok(())
            }
            Frame::Pong => Ok(()),
            Frame::Leave if matches!(self.role, Role::Dialer) => {
                self.leave();
                self.retiring.notify_one();
                Ok(())
            }
            Frame::Close { reason, words } => Err(Ending::Told(Words::new(reason, words))),
            Frame::Leave | Frame::Hello(_) => Err(violation("a frame out of place")),
        }
    }

    /// Writes into the ledger of an exchange, if that is still open.
    fn in_exchange(
        &self,
        id: u32,
        write: impl FnOnce(&Ledger) -> Result<Course, Overdrawn>,
    ) -> Result<(), Ending> {
        let Some(ledger) = self.known(id)? else { return Ok(()) };
        match write(&ledger) {
            Ok(Course::Goes) => {}
            Ok(Course::Over) => drop(self.remove(id)),
            Err(Overdrawn) => return Err(violation("more was sent than was allowed")),
        }
        Ok(())
    }

    /// The ledger of an exchange, if that is still open. One that never was is a violation.
    fn known(&self, id: u32) -> Result<Option<Arc<Ledger>>, Ending> {
        let table = self.lock();
        if id == 0 || id > table.last_id {
            return Err(violation("a frame for an exchange that was never opened"));
        }
        Ok(table.exchanges.get(&id).map(|entry| Arc::clone(&entry.ledger)))
    }
}

pub(crate) fn violation(what: &str) -> Ending {
    Ending::Violated(Words::garbage(what))
}
