//! A server goes on alone after the others of its group are lost for good.
//!
//! Everything that is in its log is applied, whether it was known to be decided or not; the result
//! becomes a snapshot that names this server as the only voter, and the log behind it is purged.
//! What only lost servers had is lost. Nothing of this server is: until the snapshot is in place
//! nothing in the folder has changed, and after it a purge that did not happen is made up for by
//! the next start.

use std::sync::Arc;

use futures_util::stream;
use openraft::storage::{RaftSnapshotBuilder, RaftStateMachine};
use tokio::sync::oneshot;

use super::applier::{Applier, SnapshotStore};
use super::types::from_record;
use crate::error::StartError;
use crate::folder::Folder;
use crate::machine::Machine;
use crate::progress::Progress;
use crate::snapshot::{Meta, Snapshot};
use crate::term_id::EntryId;
use crate::wal::Log;

/// Bytes of entries that are read at a time.
const READ_BYTES: usize = 1 << 20;

/// Makes the server of a folder the only voter of its group; gives the last entry it has.
pub(crate) async fn rescue(
    folder: &Folder,
    log: &Arc<Log>,
    machine: Box<dyn Machine>,
    snapshot: Option<Snapshot>,
) -> Result<EntryId, StartError> {
    let failed = |error| StartError::machine("rescue", folder.path(), error);
    let meta = snapshot.as_ref().map_or_else(Meta::default, |it| it.meta.clone());
    let first = meta.last.map_or(0, |last| last.index + 1);
    let progress = Arc::new(Progress::new(first));
    let store = SnapshotStore::new(folder.world().clone(), folder.snapshots(), snapshot);
    let mut applier = Applier::new(machine, meta, progress, store);
    let mut next = first;
    while log.last().is_some_and(|last| next <= last.index) {
        let entries = log.read(next, u64::MAX, READ_BYTES).map_err(failed)?;
        let Some(last) = entries.last().map(|entry| entry.id.index) else { break };
        let entries: Vec<_> =
            entries.into_iter().map(|entry| from_record(entry).map(|it| (it, None))).collect();
        applier.apply(stream::iter(entries)).await.map_err(failed)?;
        next = last + 1;
    }
    let last = applier.leave_only(folder.node()).ok_or_else(|| {
        StartError::Engine("this folder holds nothing that could be rescued".to_owned())
    })?;
    let mut builder = applier.get_snapshot_builder().await;
    builder.build_snapshot().await.map_err(failed)?;
    let (done, purged) = oneshot::channel();
    log.purge(last, Box::new(move |outcome| drop(done.send(outcome))));
    purged.await.unwrap_or(Ok(())).map_err(failed)?;
    Ok(last)
}
