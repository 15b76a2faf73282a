//! The log, whose tail is torn at every byte and whose every bit is flipped.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use muster_world::memory::Faults;
use muster_world::{Files, Memory, Open, Real, World};
use tokio::sync::oneshot;

use super::record::Kind;
use super::segment::START;
use super::vote::Vote;
use super::{Done, Entry, Log, Sizes};
use crate::error::{Fatal, StartError};
use crate::folder::Folder;
use crate::term_id::EntryId;

const NODE: u64 = 3;

fn sizes() -> Sizes {
    Sizes { segment: 8192, ahead: 1024, group: 4096, cache: 0, reserve: 0 }
}

fn world(disk: &Memory) -> Arc<dyn World> {
    Arc::new(Real::with_files(Arc::new(disk.clone())))
}

fn open(disk: &Memory) -> Result<(Folder, Arc<Log>), StartError> {
    open_with(disk, sizes())
}

fn open_with(disk: &Memory, sizes: Sizes) -> Result<(Folder, Arc<Log>), StartError> {
    let folder = Folder::open(world(disk), Path::new("/data"), Some(NODE))?;
    let log = Log::open(world(disk), &folder.log(), NODE, sizes, Arc::new(|_| {}))?;
    Ok((folder, log))
}

/// Entries whose bytes are never zero, of lengths that cross sectors.
fn entry(index: u64) -> Entry {
    let length = [30, 300, 700, 1, 1100][index as usize % 5];
    let payload = Bytes::from(vec![index as u8 | 0x40; length]);
    Entry { id: EntryId { term: 1 + index / 10, index }, kind: Kind::Command, payload }
}

fn entries(indexes: std::ops::Range<u64>) -> Vec<Entry> {
    indexes.map(entry).collect()
}

async fn durably(queue: impl FnOnce(Done)) -> std::io::Result<()> {
    let (done, outcome) = oneshot::channel();
    queue(Box::new(move |result| done.send(result).expect("the test waits")));
    outcome.await.expect("the log answers")
}

async fn append(log: &Arc<Log>, indexes: std::ops::Range<u64>) {
    durably(|done| log.append(entries(indexes).into_iter(), done)).await.unwrap();
}

fn read_all(log: &Log) -> Vec<Entry> {
    log.read(0, u64::MAX, usize::MAX).unwrap()
}

fn segment(n: u64) -> PathBuf {
    Path::new("/data/log").join(super::writer::file_name(n))
}

/// The bytes up to the last one that is not zero.
fn content(disk: &Memory, path: &Path) -> Vec<u8> {
    let files: &dyn Files = disk;
    let mut bytes = files.read(path, 1 << 20).unwrap();
    bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
    bytes
}

#[tokio::test]
async fn entries_come_back_in_order_across_segments_and_openings() {
    let disk = Memory::new();
    for life in 0..4 {
        let (_folder, log) = open(&disk).unwrap();
        assert_eq!(read_all(&log), entries(0..life * 10));
        append(&log, life * 10..life * 10 + 10).await;
        assert_eq!(log.last(), Some(entry(life * 10 + 9).id));
    }
    assert!(disk.list(Path::new("/data/log")).unwrap().len() > 2, "the log has several segments");
}

#[tokio::test]
async fn what_was_truncated_or_purged_stays_so() {
    let disk = Memory::new();
    let (folder, log) = open(&disk).unwrap();
    append(&log, 0..30).await;
    durably(|done| log.truncate(20, done)).await.unwrap();
    let other = Entry { id: EntryId { term: 9, index: 20 }, ..entry(20) };
    durably(|done| log.append([other.clone()].into_iter(), done)).await.unwrap();
    durably(|done| log.purge(entry(18).id, done)).await.unwrap();
    durably(|done| log.close(done)).await.unwrap();
    let expected: Vec<Entry> = entries(19..20).into_iter().chain([other]).collect();
    assert_eq!(read_all(&log), expected);
    drop((folder, log));
    let (_folder, log) = open(&disk).unwrap();
    assert_eq!(read_all(&log), expected);
    assert_eq!(log.purged(), Some(entry(18).id));
    assert!(!disk.list(Path::new("/data/log")).unwrap().contains(&super::writer::file_name(1)));
}

#[tokio::test]
async fn a_purge_beyond_the_end_lets_the_log_go_on_behind_it() {
    let disk = Memory::new();
    let (folder, log) = open(&disk).unwrap();
    append(&log, 0..5).await;
    durably(|done| log.purge(entry(99).id, done)).await.unwrap();
    append(&log, 100..103).await;
    drop((folder, log));
    let (_folder, log) = open(&disk).unwrap();
    assert_eq!(read_all(&log), entries(100..103));
}

#[tokio::test]
async fn a_tail_torn_at_any_byte_recovers_to_the_last_whole_record() {
    let disk = Memory::new();
    let (folder, log) = open(&disk).unwrap();
    append(&log, 0..3).await;
    let acknowledged = content(&disk, &segment(1)).len();
    append(&log, 3..6).await;
    drop((folder, log));
    let written = content(&disk, &segment(1));
    for end in acknowledged..=written.len() {
        let torn = disk.image();
        let file = torn.open(&segment(1), Open::Write).unwrap();
        file.write_all_at(&vec![0; written.len() - end], end as u64).unwrap();
        let (folder, log) = open(&torn).unwrap_or_else(|error| panic!("cut at {end}: {error}"));
        let kept = read_all(&log).len() as u64;
        assert!((3..=6).contains(&kept), "cut at {end}: {kept} entries");
        assert_eq!(read_all(&log), entries(0..kept), "cut at {end}");
        append(&log, kept..8).await;
        drop((folder, log));
        let (_folder, log) = open(&torn).unwrap();
        assert_eq!(read_all(&log), entries(0..8), "cut at {end}, gone on, and opened again");
    }
}

#[tokio::test]
async fn a_tail_with_any_sectors_missing_recovers_to_what_was_acknowledged() {
    let disk = Memory::new();
    let (folder, log) = open(&disk).unwrap();
    append(&log, 0..3).await;
    let acknowledged = content(&disk, &segment(1)).len();
    append(&log, 3..6).await;
    drop((folder, log));
    let written = content(&disk, &segment(1));
    let sectors: Vec<usize> = (acknowledged / 512..=written.len() / 512).collect();
    for kept in 0..1_u32 << sectors.len() {
        let torn = disk.image();
        let file = torn.open(&segment(1), Open::Write).unwrap();
        for (n, sector) in sectors.iter().enumerate().filter(|(n, _)| kept & 1 << n == 0) {
            let start = (sector * 512).max(acknowledged);
            let end = ((sector + 1) * 512).min(written.len()).max(start);
            assert!(n < 32);
            file.write_all_at(&vec![0; end - start], start as u64).unwrap();
        }
        let (_folder, log) = open(&torn).unwrap_or_else(|error| panic!("kept {kept:b}: {error}"));
        let n = read_all(&log).len() as u64;
        assert!((3..=6).contains(&n), "kept {kept:b}: {n} entries");
        assert_eq!(read_all(&log), entries(0..n));
    }
}

#[tokio::test]
async fn a_log_that_was_cut_short_is_reported() {
    let disk = Memory::new();
    let (folder, log) = open(&disk).unwrap();
    append(&log, 0..6).await;
    drop((folder, log));
    let written = content(&disk, &segment(1)).len();
    for end in (START + 1..=written).filter(|end| !end.is_multiple_of(512)) {
        let cut = disk.image();
        cut.open(&segment(1), Open::Write).unwrap().truncate(end as u64).unwrap();
        let Err(StartError::Damaged(damage)) = open(&cut) else {
            panic!("a log that was cut at {end} opens");
        };
        assert_eq!((damage.file, damage.offset), (segment(1), end as u64));
    }
}

/// Flips every bit of a file and sees to it that the log opens unharmed or tells where it is.
fn flip_every_bit(disk: &Memory, path: &Path, expected: &[Entry]) -> (usize, usize) {
    let (mut reported, mut harmless) = (0, 0);
    for bit in 0..content(disk, path).len() as u64 * 8 {
        let flipped = disk.image();
        flipped.flip_bit(path, bit);
        match open(&flipped) {
            Ok((_folder, log)) => {
                assert_eq!(read_all(&log), expected, "bit {bit} of {} is served", path.display());
                harmless += 1;
            }
            Err(StartError::Damaged(damage)) => {
                assert_eq!(damage.file, path);
                assert!(damage.offset <= bit / 8, "bit {bit} is reported at {}", damage.offset);
                reported += 1;
            }
            Err(other) => panic!("bit {bit} of {}: {other}", path.display()),
        }
    }
    (reported, harmless)
}

#[tokio::test]
async fn every_flipped_bit_of_the_log_is_reported() {
    for is_closed in [true, false] {
        let disk = Memory::new();
        let (folder, log) = open_with(&disk, Sizes { segment: 2000, ..sizes() }).unwrap();
        for index in 0..5 {
            append(&log, index..index + 1).await;
        }
        if is_closed {
            durably(|done| log.close(done)).await.unwrap();
        }
        drop((folder, log));
        for n in [1, 2] {
            let (reported, harmless) = flip_every_bit(&disk, &segment(n), &entries(0..5));
            assert!(reported > 4000, "{reported} bits of segment {n} were reported");
            assert_eq!(harmless, 0, "every bit of segment {n} matters, closed: {is_closed}");
        }
    }
}

#[tokio::test]
async fn every_flipped_bit_of_the_vote_and_of_the_identity_is_reported() {
    let disk = Memory::new();
    let (folder, log) = open(&disk).unwrap();
    append(&log, 0..1).await;
    let votes = [1, 2, 3].map(|term| Vote { term, candidate: NODE, is_committed: term == 3 });
    for vote in votes {
        log.save_vote(vote).unwrap();
    }
    drop((folder, log));
    assert_eq!(open(&disk).unwrap().1.vote(), Some(votes[2]));
    for (path, bytes) in
        [("/data/vote", 0..64), ("/data/vote", 4096..4160), ("/data/identity", 0..60)]
    {
        for bit in bytes.start * 8..bytes.end * 8 {
            let flipped = disk.image();
            flipped.flip_bit(Path::new(path), bit);
            match open(&flipped).map(|_| ()) {
                Err(StartError::Damaged(damage)) => assert_eq!(damage.file, Path::new(path)),
                other => panic!("bit {bit} of {path}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_missing_segment_is_reported() {
    let disk = Memory::new();
    let (folder, log) = open(&disk).unwrap();
    append(&log, 0..40).await;
    let n_segments = disk.list(Path::new("/data/log")).unwrap().len() as u64;
    assert!(n_segments >= 3);
    drop((folder, log));
    for gone in [1, n_segments - 1] {
        let image = disk.image();
        image.remove(&segment(gone)).unwrap();
        assert!(matches!(open(&image), Err(StartError::Damaged(_))), "segment {gone} is gone");
    }
}

#[tokio::test]
async fn a_log_under_a_vote_may_not_be_missing() {
    let disk = Memory::new();
    let (folder, log) = open(&disk).unwrap();
    log.save_vote(Vote { term: 1, candidate: NODE, is_committed: false }).unwrap();
    drop((folder, log));
    disk.remove(&segment(1)).unwrap();
    assert!(matches!(open(&disk), Err(StartError::Damaged(_))));
}

#[tokio::test]
async fn a_failed_sync_acknowledges_nothing_ever_again_and_is_fatal() {
    let disk = Memory::new();
    let folder = Folder::open(world(&disk), Path::new("/data"), Some(NODE)).unwrap();
    let deaths = Arc::new(Mutex::new(Vec::new()));
    let on_fatal = {
        let deaths = deaths.clone();
        Arc::new(move |fatal| deaths.lock().unwrap().push(fatal))
    };
    let log = Log::open(world(&disk), &folder.log(), NODE, sizes(), on_fatal).unwrap();
    disk.set_faults(Faults { syncs_fail: true, ..Faults::default() });
    assert!(durably(|done| log.append(entries(0..1).into_iter(), done)).await.is_err());
    disk.set_faults(Faults::default());
    assert!(durably(|done| log.append(entries(1..2).into_iter(), done)).await.is_err());
    assert!(matches!(deaths.lock().unwrap()[..], [Fatal::Log(_)]));
}

/// Each life reads what the one before wrote and could not sync; only the last can sync again.
#[tokio::test]
async fn what_a_failed_sync_left_behind_is_never_built_on() {
    for seed in 0..60 {
        let disk = Memory::new();
        {
            let (_folder, log) = open(&disk).unwrap();
            append(&log, 0..3).await;
        }
        let mut disk = disk.kill();
        for _life in 0..4 {
            // A process that has begun may find out only when it writes.
            let opened = open(&disk);
            disk.set_faults(Faults { syncs_fail: true, ..Faults::default() });
            let Ok((_folder, log)) = opened else { continue };
            let next = read_all(&log).len() as u64;
            let more = entries(next..next + 4).into_iter();
            assert!(durably(|done| log.append(more, done)).await.is_err());
            let _ = log.save_vote(Vote { term: next, candidate: 1, is_committed: false });
            disk = disk.kill();
        }
        disk.set_faults(Faults::default());
        let disk = disk.power_cut(seed);
        let (_folder, log) = open(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(read_all(&log)[..3], entries(0..3), "seed {seed}");
    }
}

#[tokio::test]
async fn a_full_disk_is_waited_out() {
    let disk = Memory::new();
    let (folder, log) = open_with(&disk, Sizes { reserve: 1, ..sizes() }).unwrap();
    let keeper = tokio::spawn(log.clone().keep());
    append(&log, 0..3).await;
    disk.set_faults(Faults { bytes_max: Some(disk.n_bytes()), ..Faults::default() });
    let (done, outcome) = oneshot::channel();
    let appended = entries(3..20);
    log.append(appended.into_iter(), Box::new(move |result| done.send(result).expect("awaited")));
    assert_eq!(log.read(0, 20, usize::MAX).unwrap(), entries(0..20), "what waits can be read");
    admission(&log, false).await;
    disk.set_faults(Faults::default());
    outcome.await.unwrap().unwrap();
    admission(&log, true).await;
    keeper.abort();
    drop((folder, log));
    let (_folder, log) = open(&disk).unwrap();
    assert_eq!(read_all(&log), entries(0..20));
}

/// Waits until the log admits more, or no longer does.
async fn admission(log: &Arc<Log>, is_expected: bool) {
    let becomes = async {
        while log.admit().is_ok() != is_expected {
            tokio::task::yield_now().await;
        }
    };
    let limit = std::time::Duration::from_secs(20);
    tokio::time::timeout(limit, becomes).await.expect("the log notices");
}

#[tokio::test]
async fn short_writes_are_finished() {
    let disk = Memory::new();
    let (folder, log) = open(&disk).unwrap();
    disk.set_faults(Faults { write_max: Some(7), ..Faults::default() });
    append(&log, 0..10).await;
    drop((folder, log));
    let (_folder, log) = open(&disk).unwrap();
    assert_eq!(read_all(&log), entries(0..10));
}
