//! How many connections there are, in total and of one client.
//!
//! One census may be shared by several listeners, so that a client does not get a fresh
//! allowance with each. The lock is taken when a connection comes and when it goes, never for a
//! request.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::connection::Peer;
use crate::limits::Limits;

/// The connections of one or more listeners.
#[derive(Debug)]
pub struct Census {
    pub(crate) limits: Limits,
    counts: Counts,
    present: Mutex<Present>,
}

/// What has happened so far, for telemetry. Read with [`Census::counts`].
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections that were let in.
    pub accepted: AtomicU64,
    /// Connections that are open now.
    pub open: AtomicU64,
    /// Connections refused because there were too many in total.
    pub refused_full: AtomicU64,
    /// Connections refused because their client had too many.
    pub refused_client: AtomicU64,
    /// Requests handed to a handler.
    pub requests: AtomicU64,
    /// Connections closed because a request's headers came too slowly.
    pub slow_heads: AtomicU64,
}

#[derive(Debug, Default)]
struct Present {
    /// The sum over all clients, those without an address included.
    total: usize,
    /// No zeros: a client that has left takes no room.
    by_client: HashMap<IpAddr, usize>,
}

/// Why a connection is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crowded {
    Full,
    Client,
}

/// One counted connection; it is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Guest {
    census: Arc<Census>,
    client: Option<IpAddr>,
}

impl Census {
    /// An empty census under these limits.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, counts: Counts::default(), present: Mutex::default() })
    }

    /// What has happened so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Counts one more connection, or says why there may not be one more.
    pub(crate) fn admit(self: &Arc<Self>, peer: Peer) -> Result<Guest, Crowded> {
        let client = peer.ip();
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if present.total >= self.limits.connections_max {
            self.counts.refused_full.fetch_add(1, Ordering::Relaxed);
            return Err(Crowded::Full);
        }
        if let Some(client) = client {
            let here = present.by_client.get(&client).copied().unwrap_or(0);
            if here >= self.limits.connections_per_client_max {
                self.counts.refused_client.fetch_add(1, Ordering::Relaxed);
                return Err(Crowded::Client);
            }
            present.by_client.insert(client, here + 1);
        }
        present.total += 1;
        self.counts.accepted.fetch_add(1, Ordering::Relaxed);
        self.counts.open.fetch_add(1, Ordering::Relaxed);
        Ok(Guest { census: Arc::clone(self), client })
    }

    fn leave(&self, client: Option<IpAddr>) {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        present.total -= 1;
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
        let Some(client) = client else { return };
        if let Some(here) = present.by_client.get_mut(&client) {
            *here -= 1;
            if *here == 0 {
                present.by_client.remove(&client);
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.census.leave(self.client);
    }
}
