//! openraft's own conformance suite for log stores and state machines, over ours.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use muster_world::memory::Faults;
use muster_world::{Memory, Real, World};
use openraft::StorageError;
use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::testing::log::{StoreBuilder, Suite};
use tokio::time::timeout;

use super::applier::{Applier, SnapshotStore};
use super::log_store::LogStore;
use super::types::{RaftEntryOf, Types, to_log_id};
use crate::folder::Folder;
use crate::machine::{Committed, Frozen, Machine};
use crate::progress::Progress;
use crate::snapshot::Meta;
use crate::term_id::EntryId;
use crate::wal::{Log, Sizes};

/// A machine that counts.
#[derive(Clone, Default)]
struct Counter(u64);

impl Machine for Counter {
    fn apply(&mut self, batch: &[Committed], outcomes: &mut Vec<Bytes>) {
        self.0 += batch.len() as u64;
        outcomes.extend(batch.iter().map(|_| Bytes::new()));
    }

    fn freeze(&self) -> Box<dyn Frozen> {
        Box::new(self.clone())
    }

    fn restore(&mut self, _replaced_at: Option<u64>, from: &mut dyn Read) -> io::Result<()> {
        let mut count = [0; 8];
        from.read_exact(&mut count)?;
        self.0 = u64::from_le_bytes(count);
        Ok(())
    }
}

impl Frozen for Counter {
    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        to.write_all(&self.0.to_le_bytes())
    }
}

/// Hands out a new data folder each time, all on one disk.
struct Fresh {
    sizes: Sizes,
    world: Arc<dyn World>,
    n_built: AtomicU64,
}

impl Fresh {
    fn new(sizes: Sizes) -> Self {
        let world = Arc::new(Real::with_files(Arc::new(Memory::new())));
        Fresh { sizes, world, n_built: AtomicU64::new(0) }
    }
}

impl StoreBuilder<Types, LogStore, Applier, Folder> for Fresh {
    async fn build(&self) -> Result<(Folder, LogStore, Applier), StorageError<Types>> {
        let world = self.world.clone();
        let path = format!("/{}", self.n_built.fetch_add(1, Ordering::Relaxed));
        let folder = Folder::open(world.clone(), Path::new(&path), Some(1)).expect("it is empty");
        let sizes = self.sizes.clone();
        let log = Log::open(world.clone(), &folder.log(), 1, sizes, Arc::new(|_| {}))
            .expect("an empty log opens");
        let store = SnapshotStore::new(world.clone(), folder.snapshots(), None);
        let progress = Arc::new(Progress::new(0));
        let applier = Applier::new(Box::new(Counter::default()), Meta::default(), progress, store);
        Ok((folder, LogStore::new(log, world), applier))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_and_the_applier_pass_openrafts_suite() {
    Suite::test_all(Fresh::new(Sizes::default())).await.expect("the suite passes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_pass_it_with_nothing_cached_and_a_segment_for_every_group() {
    let sizes = Sizes { segment: 160, ahead: 0, group: 1, cache: 0, reserve: 0 };
    Suite::test_all(Fresh::new(sizes)).await.expect("the suite passes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_are_given_up_at_once_also_without_space_on_the_disk() {
    let disk = Memory::new();
    let world = Arc::new(Real::with_files(Arc::new(disk.clone())));
    // No record fits into what was laid out before it.
    let sizes = Sizes { segment: 160, ahead: 0, group: 1, cache: 1 << 20, reserve: 0 };
    let fresh = Fresh { world, ..Fresh::new(sizes) };
    let (_folder, mut store, _) = fresh.build().await.expect("a new folder");
    let id = |index| to_log_id(EntryId { term: 1, index });
    let entries: Vec<RaftEntryOf> = (0..4).map(|index| RaftEntryOf::new_blank(id(index))).collect();
    store.blocking_append(entries).await.expect("there is space");
    disk.set_faults(Faults { bytes_max: Some(disk.n_bytes()), ..Faults::default() });
    let giving_up = async {
        store.truncate_after(Some(id(2))).await.expect("it waits for space");
        store.purge(id(0)).await.expect("it waits for space");
    };
    timeout(Duration::from_secs(10), giving_up).await.expect("who follows is not held up");
    let kept = store.get_log_state().await.expect("the log is open");
    assert_eq!((kept.last_purged_log_id, kept.last_log_id), (Some(id(0)), Some(id(2))));
}
