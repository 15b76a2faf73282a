//! How many connections a port has, in total and of one address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use muster_world::Address;

use crate::limits::Limits;

/// The connections of one port.
#[derive(Debug)]
pub(crate) struct Census {
    total_max: usize,
    per_address_max: usize,
    present: Mutex<Present>,
}

#[derive(Debug, Default)]
struct Present {
    total: usize,
    /// No zeros: an address without connections takes no room.
    by_address: BTreeMap<IpAddr, usize>,
}

/// One counted connection; it is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Guest {
    census: Arc<Census>,
    ip: Option<IpAddr>,
}

impl Census {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            total_max: limits.connections_max,
            per_address_max: limits.connections_per_address_max,
            present: Mutex::default(),
        })
    }

    /// Counts one more connection, or says why there may not be one more.
    pub(crate) fn admit(self: &Arc<Self>, from: &Address) -> Result<Guest, String> {
        let ip = match from {
            Address::Inet(address) => Some(address.ip().to_canonical()),
            Address::Unix(_) => None,
        };
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if present.total >= self.total_max {
            let advice = "spread the agents over more servers, or raise the limit";
            return Err(format!("{} connections are open here: {advice}", self.total_max));
        }
        if let Some(ip) = ip {
            let here = present.by_address.get(&ip).copied().unwrap_or(0);
            if here >= self.per_address_max {
                let advice = "run fewer agents behind it, or raise the limit";
                return Err(format!("{here} connections from {ip} are open here: {advice}"));
            }
            present.by_address.insert(ip, here + 1);
        }
        present.total += 1;
        Ok(Guest { census: Arc::clone(self), ip })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut present = self.census.present.lock().unwrap_or_else(PoisonError::into_inner);
        present.total -= 1;
        let Some(ip) = self.ip else { return };
        if let Some(here) = present.by_address.get_mut(&ip) {
            *here -= 1;
            if *here == 0 {
                present.by_address.remove(&ip);
            }
        }
    }
}
