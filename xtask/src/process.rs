//! Starting other programs with a bound on how long they may run.
//!
//! Each program is put at the head of a process group of its own, so that what it starts in turn
//! ends with it. Its output goes to a file: nothing here has to read while it waits, and a
//! program that says nothing cannot block one that says a lot.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::{Failure, repository};

/// How often a running program is looked at.
const GLANCE: Duration = Duration::from_millis(20);
/// How long a program may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(10);

/// How a program ended.
pub(crate) enum Ending {
    Exited(ExitStatus),
    /// It ran past its time and was killed.
    TimedOut,
}

impl Ending {
    pub(crate) fn is_success(&self) -> bool {
        matches!(self, Self::Exited(status) if status.success())
    }
}

/// A running program and all that it started; killed when dropped.
pub(crate) struct Group {
    child: Child,
    has_ended: bool,
}

impl Group {
    /// Starts the command, its output going to the file `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> io::Result<Self> {
        let out = File::create(log)?;
        let errors = out.try_clone()?;
        let child =
            command.stdin(Stdio::null()).stdout(out).stderr(errors).process_group(0).spawn()?;
        Ok(Self { child, has_ended: false })
    }

    /// The id of the program's process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the program is still running, and if not, how it ended.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        self.has_ended |= status.is_some();
        Ok(status)
    }

    /// Waits until the program ends; kills it and all it started when the time is up.
    pub(crate) fn wait(mut self, limit: Duration) -> io::Result<Ending> {
        let started_at = Instant::now();
        while started_at.elapsed() < limit {
            if let Some(status) = self.ended()? {
                return Ok(Ending::Exited(status));
            }
            std::thread::sleep(GLANCE);
        }
        Ok(Ending::TimedOut)
    }

    /// Asks the program to end as a person would (Ctrl-C), and waits for it.
    pub(crate) fn interrupt(mut self) -> io::Result<Ending> {
        self.signal(Signal::INT);
        let started_at = Instant::now();
        while started_at.elapsed() < GRACE {
            if let Some(status) = self.ended()? {
                return Ok(Ending::Exited(status));
            }
            std::thread::sleep(GLANCE);
        }
        Ok(Ending::TimedOut)
    }

    /// Waits until the program ends by itself or its time is up; it is not killed then.
    pub(crate) fn ends_within(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let started_at = Instant::now();
        loop {
            let status = self.ended()?;
            if status.is_some() || started_at.elapsed() > limit {
                return Ok(status);
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Sends a signal to the whole group; a group that is gone already needs none.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(group) = Pid::from_raw(self.child.id().cast_signed()) {
            let _gone_already = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        if !self.has_ended {
            let _gone_already = self.child.wait();
        }
    }
}

/// Runs a command to its end, its output going to `log`.
pub(crate) fn run(command: &mut Command, limit: Duration, log: &Path) -> io::Result<Ending> {
    Group::start(command, log)?.wait(limit)
}

/// The cargo that runs this chore.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
}

/// Runs a program in the repository, where everybody sees its output; it has to end well.
pub(crate) fn end_well(command: &mut Command) -> Result<(), Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.current_dir(repository::root()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::NotInOrder(format!("{name} ended with {status}"))),
        Err(error) => Err(Failure::NotInOrder(format!("{name}: {error}"))),
    }
}

/// What a program says that runs in the repository and has to end well.
pub(crate) fn said(command: &mut Command) -> Result<String, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.current_dir(repository::root()).output();
    let output = output.map_err(|error| Failure::NotInOrder(format!("{name}: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Failure::NotInOrder(format!("{name} ended with {}: {why}", output.status)))
}

/// Whether a program of that name is on the path.
pub(crate) fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// The last lines of a log, for a person to read.
pub(crate) fn tail(log: &Path, n_lines: usize) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(n_lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()))
    }

    #[test]
    fn output_and_status_of_a_program_are_kept() {
        let log = log("kept");
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let ending = run(&mut command, Duration::from_secs(10), &log).expect("sh starts");
        assert!(matches!(ending, Ending::Exited(status) if status.code() == Some(3)));
        assert_eq!(tail(&log, 1), "err");
        std::fs::remove_file(&log).expect("the log was written");
    }

    #[test]
    fn a_program_past_its_time_is_told_apart_from_one_that_failed() {
        let log = log("late");
        let mut command = Command::new("sleep");
        let ending = run(command.arg("300"), Duration::from_millis(50), &log);
        assert!(matches!(ending, Ok(Ending::TimedOut)));
        std::fs::remove_file(&log).expect("the log was written");
    }

    #[test]
    fn what_a_program_started_ends_with_it() {
        let log = log("group");
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 300 & echo $!; wait"]);
        let group = Group::start(&mut command, &log).expect("sh starts");
        let child = eventually(|| tail(&log, 1).parse::<u32>().ok());
        drop(group);
        eventually(|| {
            let state = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            (state.is_empty() || state.contains(") Z ")).then_some(())
        });
        std::fs::remove_file(&log).expect("the log was written");
    }

    /// Asks until there is an answer.
    fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline {
            if let Some(answer) = ask() {
                return answer;
            }
            std::thread::yield_now();
        }
        panic!("no answer within {GRACE:?}");
    }
}
