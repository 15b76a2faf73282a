//! A server that stops, in order or not, comes back with everything it acknowledged.

mod common;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use common::{soon, start};
use muster_consensus::{ProposeError, Settings};
use muster_world::{Memory, Real, World};

fn command(n: usize) -> Bytes {
    Bytes::from(format!("command {n}"))
}

fn in_memory() -> Arc<dyn World> {
    Arc::new(Real::with_files(Arc::new(Memory::new())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_server_leads_alone_and_answers_a_proposal() {
    let (consensus, applied) =
        start(&in_memory(), Path::new("/d"), Settings::default()).await.unwrap();
    let decided = consensus.propose(command(1), soon()).await.unwrap();
    assert_eq!(decided.outcome, "did 9");
    assert_eq!(applied.commands(), [command(1)]);
    assert_eq!(consensus.confirmed(), Some(decided.index));
    assert_eq!(consensus.confirm(soon()).await, Ok(decided.index));
    let leadership = consensus.leadership().borrow().clone();
    assert!(leadership.is_leader);
    assert_eq!(leadership.voters.len(), 1);
    consensus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_there_after_an_orderly_restart_and_after_a_drop() {
    let world = in_memory();
    let mut expected = Vec::new();
    for round in 0..6 {
        let (consensus, applied) =
            start(&world, Path::new("/d"), Settings::default()).await.unwrap();
        assert_eq!(applied.commands(), expected, "round {round}");
        let before = consensus.applied_index();
        let decided = consensus.propose(command(round), soon()).await.unwrap();
        assert!(decided.index > before, "an index never falls back");
        expected.push(command(round));
        if round % 2 == 0 {
            consensus.shutdown().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_takes_the_place_of_the_log() {
    let world = in_memory();
    let settings = Settings { snapshot_after: 50, entries_kept: 10, ..Settings::default() };
    let (consensus, _) = start(&world, Path::new("/d"), settings.clone()).await.unwrap();
    for n in 0..500 {
        consensus.propose(command(n), soon()).await.unwrap();
    }
    let index = consensus.snapshot_now(soon()).await.unwrap();
    assert_eq!(index, consensus.applied_index());
    assert!(consensus.stats().purged_index > 0);
    consensus.shutdown().await;
    assert_eq!(consensus.propose(command(0), soon()).await, Err(ProposeError::Stopped));
    drop(consensus);
    let (consensus, applied) = start(&world, Path::new("/d"), settings).await.unwrap();
    assert_eq!(applied.commands(), (0..500).map(command).collect::<Vec<_>>());
    consensus.shutdown().await;
}
