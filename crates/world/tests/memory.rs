//! What a power cut takes from files in memory, and what it must leave.
#![allow(clippy::unwrap_used, reason = "this is test code")]

use std::io;
use std::path::Path;

use muster_world::memory::Faults;
use muster_world::{Files, Memory, Open};

fn folder() -> &'static Path {
    Path::new("/d")
}

fn disk() -> Memory {
    let disk = Memory::new();
    disk.create_folder(folder()).unwrap();
    disk
}

fn read(disk: &Memory, name: &str) -> io::Result<Vec<u8>> {
    (disk as &dyn Files).read(&folder().join(name), 1 << 20)
}

#[test]
fn what_was_synced_survives_every_cut() {
    for seed in 0..50 {
        let disk = disk();
        let file = disk.open(&folder().join("a"), Open::Create).unwrap();
        file.write_all_at(&[7; 3000], 0).unwrap();
        file.sync().unwrap();
        disk.sync_folder(folder()).unwrap();
        file.write_all_at(&[8; 3000], 3000).unwrap();
        let after = disk.power_cut(seed);
        assert_eq!(read(&after, "a").unwrap()[..3000], [7; 3000]);
        assert!(file.sync().is_err(), "a file opened before the cut is dead");
        assert!(disk.list(folder()).is_err(), "and so is the process that had it");
    }
}

#[test]
fn unsynced_sectors_are_kept_or_lost_one_by_one() {
    let (mut torn, mut kept, mut lost) = (0, 0, 0);
    for seed in 0..200 {
        let disk = disk();
        let file = disk.open(&folder().join("a"), Open::Create).unwrap();
        file.write_all_at(&[1; 4096], 0).unwrap();
        file.sync().unwrap();
        disk.sync_folder(folder()).unwrap();
        file.write_all_at(&[2; 4096], 0).unwrap();
        let bytes = read(&disk.power_cut(seed), "a").unwrap();
        for sector in bytes.chunks(512) {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is never mixed");
        }
        match bytes.iter().filter(|byte| **byte == 2).count() {
            0 => lost += 1,
            4096 => kept += 1,
            _ => torn += 1,
        }
    }
    assert!(torn > 20 && kept > 20 && lost > 20, "{torn} torn, {kept} kept, {lost} lost");
}

#[test]
fn a_rename_is_undone_or_kept_until_its_folder_is_synced() {
    let (mut old, mut new) = (0, 0);
    for seed in 0..100 {
        let disk = disk();
        let files: &dyn Files = &disk;
        files.replace(&folder().join("a"), b"old").unwrap();
        let file = files.open(&folder().join("b"), Open::Create).unwrap();
        file.write_all_at(b"new", 0).unwrap();
        file.sync().unwrap();
        files.rename(&folder().join("b"), &folder().join("a")).unwrap();
        match &read(&disk.power_cut(seed), "a").unwrap()[..] {
            b"old" => old += 1,
            b"new" => new += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(old > 10 && new > 10, "{old} old, {new} new");
}

#[test]
fn faults_do_what_they_say() {
    let disk = disk();
    let file = disk.open(&folder().join("a"), Open::Create).unwrap();
    disk.set_faults(Faults { write_max: Some(3), ..Faults::default() });
    assert_eq!(file.write_at(&[1; 10], 0).unwrap(), 3);
    disk.set_faults(Faults { bytes_max: Some(5), ..Faults::default() });
    let full = file.write_all_at(&[1; 10], 0).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.free_space(folder()).unwrap(), 2);
    disk.set_faults(Faults { syncs_fail: true, ..Faults::default() });
    assert!(file.sync().is_err());
    disk.set_faults(Faults { changes_left: Some(1), ..Faults::default() });
    file.sync().unwrap();
    assert!(file.sync().is_err() && disk.is_without_power());
}

#[test]
fn a_flipped_bit_is_flipped() {
    let disk = disk();
    (&disk as &dyn Files).replace(&folder().join("a"), &[0; 600]).unwrap();
    disk.flip_bit(&folder().join("a"), 8 * 520 + 3);
    assert_eq!(read(&disk, "a").unwrap()[520], 8);
}

#[test]
fn a_killed_process_loses_its_locks_and_nothing_it_wrote() {
    let disk = disk();
    let lock = disk.lock(&folder().join("lock")).unwrap();
    let file = disk.open(&folder().join("a"), Open::Create).unwrap();
    file.write_all_at(&[7; 3000], 0).unwrap();
    let after = disk.kill();
    assert_eq!(read(&after, "a").unwrap(), [7; 3000]);
    assert!(file.write_at(&[8], 0).is_err(), "the dead write no more");
    let taken = after.lock(&folder().join("lock"));
    assert!(taken.is_ok(), "a lock dies with its holder");
    drop(lock);
    let again = after.lock(&folder().join("lock"));
    assert!(again.is_err(), "and the dead do not let go what others hold");
}
