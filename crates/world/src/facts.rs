//! What the machine and this process look like from outside: for those who run them, never for a
//! rule. What cannot be read is left at zero.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// The machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// Its host name.
    pub hostname: String,
    /// The version of its kernel.
    pub kernel: String,
    /// Processors that this process may use.
    pub n_processors: u32,
    /// How long ago it was started.
    pub uptime: Duration,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Of these, available.
    pub memory_available_bytes: u64,
    /// Bytes on the disk of a folder.
    pub disk_bytes: u64,
    /// Of these, free.
    pub disk_free_bytes: u64,
}

/// This process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Process {
    /// Bytes of memory that are resident.
    pub resident_bytes: u64,
    /// Bytes of address space.
    pub virtual_bytes: u64,
    /// Threads.
    pub n_threads: u32,
}

impl Machine {
    /// Looks at the machine, and at the disk of `folder`.
    pub(crate) fn look(folder: &Path) -> Machine {
        let system = rustix::system::uname();
        let memory = read("/proc/meminfo");
        let kibibytes = |name: &str| number_after(&memory, name) * 1024;
        let uptime = read("/proc/uptime");
        let uptime = uptime.split('.').next().and_then(|seconds| seconds.parse().ok());
        let disk = rustix::fs::statvfs(folder).ok();
        Machine {
            hostname: system.nodename().to_string_lossy().into_owned(),
            kernel: system.release().to_string_lossy().into_owned(),
            n_processors: std::thread::available_parallelism().map_or(0, |n| n.get() as u32),
            uptime: Duration::from_secs(uptime.unwrap_or(0)),
            memory_bytes: kibibytes("MemTotal:"),
            memory_available_bytes: kibibytes("MemAvailable:"),
            disk_bytes: disk.as_ref().map_or(0, |disk| disk.f_blocks * disk.f_frsize),
            disk_free_bytes: disk.as_ref().map_or(0, |disk| disk.f_bavail * disk.f_frsize),
        }
    }
}

impl Process {
    /// Looks at this process.
    pub(crate) fn look() -> Process {
        let status = read("/proc/self/status");
        Process {
            resident_bytes: number_after(&status, "VmRSS:") * 1024,
            virtual_bytes: number_after(&status, "VmSize:") * 1024,
            n_threads: number_after(&status, "Threads:") as u32,
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The number behind a word at the start of a line.
fn number_after(text: &str, word: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(word));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_and_this_process_have_memory() {
        let machine = Machine::look(Path::new("/"));
        assert!(machine.memory_bytes > machine.memory_available_bytes);
        assert!(machine.disk_bytes >= machine.disk_free_bytes && machine.disk_bytes > 0);
        assert!(!machine.hostname.is_empty());
        let process = Process::look();
        assert!(process.resident_bytes > 0 && process.n_threads > 0);
    }
}
