//! The data folder: who may use it, whose it is, and where things lie in it.
//!
//! ```text
//! DIR/lock        held while an agent runs
//! DIR/identity    format and node, written once
//! DIR/vote        what this server promised in elections
//! DIR/log/        segments of the log
//! DIR/snapshot/   snapshots of the state
//! ```
//!
//! A folder that is in use, belongs to another node, was written by a newer muster or holds
//! somebody else's files is refused in plain words before anything in it is touched. The agent
//! keeps its own files beside these.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_world::World;
use muster_world::files::Lock;

use crate::error::{Damage, StartError};
use crate::wal::vote::VoteFile;

/// The newest format of the folder that this program writes and reads.
const FORMAT: u32 = 1;

const IDENTITY_BYTES_MAX: u64 = 4096;

/// A data folder, locked for this process and known to be ours.
pub struct Folder {
    path: PathBuf,
    node: u64,
    world: Arc<dyn World>,
    _lock: Box<dyn Lock>,
}

impl Folder {
    /// Takes a folder into use, creating it if it is absent. `node` is the id that this server
    /// was given; without one, a new folder gets a random id and an old one keeps its own. Blocks.
    pub fn open(
        world: Arc<dyn World>,
        path: &Path,
        node: Option<u64>,
    ) -> Result<Folder, StartError> {
        let files = world.files();
        let machine = |doing| move |error| StartError::machine(doing, path, error);
        files.create_folder(path).map_err(machine("create data folder"))?;
        let lock = files.lock(&path.join("lock")).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => StartError::Locked(path.to_owned()),
            _ => StartError::machine("lock data folder", path, error),
        })?;
        let identity_path = path.join("identity");
        let node = match files.read(&identity_path, IDENTITY_BYTES_MAX) {
            Ok(bytes) => {
                let theirs = parse_identity(&identity_path, &bytes)?;
                match node {
                    Some(ours) if ours != theirs => {
                        let folder = path.to_owned();
                        return Err(StartError::OtherNode { folder, theirs, ours });
                    }
                    _ => theirs,
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let node = node.unwrap_or_else(|| draw_id(&*world));
                lay_out(&*world, path, node)?;
                node
            }
            Err(error) => return Err(machine("read the identity in")(error)),
        };
        Ok(Folder { path: path.to_owned(), node, _lock: lock, world })
    }

    /// The id of the node whose folder this is.
    #[must_use]
    pub fn node(&self) -> u64 {
        self.node
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The world that its files are in.
    #[must_use]
    pub fn world(&self) -> &Arc<dyn World> {
        &self.world
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.path.join("snapshot")
    }
}

/// Makes a new folder ours. The identity comes last: without it the folder counts as new.
fn lay_out(world: &dyn World, path: &Path, node: u64) -> Result<(), StartError> {
    let files = world.files();
    let log = path.join("log");
    if files.list(&log).is_ok_and(|segments| !segments.is_empty()) {
        let what = "there is a log, and the file that says whose it is is missing";
        return Err(Damage::new(&path.join("identity"), 0, what).into());
    }
    let make = || {
        files.create_folder(&log)?;
        files.create_folder(&path.join("snapshot"))?;
        VoteFile::create(files, &path.join("vote"))?;
        files.replace(&path.join("identity"), format_identity(node).as_bytes())?;
        files.sync_folder(path.parent().unwrap_or(path))
    };
    make().map_err(|error| StartError::machine("lay out data folder", path, error))
}

fn draw_id(world: &dyn World) -> u64 {
    let seed = world.seed();
    let mut id = [0; 8];
    id.copy_from_slice(&seed[..8]);
    // Zero would look like nobody.
    u64::from_le_bytes(id).max(1)
}

fn format_identity(node: u64) -> String {
    let text = format!("muster data folder\nformat {FORMAT}\nnode {node:016x}\n");
    format!("{text}checksum {:08x}\n", crc32c::crc32c(text.as_bytes()))
}

fn parse_identity(path: &Path, bytes: &[u8]) -> Result<u64, StartError> {
    let damage = |what| StartError::Damaged(Damage::new(path, 0, what));
    let text = std::str::from_utf8(bytes).map_err(|_| damage("the identity is not text"))?;
    let (said, checksum) =
        text.rsplit_once("checksum ").ok_or(damage("the identity is not ours"))?;
    if format!("{:08x}\n", crc32c::crc32c(said.as_bytes())) != checksum {
        return Err(damage("the identity does not match its checksum"));
    }
    let field = |name: &str| said.lines().find_map(|line| line.strip_prefix(name));
    let found = field("format ").and_then(|format| format.parse().ok());
    let found: u32 = found.ok_or(damage("the identity tells no format"))?;
    if found > FORMAT {
        let folder = path.parent().unwrap_or(path).to_owned();
        return Err(StartError::Newer { folder, found, known: FORMAT });
    }
    let node = field("node ").and_then(|node| u64::from_str_radix(node, 16).ok());
    node.ok_or(damage("the identity tells no node"))
}
