//! A server under measurement: a child process on the servers' core, and what it costs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Result;

/// The core that servers run on.
pub(crate) const SERVER_CORE: usize = 0;
/// The core that the load comes from.
pub(crate) const LOAD_CORE: usize = 1;

/// How long a process may take to end in good order before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// How much of a log is shown when its process ends unasked.
const LAST_WORDS_BYTES: usize = 400;

/// How a process is started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    /// Where it runs, keeps its data and has its log.
    pub(crate) folder: PathBuf,
}

/// A running child process, killed when dropped.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    /// Nanoseconds of CPU time by thread.
    used: RefCell<BTreeMap<OsString, u64>>,
}

impl Process {
    /// Starts a process pinned to the servers' core; its words go to `log` in its folder.
    pub(crate) fn start(launch: &Launch) -> Result<Process> {
        let log = launch.folder.join("log");
        let out = File::options().create(true).append(true).open(&log)?;
        let errors = out.try_clone()?;
        // A child starts on its parent's cores, and so do all of its threads.
        pin_to_core(SERVER_CORE);
        let child = Command::new(&launch.program)
            .args(&launch.arguments)
            .envs(launch.environment.iter().cloned())
            .current_dir(&launch.folder)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors)
            .spawn();
        pin_to_core(LOAD_CORE);
        let program = launch.program.display();
        let child = child.map_err(|error| format!("cannot start {program}: {error}"))?;
        Ok(Process { child, log, used: RefCell::default() })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// An error with its last words if it has ended.
    pub(crate) fn is_running(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("it ended with {status}: {}", self.last_words()).into()),
        }
    }

    /// The end of its log, on one line.
    fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let from = text.len().saturating_sub(LAST_WORDS_BYTES);
        String::from_utf8_lossy(&text[from..]).split_whitespace().collect::<Vec<_>>().join(" ")
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

    /// Ends it in good order; one that does not end is killed.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.interrupt()
    }

    /// Asks it to end, and waits.
    fn interrupt(&mut self) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).ok_or("no such process")?;
        kill_process(pid, Signal::INT)?;
        let begun = Instant::now();
        while begun.elapsed() < STOP_TIMEOUT {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that counts what it does writes that down as it ends.
        if std::env::var_os("LLVM_PROFILE_FILE").is_some() {
            let _ = self.interrupt();
        }
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A new folder for a server's data, on the disk of the build and not in memory.
pub(crate) fn data_folder() -> Result<PathBuf> {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let folder = beside_bench()?.join(format!("bench-data-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The folder that the bench itself lies in.
pub(crate) fn beside_bench() -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    Ok(here.parent().map(Path::to_path_buf).ok_or("the bench has no folder")?)
}

/// Keeps this thread, and what it starts, on one core. A machine with one core has no other.
pub(crate) fn pin_to_core(core: usize) {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(core);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &cores) {
        eprintln!("cannot pin to core {core} ({error}); figures will be less steady");
    }
}

/// Ports that nobody listens on, by TCP nor UDP, held together while they are chosen.
pub(crate) fn free_ports(n_ports: usize) -> Result<Vec<u16>> {
    let mut held = Vec::new();
    while held.len() < n_ports {
        let stream = std::net::TcpListener::bind("127.0.0.1:0")?;
        let port = stream.local_addr()?.port();
        if let Ok(datagram) = std::net::UdpSocket::bind(("127.0.0.1", port)) {
            held.push((port, stream, datagram));
        }
    }
    Ok(held.iter().map(|(port, ..)| *port).collect())
}

/// Lets this process, and what it starts, have as many open files as the machine allows: watchers
/// are connections.
pub(crate) fn allow_open_files() -> Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    Ok(setrlimit(Resource::Nofile, wanted)?)
}
