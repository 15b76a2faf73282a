//! Faults that are planted: lies that the judges have to find. They test the tests.
//!
//! Each makes servers look, from outside, as if a certain mistake were in their code. The code
//! itself has no switch for it: the lie is told by the disk, by the clients' hands, or by somebody
//! who submits what only a mistaken leader would.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use muster_consensus::Folder;
use muster_model::Command;
use muster_model::session::SessionEnd;
use muster_registry::{Call, Registry};
use muster_world::{Files, Memory, Real};

use crate::cluster::Cluster;
use crate::history::{Action, History};
use crate::servers::DATA_FOLDER;

/// How often whoever submits mistakes does so.
const MISTAKE_INTERVAL: Duration = Duration::from_millis(500);

/// A mistake that servers seem to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// Writes are acknowledged before they are on disk.
    AcknowledgesBeforeSync,
    /// What was promised in an election is forgotten with the process.
    LosesVotes,
    /// Linearizable reads are answered without confirming who leads.
    SkipsReadConfirmation,
    /// Renewals are acknowledged by whoever is asked.
    RenewsWithoutLeader,
    /// Leases expire before their time.
    ExpiresEarly,
    /// The index of a list is that of what is left in it: deletions leave nothing behind.
    DropsTombstones,
}

impl Plant {
    /// All of them.
    pub const ALL: [Plant; 6] = [
        Plant::AcknowledgesBeforeSync,
        Plant::LosesVotes,
        Plant::SkipsReadConfirmation,
        Plant::RenewsWithoutLeader,
        Plant::ExpiresEarly,
        Plant::DropsTombstones,
    ];
}

/// The file of a server that has promised nothing in any election.
pub(crate) fn empty_vote() -> Vec<u8> {
    let disk = Memory::new();
    let world = Arc::new(Real::with_files(Arc::new(disk.clone())));
    let path = Path::new(DATA_FOLDER);
    let folder = Folder::open(world, path, Some(1)).expect("an empty disk in memory can be used");
    drop(folder);
    let files: &dyn Files = &disk;
    files.read(&path.join("vote"), 1 << 20).expect("a data folder has a vote")
}

/// Gives a disk the vote of a server that has promised nothing, if there is a vote on it.
pub(crate) fn forget_vote(disk: &Memory) {
    let path = Path::new(DATA_FOLDER).join("vote");
    let files: &dyn Files = disk;
    if files.exists(&path).unwrap_or(false) {
        // A disk that does not take it keeps the old vote, and nothing is planted this time.
        let _ = files.replace(&path, &empty_vote());
    }
}

/// Submits what only a mistaken leader would, now and then.
pub(crate) fn make_mistakes(plant: Plant, cluster: &Cluster, history: &History) {
    let now = cluster.simulation.now();
    if plant != Plant::ExpiresEarly || !now.as_millis().is_multiple_of(MISTAKE_INTERVAL.as_millis())
    {
        return;
    }
    let Some(command) = last_session(history) else { return };
    for number in 0..cluster.n_servers() {
        let Some(server) = cluster.server(number) else { continue };
        let command = command.clone();
        // Nobody waits for what comes of it.
        drop(cluster.simulation.spawn(number, async move {
            let call = Call::default();
            let _ = server.agent.submit(&call, command).await;
        }));
    }
}

fn last_session(history: &History) -> Option<Command> {
    let id = history.operations.iter().rev().find_map(|operation| match &operation.action {
        Action::CreateSession { session, .. } => Some(session.clone()),
        _ => None,
    })?;
    Some(Command::EndSession { id, why: SessionEnd::Expired })
}
