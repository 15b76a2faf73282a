//! Founding a group with others: a server that expects n waits until n such servers see each other.
//!
//! Then the one with the lowest number founds the group of all of them; before it does, it asks each
//! whether it belongs to a group already, and one that does stops the founding. Whoever has been
//! taken into a group meanwhile waits no more.

use std::sync::Weak;
use std::time::Duration;

use muster_consensus::Voter;
use muster_gossip::Status;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::agent::Agent;
use crate::tags;

/// The pause between two tries.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Waits for the others and founds the group, if it is for this server to do.
pub(crate) async fn run(agent: Weak<Agent>, expects: usize) {
    let Some(mut members) = agent.upgrade().map(|agent| agent.lan.members()) else { return };
    let mut told = String::new();
    loop {
        {
            let Some(agent) = agent.upgrade() else { return };
            match agent.consensus.is_member().await {
                Ok(false) => {}
                Ok(true) | Err(_) => return agent.conflicts.set_expects(0),
            }
            if let Err(why) = try_to_found(&agent, expects).await
                && why != told
            {
                match agent.conflicts.of_expects() {
                    0 => info!("no group yet: {why}"),
                    _ => warn!("no group yet: {why}"),
                }
                told = why;
            }
        }
        tokio::select! {
            biased;
            changed = members.changed() => if changed.is_err() { return },
            () = sleep(RETRY_AFTER) => {}
        }
    }
}

async fn try_to_found(agent: &Agent, expects: usize) -> Result<(), String> {
    let members = agent.lan.members().borrow().clone();
    let alive = members.iter().filter(|member| member.status == Status::Alive);
    let servers: Vec<_> = alive.filter_map(tags::server_of).collect();
    let others: Vec<_> =
        servers.iter().filter(|server| server.expects > 1 && server.expects != expects).collect();
    agent.conflicts.set_expects(others.len());
    if let Some(other) = others.first() {
        return Err(format!(
            "the server at {} expects {} servers and this one {expects}: set the same \
             bootstrap_expect on all",
            other.address, other.expects
        ));
    }
    let mut voters: Vec<Voter> = servers
        .iter()
        .filter(|server| server.expects == expects)
        .map(|server| Voter { id: server.id, address: server.address.to_string() })
        .collect();
    if voters.len() < expects {
        return Err(format!("{} of {expects} expected servers are here", voters.len()));
    }
    voters.sort_by_key(|voter| voter.id);
    if voters.first().is_none_or(|first| first.id != agent.consensus.node()) {
        return Err("another server founds it".to_owned());
    }
    agent.consensus.found(&voters).await?;
    info!(n_servers = voters.len(), "founded the group");
    Ok(())
}
