//! The accept loop of one listener, and its clean stop.
//!
//! A connection beyond the limits is answered 429 and closed; those answers are bounded too, so
//! a flood costs at most [`FAREWELLS_MAX`] tasks and is dropped beyond. To stop is to accept no
//! more, let the requests at hand be answered until a deadline, and close what is left.

use std::io;
use std::sync::Arc;

use muster_world::{Address, Listener, Stream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Duration, sleep, timeout};

use crate::census::{Census, Crowded};
use crate::connection::{Handler, Peer, TOO_MANY, TOO_MANY_OF_CLIENT, converse, farewell};

/// Refused connections that are being told so at a time.
const FAREWELLS_MAX: usize = 64;
/// The pause after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How far a listener is with its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Accepts and answers.
    Serving,
    /// Accepts nothing more; requests at hand are being answered.
    Draining,
    /// Whatever is still open is to be dropped.
    Closed,
}

/// A listener at work. Dropping it closes everything at once; [`Running::stop`] is the clean way.
#[derive(Debug)]
pub struct Running {
    address: Address,
    stage: watch::Sender<Stage>,
    accepting: JoinHandle<()>,
    /// Ends when the last connection has gone: each holds a sender and sends nothing.
    all_gone: mpsc::Receiver<()>,
}

/// How a stop went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every request at hand was answered.
    Whole,
    /// The deadline came first; what was left was closed.
    Cut,
}

/// Puts a handler behind a listener. Must be called inside the runtime.
pub fn serve<H: Handler>(
    listener: Box<dyn Listener>,
    handler: Arc<H>,
    census: Arc<Census>,
) -> io::Result<Running> {
    let address = listener.local_address()?;
    let (stage, watching) = watch::channel(Stage::Serving);
    let (present, all_gone) = mpsc::channel(1);
    let farewells = Arc::new(Semaphore::new(FAREWELLS_MAX));
    let reception = Reception { handler, census, stage: watching, present, farewells };
    let accepting = tokio::spawn(reception.run(listener));
    Ok(Running { address, stage, accepting, all_gone })
}

impl Running {
    /// Where it listens, with the port that was taken for port 0.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Stops: at once for new connections, at the latest after `within` for those that are open.
    pub async fn stop(mut self, within: Duration) -> Drained {
        self.stage.send_replace(Stage::Draining);
        match timeout(within, self.all_gone.recv()).await {
            Ok(_) => Drained::Whole,
            Err(_) => {
                self.stage.send_replace(Stage::Closed);
                // Each connection has been told and needs one turn to go.
                self.all_gone.recv().await;
                Drained::Cut
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stage.send_replace(Stage::Closed);
        self.accepting.abort();
    }
}

struct Reception<H> {
    handler: Arc<H>,
    census: Arc<Census>,
    stage: watch::Receiver<Stage>,
    present: mpsc::Sender<()>,
    farewells: Arc<Semaphore>,
}

impl<H: Handler> Reception<H> {
    async fn run(mut self, listener: Box<dyn Listener>) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = self.stage.wait_for(|stage| *stage != Stage::Serving) => return,
            };
            match accepted {
                Ok((stream, from)) => self.receive(stream, Peer::from(&from)),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection; trying again");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn receive(&self, stream: Stream, peer: Peer) {
        let guest = match self.census.admit(peer) {
            Ok(guest) => guest,
            Err(crowded) => return self.refuse(stream, crowded),
        };
        let talk = converse(
            stream,
            peer,
            Arc::clone(&self.handler),
            Arc::clone(&self.census),
            self.stage.clone(),
        );
        let present = self.present.clone();
        tokio::spawn(async move {
            talk.await;
            drop((guest, present));
        });
    }

    fn refuse(&self, stream: Stream, crowded: Crowded) {
        let words = match crowded {
            Crowded::Full => TOO_MANY,
            Crowded::Client => TOO_MANY_OF_CLIENT,
        };
        let Ok(permit) = Arc::clone(&self.farewells).try_acquire_owned() else { return };
        tokio::spawn(async move {
            farewell(stream, words).await;
            drop(permit);
        });
    }
}
