//! A server goes on alone when the others of its datacenter are lost for good.

use muster_consensus::Folder;

use crate::agent::AgentError;
use crate::machine::{Shared, StateMachine};

/// Makes the server of a data folder the only voter; gives the last index that it has. The agent must
/// not be running, and the other servers must never be started again with their old folders.
///
/// # Errors
/// Where the folder cannot be used, or holds nothing; it is left as it was.
pub async fn rescue(folder: Folder) -> Result<u64, AgentError> {
    let machine = Box::new(StateMachine::new(Shared::new()));
    Ok(muster_consensus::rescue(folder, machine).await?)
}
