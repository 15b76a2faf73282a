//! What has happened so far: counted for telemetry, and said once to whoever reads the log.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use muster_world::Address;
use tokio::time::Instant;

use crate::ending::{Ending, Reason};
use crate::limits::{COMPLAINERS_MAX, COMPLAINT_INTERVAL};

/// Declares the counters once: as numbers to read, and as the atomics behind them.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a pool, or a port, has seen since it began.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        #[derive(Debug, Default)]
        pub(crate) struct Tally {
            $(pub(crate) $name: AtomicU64,)*
            complaints: Mutex<BTreeMap<IpAddr, Instant>>,
        }

        impl Tally {
            pub(crate) fn read(&self) -> Counters {
                Counters { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Connections that were made, hello included.
    connections,
    /// Connections that are open now.
    connections_open,
    /// Dials that failed.
    dials_failed,
    /// Exchanges that began.
    exchanges,
    /// Exchanges turned away because too much was in hand.
    exchanges_busy,
    /// Frames that came.
    frames_read,
    /// Frames that went.
    frames_written,
    /// Bytes that came.
    bytes_read,
    /// Bytes that went.
    bytes_written,
    /// Writes in which they went.
    writes,
    /// Connections closed because they began with another protocol.
    closed_not_ours,
    /// Connections closed for want of a common version.
    closed_version,
    /// Connections closed because the handler did not want the peer.
    closed_unwelcome,
    /// Connections closed because there were too many.
    closed_crowded,
    /// Connections closed for a frame over the limit.
    closed_oversize,
    /// Connections closed for bytes that are no frame, or a frame out of place.
    closed_garbage,
    /// Connections closed because the hello did not come in time.
    closed_slow_hello,
    /// Connections given up because nothing came for too long.
    closed_silent,
    /// Connections given up because nothing could be written for too long.
    closed_stalled,
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

/// Adds some.
pub(crate) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}

impl Tally {
    /// Counts a connection that this side closed with words.
    pub(crate) fn count_words(&self, reason: Reason) {
        match reason {
            Reason::NotOurs => count(&self.closed_not_ours),
            Reason::Version => count(&self.closed_version),
            Reason::Unwelcome => count(&self.closed_unwelcome),
            Reason::Crowded => count(&self.closed_crowded),
            Reason::Oversize => count(&self.closed_oversize),
            Reason::Garbage => count(&self.closed_garbage),
            Reason::SlowHello => count(&self.closed_slow_hello),
            Reason::Stopped | Reason::Other => {}
        }
    }

    /// Counts a connection's end.
    pub(crate) fn count_ending(&self, ending: &Ending) {
        match ending {
            Ending::Violated(words) => self.count_words(words.reason),
            Ending::Silent(_) => count(&self.closed_silent),
            Ending::Stalled(_) => count(&self.closed_stalled),
            _ => {}
        }
    }

    /// Logs what is wrong with an address, unless something was said of it a short while ago.
    pub(crate) fn complain(&self, of: &Address, what: &str) {
        let ip = match of {
            Address::Inet(address) => address.ip().to_canonical(),
            Address::Unix(_) => IpAddr::from([0; 16]),
        };
        if self.may_complain(ip, Instant::now()) {
            tracing::warn!(address = %of, "{what}");
        }
    }

    fn may_complain(&self, ip: IpAddr, now: Instant) -> bool {
        let mut said = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() >= COMPLAINERS_MAX {
            said.retain(|_, at| now < *at + COMPLAINT_INTERVAL);
        }
        let is_known = said.get(&ip).is_some_and(|at| now < *at + COMPLAINT_INTERVAL);
        if is_known || said.len() >= COMPLAINERS_MAX {
            return false;
        }
        said.insert(ip, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Duration;

    use super::*;

    #[test]
    fn an_address_is_complained_of_once_a_minute_and_a_crowd_is_bounded() {
        let (tally, now) = (Tally::default(), Instant::now());
        let ip = |n: u32| IpAddr::V4(n.into());
        assert!(tally.may_complain(ip(1), now));
        assert!(!tally.may_complain(ip(1), now + Duration::from_secs(59)));
        assert!(tally.may_complain(ip(2), now));
        assert!(tally.may_complain(ip(1), now + Duration::from_secs(60)));
        let crowd = (10..5_000).filter(|n| tally.may_complain(ip(*n), now)).count();
        assert_eq!(crowd, COMPLAINERS_MAX - 2);
        assert!(tally.may_complain(ip(3), now + Duration::from_secs(120)));
    }
}
