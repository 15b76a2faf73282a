//! Full and failing disks, folders that are not ours, damaged snapshots, states replaced whole.
#![allow(clippy::unwrap_used, reason = "this is test code")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::{soon, start, start_mortal};
use muster_consensus::{
    COMMAND_BYTES_MAX, Fatal, Folder, ProposeError, RestoreError, Settings, StartError,
};
use muster_world::memory::Faults;
use muster_world::{Files, Memory, Real, World};
use tokio::time::Instant;

fn world(disk: &Memory) -> Arc<dyn World> {
    Arc::new(Real::with_files(Arc::new(disk.clone())))
}

fn data() -> &'static Path {
    Path::new("/data")
}

fn command(n: usize) -> Bytes {
    Bytes::from(vec![n as u8 | 1; 300])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_the_reserve_writes_are_refused_and_reads_go_on_until_there_is_room() {
    let disk = Memory::new();
    let settings = Settings { reserve_bytes: 1 << 20, ..Settings::default() };
    let (consensus, applied) = start(&world(&disk), data(), settings).await.unwrap();
    consensus.propose(command(1), soon()).await.unwrap();
    let bytes_max = Some(disk.n_bytes() + (1 << 19));
    disk.set_faults(Faults { bytes_max, ..Faults::default() });
    // What was laid out before is still written; the shortage is seen when more is laid out.
    let refusal = loop {
        match consensus.propose(command(2), soon()).await {
            Ok(_) => assert!(Instant::now() < soon()),
            Err(refusal) => break refusal,
        }
    };
    let ProposeError::DiskFull { free, reserve, .. } = &refusal else { panic!("{refusal}") };
    assert!(free < reserve);
    assert!(refusal.to_string().starts_with("disk full: "));
    let index = consensus.confirmed().expect("reads go on");
    assert_eq!(applied.0.lock().unwrap().last_key_value().map(|(last, _)| *last), Some(index));
    disk.set_faults(Faults::default());
    let give_up = soon();
    while let Err(refusal) = consensus.propose(command(3), soon()).await {
        assert!(matches!(refusal, ProposeError::DiskFull { .. }), "{refusal}");
        assert!(Instant::now() < give_up, "it recovers by itself");
        tokio::task::yield_now().await;
    }
    consensus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_under_a_write_loses_nothing_and_recovers() {
    let disk = Memory::new();
    let settings = Settings { reserve_bytes: 0, ..Settings::default() };
    let (consensus, applied) = start(&world(&disk), data(), settings).await.unwrap();
    disk.set_faults(Faults { bytes_max: Some(disk.n_bytes()), ..Faults::default() });
    let large = Bytes::from(vec![7; 1 << 20]);
    let outcome =
        consensus.propose(large.clone(), Instant::now() + Duration::from_millis(50)).await;
    assert_eq!(outcome, Err(ProposeError::Unknown));
    assert!(consensus.confirmed().is_some(), "reads go on");
    disk.set_faults(Faults::default());
    let decided = consensus.propose(command(1), soon()).await.unwrap();
    assert_eq!(applied.commands(), [large, command(1)]);
    assert_eq!(consensus.confirmed(), Some(decided.index));
    consensus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_under_way_is_told_soon_that_the_disk_is_full() {
    let disk = Memory::new();
    let settings = Settings { reserve_bytes: 0, ..Settings::default() };
    let (consensus, applied) = start(&world(&disk), data(), settings).await.unwrap();
    disk.set_faults(Faults { bytes_max: Some(disk.n_bytes()), ..Faults::default() });
    let large = Bytes::from(vec![7; 1 << 20]);
    let began_at = Instant::now();
    let told = consensus.propose(large.clone(), began_at + Duration::from_secs(60)).await;
    let Err(ProposeError::Stalled { folder }) = &told else { panic!("{told:?}") };
    assert_eq!(folder, data());
    assert!(told.as_ref().unwrap_err().to_string().starts_with("disk full: "), "{told:?}");
    assert!(began_at.elapsed() < Duration::from_secs(30), "long before its deadline");
    disk.set_faults(Faults::default());
    consensus.propose(command(1), soon()).await.unwrap();
    assert_eq!(applied.commands(), [large, command(1)], "it took effect all the same");
    consensus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_ends_the_process_and_acknowledges_nothing() {
    let disk = Memory::new();
    let deaths: Arc<Mutex<Vec<Fatal>>> = Arc::default();
    let on_fatal = {
        let deaths = deaths.clone();
        Arc::new(move |fatal| deaths.lock().unwrap().push(fatal))
    };
    let (consensus, applied) =
        start_mortal(&world(&disk), data(), Settings::default(), on_fatal).await.unwrap();
    disk.set_faults(Faults { syncs_fail: true, ..Faults::default() });
    assert!(consensus.propose(command(1), soon()).await.is_err());
    assert!(applied.commands().is_empty());
    assert!(matches!(deaths.lock().unwrap().first(), Some(Fatal::Log(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_too_large_is_refused() {
    let (consensus, _) = start(&world(&Memory::new()), data(), Settings::default()).await.unwrap();
    let refused = consensus.propose(vec![1; COMMAND_BYTES_MAX + 1].into(), soon()).await;
    assert!(matches!(refused, Err(ProposeError::TooLarge { .. })));
    consensus.propose(vec![1; COMMAND_BYTES_MAX].into(), soon()).await.unwrap();
    consensus.shutdown().await;
}

fn open_as(world: &Arc<dyn World>, node: u64) -> Result<Folder, StartError> {
    Folder::open(world.clone(), data(), Some(node))
}

#[tokio::test]
async fn a_folder_that_is_not_ours_is_refused_and_left_as_it_was() {
    let disk = Memory::new();
    let world = world(&disk);
    let folder = open_as(&world, 5).unwrap();
    assert!(matches!(open_as(&world, 5), Err(StartError::Locked(_))));
    drop(folder);
    let other = open_as(&world, 6).map(|folder| folder.node());
    assert!(matches!(&other, Err(StartError::OtherNode { theirs: 5, ours: 6, .. })), "{other:?}");
    assert_eq!(Folder::open(world.clone(), data(), None).unwrap().node(), 5);

    let files: &dyn Files = &disk;
    let identity = data().join("identity");
    let newer = "muster data folder\nformat 2\nnode 0000000000000005\n";
    let newer = format!("{newer}checksum {:08x}\n", crc32c::crc32c(newer.as_bytes()));
    files.replace(&identity, newer.as_bytes()).unwrap();
    let refused = open_as(&world, 5).map(|folder| folder.node());
    assert!(matches!(&refused, Err(StartError::Newer { found: 2, known: 1, .. })), "{refused:?}");
    assert_eq!(files.read(&identity, 4096).unwrap(), newer.as_bytes(), "nothing was touched");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_refused_in_plain_words() {
    let disk = Memory::new();
    disk.set_faults(Faults { bytes_max: Some(0), ..Faults::default() });
    let refused = open_as(&world(&disk), 5).map(|folder| folder.node());
    let Err(StartError::Machine { doing, path, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!((doing, path), ("lay out data folder", PathBuf::from("/data")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_flipped_bit_of_a_snapshot_is_reported() {
    let disk = Memory::new();
    let (consensus, _) = start(&world(&disk), data(), Settings::default()).await.unwrap();
    consensus.propose(command(1), soon()).await.unwrap();
    consensus.snapshot_now(soon()).await.unwrap();
    consensus.shutdown().await;
    drop(consensus);
    let folder = data().join("snapshot");
    let names = disk.list(&folder).unwrap();
    let [name] = &names[..] else { panic!("{names:?}") };
    let path = folder.join(name);
    let length = (&disk as &dyn Files).read(&path, 1 << 20).unwrap().len() as u64;
    for bit in 0..length * 8 {
        let image = disk.image();
        image.flip_bit(&path, bit);
        match start(&world(&image), data(), Settings::default()).await {
            Err(StartError::Damaged(damage)) => {
                assert_eq!(damage.file, path, "bit {bit}");
                assert!(damage.offset <= bit / 8, "bit {bit} is reported at {}", damage.offset);
            }
            other => panic!("bit {bit}: {:?}", other.map(|_| "it started")),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_is_replaced_through_the_log_and_the_index_goes_on() {
    let disk = Memory::new();
    let (consensus, applied) = start(&world(&disk), data(), Settings::default()).await.unwrap();
    consensus.propose(command(1), soon()).await.unwrap();
    let mut saved = Vec::new();
    muster_consensus::Machine::freeze(&applied).write(&mut saved).unwrap();
    let other = Bytes::from(vec![9; 1 << 20]);
    let before = consensus.propose(other, soon()).await.unwrap().index;

    let garbage = [1; 20];
    let refused = consensus.restore(&mut &garbage[..], soon()).await;
    assert!(matches!(refused, Err(RestoreError::Refused(_))), "{refused:?}");
    assert_eq!(applied.commands().len(), 2, "a refused restore touches nothing");

    let index = consensus.restore(&mut &saved[..], soon()).await.unwrap();
    assert!(index > before);
    assert_eq!(applied.commands(), [command(1)]);
    consensus.propose(command(2), soon()).await.unwrap();
    consensus.shutdown().await;
    drop(consensus);
    let (consensus, applied) = start(&world(&disk), data(), Settings::default()).await.unwrap();
    assert_eq!(applied.commands(), [command(1), command(2)]);
    consensus.shutdown().await;
}
