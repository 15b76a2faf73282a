//! Finding the others: at the start, and again until somebody answers.
//!
//! Addresses come from the configuration and from the members that were known before a restart,
//! which are kept in a file of the data folder and looked up first. Who was not there at the start
//! is tried again, first soon and then at the interval of the configuration, so that the order in
//! which agents start does not matter.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use muster_gossip::snapshot::peers_of;
use muster_world::{World, blocking};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use crate::membership::Membership;

/// The pause before the second try; it doubles up to the interval of the configuration.
const RETRY_MIN: Duration = Duration::from_millis(250);
/// Between two looks at whom to remember.
const REMEMBER_INTERVAL: Duration = Duration::from_secs(15);
/// Bytes of a file of peers.
const PEERS_BYTES_MAX: u64 = 256 << 10;

/// Whom to join, and how persistently.
#[derive(Clone, Debug)]
pub struct Joins {
    /// Addresses, each `host` or `host:port`.
    pub addresses: Vec<String>,
    /// The longest pause between two tries.
    pub interval: Duration,
    /// Tries after which it is given up; 0: never.
    pub tries_max: u32,
}

impl Default for Joins {
    fn default() -> Joins {
        Joins { addresses: Vec::new(), interval: Duration::from_secs(30), tries_max: 0 }
    }
}

/// Joins at the addresses of the configuration until somebody answers.
pub(crate) async fn join(pool: Weak<Membership>, joins: Joins) {
    let mut pause = RETRY_MIN.min(joins.interval);
    let mut n_tries = 0;
    loop {
        let Some(members) = pool.upgrade() else { return };
        match members.join(&joins.addresses).await {
            Ok(n_joined) => {
                info!(n_joined, "joined");
                return;
            }
            Err(why) => {
                n_tries += 1;
                if joins.tries_max > 0 && n_tries >= joins.tries_max {
                    warn!(n_tries, "nobody answered, given up: {why}");
                    return;
                }
                info!(again_in = ?pause, "nobody to join yet: {why}");
            }
        }
        drop(members);
        sleep(pause).await;
        pause = (pause * 2).min(joins.interval);
    }
}

/// Joins those who were there before the restart, then remembers who is there.
pub(crate) async fn remember(pool: Weak<Membership>, world: Arc<dyn World>, file: PathBuf) {
    if let Some(members) = pool.upgrade() {
        let peers = read(&*world, &file).await;
        if !peers.is_empty()
            && let Err(why) = members.join(&peers).await
        {
            info!("none of those who were there before the restart answers: {why}");
        }
    }
    let mut kept = Vec::new();
    loop {
        sleep(REMEMBER_INTERVAL).await;
        let Some(members) = pool.upgrade() else { return };
        let Ok(snapshot) = members.snapshot().await else { return };
        if snapshot == kept {
            continue;
        }
        let (inside, path, bytes) = (world.clone(), file.clone(), snapshot.clone());
        let written = blocking(&*world, move || inside.files().replace(&path, &bytes)).await;
        match written {
            Some(Ok(())) => kept = snapshot,
            Some(Err(error)) => warn!(%error, file = %file.display(), "members are not remembered"),
            None => return,
        }
    }
}

async fn read(world: &dyn World, file: &Path) -> Vec<String> {
    // A file that is not there or cannot be read costs nothing but the memory of old members.
    let bytes = match world.files().read(file, PEERS_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) => {
            debug!(%error, "no members are remembered");
            return Vec::new();
        }
    };
    match peers_of(&bytes) {
        Ok(peers) => peers.iter().map(ToString::to_string).collect(),
        Err(error) => {
            warn!(%error, file = %file.display(), "the remembered members cannot be read");
            Vec::new()
        }
    }
}
