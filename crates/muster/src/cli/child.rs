//! A program run for `lock`, `watch` and `dev-cluster`: started through a shell or not, stopped
//! politely first.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::process::{Child as Process, Command};

use super::Failure;
use super::look::Seen;

/// How long a program may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// Runs a program with what a watch saw, until it ends: the JSON on its standard input, the index in
/// `CONSUL_INDEX`.
pub async fn hand(args: &[String], is_shell: bool, seen: &Seen) -> Result<ExitStatus, Failure> {
    let input = format!("{}\n", seen.value);
    let environment = &[("CONSUL_INDEX", seen.mark.clone())];
    let start =
        Start { args, is_shell, input: Some(input.as_bytes()), environment, is_captured: false };
    Child::start(start).await?.wait().await
}

/// A running program. One with a process group of its own takes the group along when it is dropped.
pub struct Child {
    process: Process,
    is_group: bool,
}

/// What a program is started with.
pub struct Start<'a> {
    /// The program and its arguments.
    pub args: &'a [String],
    /// Join the arguments and run them in a shell.
    pub is_shell: bool,
    /// What it reads; nothing means this process's own standard input.
    pub input: Option<&'a [u8]>,
    /// Additions to its environment.
    pub environment: &'a [(&'a str, String)],
    /// Whether what it prints is taken by [`Child::output`] rather than printed.
    pub is_captured: bool,
}

/// What a program prints.
pub type Output = Box<dyn AsyncRead + Send + Unpin>;

impl Child {
    /// Starts a program. One that does not share the terminal's input gets a process group of its
    /// own, so that what it starts in turn can be stopped with it.
    pub async fn start(start: Start<'_>) -> Result<Child, Failure> {
        let mut command = match (start.is_shell, start.args) {
            (true, args) => {
                let mut shell = Command::new("/bin/sh");
                shell.arg("-c").arg(args.join(" "));
                shell
            }
            (false, [program, args @ ..]) => {
                let mut command = Command::new(program);
                command.args(args);
                command
            }
            (false, []) => return Err(Failure::new("there is no program to run")),
        };
        let is_group = start.input.is_some();
        if is_group {
            command.process_group(0).stdin(Stdio::piped());
        }
        if start.is_captured {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        for (key, value) in start.environment {
            command.env(key, value);
        }
        let mut process = command.kill_on_drop(true).spawn().map_err(|error| {
            Failure::new(format!("{} cannot be started: {error}", start.args.join(" ")))
        })?;
        let pipe = process.stdin.take();
        let child = Child { process, is_group };
        if let (Some(input), Some(mut pipe)) = (start.input, pipe) {
            // A program that does not read its input is within its rights.
            let _ = pipe.write_all(input).await;
        }
        Ok(child)
    }

    /// Its standard output and its standard error, once, where they are captured.
    pub fn output(&mut self) -> Vec<Output> {
        let out = self.process.stdout.take().map(|out| Box::new(out) as Output);
        let error = self.process.stderr.take().map(|error| Box::new(error) as Output);
        out.into_iter().chain(error).collect()
    }

    /// Its process id, until it has ended.
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Waits for it to end.
    pub async fn wait(&mut self) -> Result<ExitStatus, Failure> {
        self.process
            .wait()
            .await
            .map_err(|error| Failure::new(format!("the program is lost: {error}")))
    }

    /// Asks it to end, and kills it if it does not within the grace period.
    pub async fn stop(&mut self) -> Result<(), Failure> {
        self.signal(Signal::TERM);
        if tokio::time::timeout(GRACE, self.process.wait()).await.is_err() {
            self.signal(Signal::KILL);
            self.wait().await?;
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        let id = self.process.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let Some(id) = id else { return };
        // It may have ended by itself in this moment, which is what was wanted.
        let _ =
            if self.is_group { kill_process_group(id, signal) } else { kill_process(id, signal) };
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.is_group {
            self.signal(Signal::KILL);
        }
    }
}
