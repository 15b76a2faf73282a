//! A program's exit code: 0 passes, 1 warns, anything else is critical.
//!
//! The program is started without a shell, in a process group of its own. Whatever ends the run (a
//! timeout, the check's removal, the end of the program itself) also ends everything the program
//! started. What it prints is bounded while it is read.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use muster_health::capture::Capture;
use muster_health::check::Observation;
use muster_model::{Status, Text};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::found;

/// How long what a program printed last may take to come through the pipe after its end.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// Bytes read at once.
const PIECE_BYTES: usize = 4_096;

/// The process group of a running program; dropping it ends all its processes.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It is no error if nobody is left.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

pub(super) async fn run(args: &[Text], output_bytes_max: usize) -> io::Result<Observation> {
    let (program, args) = args
        .split_first()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program is named"))?;
    let mut child = Command::new(&**program)
        .args(args.iter().map(|arg| &**arg))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let group = Group(pid);
    let mut printed = Capture::new(output_bytes_max);
    let code = follow(&mut child, &mut printed).await?;
    drop(group);
    let status = status_of(code);
    Ok(found(status, printed.text("")))
}

/// The status that an exit code stands for; nothing where a signal ended the program.
pub(super) fn status_of(code: Option<i32>) -> Status {
    match code {
        Some(0) => Status::Passing,
        Some(1) => Status::Warning,
        _ => Status::Critical,
    }
}

/// Reads what the program prints until it ends; gives its exit code.
async fn follow(child: &mut Child, printed: &mut Capture) -> io::Result<Option<i32>> {
    let mut out = child.stdout.take().expect("it was asked for");
    let mut errors = child.stderr.take().expect("it was asked for");
    let mut is_open = (true, true);
    let exit = loop {
        let (mut piece, mut error_piece) = ([0; PIECE_BYTES], [0; PIECE_BYTES]);
        tokio::select! {
            n_bytes = out.read(&mut piece), if is_open.0 => {
                let n_bytes = n_bytes?;
                is_open.0 = n_bytes > 0;
                printed.push(&piece[..n_bytes]);
            }
            n_bytes = errors.read(&mut error_piece), if is_open.1 => {
                let n_bytes = n_bytes?;
                is_open.1 = n_bytes > 0;
                printed.push(&error_piece[..n_bytes]);
            }
            exit = child.wait() => break exit?,
        }
    };
    // Something that the program left running may hold the pipes open for ever.
    let _ = timeout(LAST_WORDS, drain(&mut out, printed)).await;
    let _ = timeout(LAST_WORDS, drain(&mut errors, printed)).await;
    Ok(exit.code())
}

async fn drain(pipe: &mut (impl AsyncRead + Unpin), printed: &mut Capture) -> io::Result<()> {
    let mut piece = [0; PIECE_BYTES];
    loop {
        match pipe.read(&mut piece).await? {
            0 => return Ok(()),
            n_bytes => printed.push(&piece[..n_bytes]),
        }
    }
}
