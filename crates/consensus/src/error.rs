//! What can go wrong, named by what it means for the one who is told.
//!
//! [`StartError`] keeps an agent from starting and leaves the data folder as it was.
//! [`ProposeError`] answers a single proposal and says whether it may have happened all the same.
//! [`Fatal`] ends the process: going on would risk what was acknowledged.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::voters::Voter;

/// Bytes on disk that are not what was written. Nothing of the file was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
}

impl Damage {
    pub(crate) fn new(file: &Path, offset: u64, what: impl Into<String>) -> Self {
        Damage { file: file.to_owned(), offset, what: what.into() }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is damaged at byte {}: {}", self.file.display(), self.offset, self.what)
    }
}

impl std::error::Error for Damage {}

impl From<Damage> for io::Error {
    fn from(damage: Damage) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, damage)
    }
}

/// Why an agent cannot start on its data folder. The folder was not changed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process works on the folder.
    #[error(
        "data folder {0} is in use by another process: stop that agent, or choose another folder"
    )]
    Locked(PathBuf),
    /// The folder belongs to another node.
    #[error(
        "data folder {folder} belongs to node {theirs:016x}, and this is node {ours:016x}: point \
         the agent at its own folder, or start it with that node's id"
    )]
    OtherNode {
        /// The folder.
        folder: PathBuf,
        /// The node that wrote it.
        theirs: u64,
        /// The node that was started.
        ours: u64,
    },
    /// A newer muster wrote the folder.
    #[error(
        "data folder {folder} has format {found}, and this muster knows formats up to {known}: \
         start the newer muster again, or restore a snapshot into an empty folder"
    )]
    Newer {
        /// The folder.
        folder: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this program can read.
        known: u32,
    },
    /// What is on disk is not what was written.
    #[error(
        "{0}; clear the data folder, then let this server join its cluster again or restore a snapshot"
    )]
    Damaged(#[from] Damage),
    /// The machine refused.
    #[error("cannot {doing} {path}: {error}")]
    Machine {
        /// What was tried.
        doing: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the machine answered.
        error: io::Error,
    },
    /// The state machine could not take up the snapshot.
    #[error("the state cannot be restored from {path}: {error}")]
    Restore {
        /// The snapshot.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The engine did not start.
    #[error("consensus does not start: {0}")]
    Engine(String),
}

impl StartError {
    /// Wraps what the machine answered, keeping damage that travelled inside it.
    pub(crate) fn machine(doing: &'static str, path: &Path, error: io::Error) -> Self {
        match error.downcast::<Damage>() {
            Ok(damage) => StartError::Damaged(damage),
            Err(error) => StartError::Machine { doing, path: path.to_owned(), error },
        }
    }
}

/// Why a proposal was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Not proposed: another server leads, or none does. Ask the leader.
    #[error("this server does not lead")]
    NotLeader(Option<Voter>),
    /// Not proposed: the caller must send less.
    #[error("a command of {bytes} bytes is larger than the limit of {bytes_max}")]
    TooLarge {
        /// Length of the command.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Not proposed: too many proposals wait. Try again later.
    #[error("too many writes are waiting")]
    Busy,
    /// Not proposed: an operator must make room. Reads go on, and writes do once there is room.
    #[error("disk full: {free} bytes are free in {folder}, and {reserve} are kept in reserve")]
    DiskFull {
        /// The data folder.
        folder: PathBuf,
        /// Bytes free.
        free: u64,
        /// Bytes below which nothing is proposed.
        reserve: u64,
    },
    /// Proposed, and then the disk was full: an operator must make room. It waits for that, and may
    /// or may not take effect.
    #[error(
        "disk full: the write waits for space in {folder}, and may still take effect once there is \
         some"
    )]
    Stalled {
        /// The data folder.
        folder: PathBuf,
    },
    /// Proposed, and not decided when the deadline passed or the leadership changed: it may or
    /// may not take effect.
    #[error("not known whether the write took effect")]
    Unknown,
    /// Not proposed: the servers of the group cannot change so now.
    #[error("the voters do not change: {0}")]
    Voters(String),
    /// Not proposed: this agent is stopping.
    #[error("consensus has stopped")]
    Stopped,
}

/// Why the process must end.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Fatal {
    /// A sync failed: what the disk holds is unknown, and nothing more may be acknowledged.
    #[error("writing the log failed, and what is on disk is not known: {0}")]
    Log(Arc<io::Error>),
    /// The engine stopped by itself.
    #[error("consensus stopped: {0}")]
    Engine(String),
}

/// Told once when the process must end. It must not return to the work that failed; an agent
/// prints the reason and exits.
pub type OnFatal = Arc<dyn Fn(Fatal) + Send + Sync>;
