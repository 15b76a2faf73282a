//! The task of a connection: it reads, writes, keeps the time, and says good-bye.
//!
//! One task for all four, so that a call costs one wake-up on each side before its handler runs
//! and one after. The clock is wound for the nearest moment that can matter; a frame that comes
//! or goes only leaves a mark in [`crate::pulse`].

use std::pin::pin;
use std::sync::Arc;

use muster_world::Stream;
use tokio::io::WriteHalf;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout};

use crate::counters::{add, count};
use crate::ending::{Ending, Words};
use crate::frame::Frame;
use crate::inbox::{Dry, Inbox};
use crate::limits::{CROWD, FAREWELL_TIMEOUT, READS_AT_A_TIME};
use crate::link::{Link, Role, Standing, Table};

/// How far the owner of connections, a pool or a port, is with its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// New exchanges are welcome.
    Serving,
    /// Those that are open may end.
    Draining,
    /// Whatever is open is dropped.
    Closed,
}

impl Link {
    /// Lives the life of the connection, to its end.
    pub(crate) async fn drive(
        self: Arc<Self>,
        mut inbox: Inbox,
        mut stream: WriteHalf<Stream>,
        stage: watch::Receiver<Stage>,
    ) {
        count(&self.tally.connections);
        count(&self.tally.connections_open);
        let is_crowded = || self.lock().exchanges.len() >= CROWD;
        let mut writing =
            pin!(self.outbox.write_to(&mut stream, &self.pulse, &self.tally, is_crowded));
        let ending = tokio::select! {
            biased;
            ending = self.read(&mut inbox) => ending,
            written = &mut writing => match written {
                Ok(()) => Ending::Gone,
                Err(error) => Ending::Broken(error.to_string()),
            },
            ending = self.keep_time() => ending,
            ending = self.depart(stage) => ending,
        };
        self.report(&ending);
        self.close(&ending);
        let words = ending.words();
        let is_heard = ending.is_orderly() || words.is_some();
        match ending.is_orderly() {
            true => self.outbox.seal(),
            false => self.outbox.condemn(words.map(|words| words.frame())),
        }
        if is_heard {
            let farewell = async { tokio::join!(writing, inbox.discard()) };
            // Whoever does not listen has lost only an explanation.
            let _ = timeout(FAREWELL_TIMEOUT, farewell).await;
        }
        self.tally.connections_open.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }

    fn report(&self, ending: &Ending) {
        self.tally.count_ending(ending);
        let what = ending.describe(&self.peer.to_string());
        match ending.is_trouble() {
            true => self.tally.complain(&self.peer.address, &what),
            false => tracing::debug!("{what}"),
        }
    }

    async fn read(self: &Arc<Self>, inbox: &mut Inbox) -> Ending {
        let bytes_max = self.limits.frame_bytes_max();
        let mut n_reads = 0;
        loop {
            self.outbox.gate().await;
            if n_reads >= READS_AT_A_TIME {
                n_reads = 0;
                if !self.outbox.is_empty() {
                    yield_now().await;
                }
            }
            let heard = |n| {
                n_reads += 1;
                self.pulse.hear();
                add(&self.tally.bytes_read, n);
            };
            let frame = match inbox.frame(bytes_max, heard).await {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ending::Gone,
                Err(Dry::Malformed(malformed)) => return Ending::Violated(Words::from(malformed)),
                Err(broken) => return Ending::Broken(broken.to_string()),
            };
            count(&self.tally.frames_read);
            if let Err(ending) = self.handle(frame) {
                return ending;
            }
        }
    }
}

// ------------------------------------------------------------------------------------------------
// The clock
// ------------------------------------------------------------------------------------------------

impl Link {
    async fn keep_time(&self) -> Ending {
        loop {
            let next = match self.look_at_clock(Instant::now()) {
                Ok(next) => next,
                Err(ending) => return ending,
            };
            tokio::select! {
                biased;
                () = self.busy.notified() => {}
                () = sleep_until(next) => {}
            }
        }
    }

    /// Asks a silent peer for a sign of life, or tells why the connection is over; else when to
    /// look again.
    fn look_at_clock(&self, now: Instant) -> Result<Instant, Ending> {
        let mut table = self.lock();
        let writing_since = self.pulse.writing_since();
        if writing_since.is_none() && !self.is_awaiting(&table) {
            let idle_timeout = match self.role {
                Role::Dialer => self.limits.idle_timeout,
                // Later than the dialer, so that none is closed under a request on its way.
                Role::Acceptor(_) => self.limits.idle_timeout * 2,
            };
            let until = table.emptied_at + idle_timeout;
            if now < until {
                table.is_clock_idle = true;
                return Ok(until);
            }
            table.standing = Standing::Leaving;
            return Err(Ending::Idle);
        }
        let quiet_since = table.awaiting.since.max(self.pulse.heard_at());
        drop(table);
        let limits = &self.limits;
        let stalled_at = writing_since.map(|since| since + limits.ping_timeout);
        if stalled_at.is_some_and(|at| at <= now) {
            return Err(Ending::Stalled(limits.ping_timeout));
        }
        let gone_at = quiet_since + limits.ping_timeout;
        if gone_at <= now {
            return Err(Ending::Silent(limits.ping_timeout));
        }
        let mut next = stalled_at.map_or(gone_at, |at| at.min(gone_at));
        let ask_at = quiet_since + limits.ping_interval;
        if ask_at > now {
            next = next.min(ask_at);
        } else if self.pulse.ask() {
            self.outbox.say(Frame::Ping);
        }
        Ok(next)
    }

    /// Whether something is to be heard: while exchanges are open and, for who opened them, also
    /// when they ended unheard.
    fn is_awaiting(&self, table: &Table) -> bool {
        let is_unheard = table.awaiting.n_heard == self.pulse.n_heard();
        !table.exchanges.is_empty() || (matches!(self.role, Role::Dialer) && is_unheard)
    }
}

// ------------------------------------------------------------------------------------------------
// The end
// ------------------------------------------------------------------------------------------------

impl Link {
    /// Waits until the connection is to take no more and what is open has ended, or until all is
    /// to stop at once.
    async fn depart(&self, mut stage: watch::Receiver<Stage>) -> Ending {
        tokio::select! {
            biased;
            () = self.retiring.notified() => {}
            stage = beyond(&mut stage, Stage::Serving) => match stage {
                Stage::Closed => return Ending::Stopped,
                Stage::Serving | Stage::Draining => {}
            },
        }
        self.leave();
        let closed = async { while beyond(&mut stage, Stage::Draining).await != Stage::Closed {} };
        tokio::select! {
            biased;
            () = self.wait_until_empty() => Ending::Left,
            () = closed => Ending::Stopped,
        }
    }

    async fn wait_until_empty(&self) {
        while !self.lock().exchanges.is_empty() {
            self.emptied.notified().await;
        }
    }
}

/// Waits for a stage beyond this one. An owner that has gone has closed.
pub(crate) async fn beyond(watching: &mut watch::Receiver<Stage>, stage: Stage) -> Stage {
    let is_beyond = |now: &Stage| (*now as u8) > (stage as u8);
    watching.wait_for(is_beyond).await.map_or(Stage::Closed, |stage| *stage)
}
