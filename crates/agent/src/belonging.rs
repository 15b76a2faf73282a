//! Which cluster this server's data belongs to, known before anything in its log is decided.
//!
//! A server that has started has its log, but how much of it is decided only a leader can tell; until
//! then its state may be empty. Whoever left and comes back is told nothing before a leader has asked
//! to which cluster its log belongs (see [`crate::care`]). So the cluster's id is kept in a file of
//! the data folder too, and written anew whenever the state says another.
//!
//! A file that rots says a cluster that there is not: the server is not taken in then, which harms
//! nobody, and the log says why.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use muster_model::{Scope, Text};
use muster_registry::Changes;
use muster_world::{World, blocking};
use tokio::time::sleep;
use tracing::warn;

use crate::agent::{Agent, Stop};
use crate::leader::CLUSTER_KIND;

/// Bytes of the file: an id has 36.
const BYTES_MAX: u64 = 64;
/// The pause before a file that could not be written is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// The id in the file, and where the file is.
pub(crate) struct Belonging {
    path: PathBuf,
    kept: Mutex<Option<Text>>,
}

impl Belonging {
    /// Reads the file, if there is one.
    pub(crate) fn open(world: &dyn World, path: PathBuf) -> Belonging {
        // Without the file it is not known yet, as on a new folder.
        let bytes = world.files().read(&path, BYTES_MAX).unwrap_or_default();
        let id = String::from_utf8(bytes).ok().filter(|id| !id.is_empty());
        Belonging { path, kept: Mutex::new(id.map(Text::from)) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Text>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Agent {
    /// The id of the cluster to which this server's data belongs, if it is known.
    pub(crate) fn belongs_to(&self) -> Option<Text> {
        self.cluster_id().or_else(|| self.belonging.lock().clone())
    }

    /// Writes the id that the state has into the file, unless it is there; whether it is now.
    async fn keep_belonging(&self) -> bool {
        let Some(id) = self.cluster_id() else { return true };
        if self.belonging.lock().as_ref() == Some(&id) {
            return true;
        }
        let (world, path) = (self.world.clone(), self.belonging.path.clone());
        let bytes = id.as_bytes().to_vec();
        let written = blocking(&*self.world, move || world.files().replace(&path, &bytes)).await;
        match written {
            Some(Ok(())) => *self.belonging.lock() = Some(id),
            Some(Err(error)) => {
                let file = self.belonging.path.display();
                warn!(%error, %file, "the cluster's id is not kept; tries again");
                return false;
            }
            None => return false,
        }
        true
    }

    fn news_of_cluster(&self) -> Changes {
        let scope = Scope::Settings(CLUSTER_KIND.into());
        self.shared.hub.changes(&[scope], self.shared.hub.published())
    }
}

/// Keeps the file as the state is, for as long as the agent runs.
pub(crate) async fn keep(agent: Weak<Agent>) {
    let started = agent.upgrade().map(|agent| (agent.news_of_cluster(), agent.stopping()));
    let Some((mut changes, mut stopping)) = started else { return };
    loop {
        let Some(is_kept) = (match agent.upgrade() {
            Some(agent) => Some(agent.keep_belonging().await),
            None => None,
        }) else {
            return;
        };
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stop| !matches!(stop, Stop::No)) => return,
            changed = changes.next() => if changed.is_err() {
                let Some(agent) = agent.upgrade() else { return };
                changes = agent.news_of_cluster();
            },
            () = sleep(RETRY_AFTER), if !is_kept => {}
        }
    }
}
