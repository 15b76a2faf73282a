//! A server under measurement: a child process on a core of its own, and what it costs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;

/// The core that servers run on.
pub(crate) const SERVER_CORE: usize = 0;
/// The core that the load comes from.
pub(crate) const LOAD_CORE: usize = 1;

/// How long a server may take to say that it serves.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// A running child process, killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// What it wrote when it was ready: addresses by name.
    pub(crate) bound: serde_json::Value,
    /// From its start until it was ready.
    pub(crate) ready_after: Duration,
    folder: Option<PathBuf>,
    /// Nanoseconds of CPU time by thread.
    used: RefCell<BTreeMap<OsString, u64>>,
}

impl Server {
    /// Starts a program that writes its addresses as JSON to the file it is given after
    /// `--ready-file`, pinned to the servers' core.
    pub(crate) async fn start(
        program: &Path,
        arguments: &[String],
        folder: Option<PathBuf>,
    ) -> Result<Server> {
        let name = format!("muster-bench-{}-{}", std::process::id(), fresh());
        let ready = std::env::temp_dir().join(name);
        // A child starts on its parent's cores, and so do all of its threads.
        pin_to_core(SERVER_CORE);
        let begun = Instant::now();
        let child = Command::new(program)
            .args(arguments)
            .arg("--ready-file")
            .arg(&ready)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        pin_to_core(LOAD_CORE);
        let child =
            child.map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        let mut server = Server {
            child,
            bound: serde_json::Value::Null,
            ready_after: Duration::ZERO,
            folder,
            used: RefCell::default(),
        };
        loop {
            let written = std::fs::read(&ready).unwrap_or_default();
            if let Ok(bound) = serde_json::from_slice(&written) {
                server.bound = bound;
                server.ready_after = begun.elapsed();
                let _ = std::fs::remove_file(&ready);
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("{} ended with {status}", program.display()).into());
            }
            if begun.elapsed() > READY_TIMEOUT {
                return Err(format!("{} does not get ready", program.display()).into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// An address it bound.
    pub(crate) fn address(&self, name: &str) -> Result<std::net::SocketAddr> {
        let address = match &self.bound[name] {
            serde_json::Value::Array(several) => several.first().and_then(|first| first.as_str()),
            one => one.as_str(),
        };
        Ok(address.ok_or_else(|| format!("no address {name:?} in {}", self.bound))?.parse()?)
    }

    /// CPU time that its threads have used. One that has ended counts with what it had used when
    /// it was last looked at.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let mut used = self.used.borrow_mut();
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let task = task?;
            // A thread may end between the two looks.
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            if let Some(nanos) = text.split_whitespace().next() {
                used.insert(task.file_name(), nanos.parse()?);
            }
        }
        Ok(Duration::from_nanos(used.values().sum()))
    }

    /// Bytes of memory it has resident.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id()))?;
        let pages: u64 = statm.split_whitespace().nth(1).ok_or("short statm")?.parse()?;
        Ok(pages * rustix::param::page_size() as u64)
    }

    /// Ends it in good order and gives its folder, so that it can be started on it again.
    pub(crate) fn stop(mut self) -> Result<Option<PathBuf>> {
        let pid = i32::try_from(self.child.id())?;
        let pid = rustix::process::Pid::from_raw(pid).ok_or("no such process")?;
        rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
        self.child.wait()?;
        Ok(self.folder.take())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// A new folder for a server's data, on the disk of the build and not in memory.
pub(crate) fn data_folder() -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let beside = here.parent().ok_or("the bench has no folder")?;
    let folder = beside.join(format!("bench-data-{}-{}", std::process::id(), fresh()));
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Keeps this thread, and what it starts, on one core. A machine with one core has no other.
pub(crate) fn pin_to_core(core: usize) {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(core);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &cores) {
        eprintln!("cannot pin to core {core} ({error}); figures will be less steady");
    }
}

fn fresh() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}
