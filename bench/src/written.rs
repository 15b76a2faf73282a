//! What reaches a disk, as its driver counts it.
//!
//! What the kernel counts for a process is of no use here: where a file lies in large folios, as one
//! that was written ahead does, it counts the whole folio for every byte that becomes dirty in it, up
//! to a megabyte for a record of 300 bytes. So this is of the whole disk, journal and neighbors
//! included.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A sector, as the kernel counts them, whatever the disk has.
const SECTOR: u64 = 512;
/// Where the sectors written stand in a line, counted from the numbers of the device.
const SECTORS_WRITTEN: usize = 9;

/// Bytes written so far to the disk on which a folder lies; nothing where that is not known.
pub(crate) fn on_disk_of(folder: &Path) -> Option<u64> {
    let device = folder.metadata().ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    of_device(&std::fs::read_to_string("/proc/diskstats").ok()?, major, minor)
}

fn of_device(stats: &str, major: u32, minor: u32) -> Option<u64> {
    let mut lines = stats.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let is_it = |words: &Vec<&str>| {
        words.first().is_some_and(|word| word.parse() == Ok(major))
            && words.get(1).is_some_and(|word| word.parse() == Ok(minor))
    };
    let sectors: u64 = lines.find(is_it)?.get(SECTORS_WRITTEN)?.parse().ok()?;
    Some(sectors * SECTOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sectors_of_the_device_with_these_numbers_count() {
        let stats = " 254 0 vda 10 0 80 7 20 3 1600 9 0 9 9\n 254 1 vda1 1 0 8 7 2 3 16 9 0 9 9\n";
        assert_eq!(of_device(stats, 254, 0), Some(1_600 * 512));
        assert_eq!(of_device(stats, 254, 1), Some(16 * 512));
        assert_eq!(of_device(stats, 8, 0), None);
        assert_eq!(of_device("254 0 vda", 254, 0), None);
    }
}
