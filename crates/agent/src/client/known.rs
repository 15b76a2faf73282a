//! Which servers there are, as gossip has them.
//!
//! Those that are there count; where gossip takes all of them for failed, these are tried all the same:
//! it may be the agent itself that is cut off from gossip, and whoever left is not among them.

use std::net::SocketAddr;
use std::sync::Arc;

use muster_gossip::{Member, Status};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::Known;
use crate::tags;

/// The members of a pool, as they are published.
type Members = watch::Receiver<Arc<[Member]>>;

/// Follows the members of a pool; gives the servers among them and the task that follows.
pub(crate) fn follow(mut members: Members) -> (Known, AbortHandle) {
    let (tell, known) = watch::channel(servers(&members.borrow_and_update()));
    let following = async move {
        while members.changed().await.is_ok() {
            let now = servers(&members.borrow_and_update());
            tell.send_if_modified(|known| {
                let is_news = *known != now;
                *known = now;
                is_news
            });
        }
    };
    (known, tokio::spawn(following).abort_handle())
}

fn servers(members: &[Member]) -> Arc<[SocketAddr]> {
    let those = |fits: fn(Status) -> bool| -> Vec<SocketAddr> {
        let fitting = members.iter().filter(|member| fits(member.status));
        fitting.filter_map(tags::server_of).map(|server| server.address).collect()
    };
    let mut found = those(|status| matches!(status, Status::Alive | Status::Suspect));
    if found.is_empty() {
        found = those(|status| status == Status::Failed);
    }
    found.sort_unstable();
    found.dedup();
    found.into()
}
