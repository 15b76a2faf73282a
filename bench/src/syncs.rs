//! Calls of fsync and fdatasync, counted by strace in rounds that are not measured otherwise.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A count under way.
pub(crate) struct Counter {
    strace: Child,
    errors: BufReader<std::process::ChildStderr>,
}

impl Counter {
    /// Begins to count for these processes; nothing where strace is missing or not let.
    pub(crate) fn attach(process_ids: &[u32]) -> Option<Counter> {
        let mut command = Command::new("strace");
        command.args(["-f", "-e", "trace=fsync,fdatasync", "-e", "signal=none", "-c"]);
        for id in process_ids {
            command.args(["-p", &id.to_string()]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut strace = command.spawn().ok()?;
        let mut errors = BufReader::new(strace.stderr.take()?);
        // It says so for each process once it is attached to all of its threads.
        for _ in process_ids {
            let mut line = String::new();
            errors.read_line(&mut line).ok()?;
            if !line.contains("attached") {
                let _ = strace.kill();
                let _ = strace.wait();
                return None;
            }
        }
        Some(Counter { strace, errors })
    }

    /// Ends the count.
    pub(crate) fn count(mut self) -> Option<u64> {
        let pid = Pid::from_raw(i32::try_from(self.strace.id()).ok()?)?;
        kill_process(pid, Signal::INT).ok()?;
        let mut text = String::new();
        self.errors.read_to_string(&mut text).ok()?;
        self.strace.wait().ok()?;
        Some(total(&text))
    }
}

/// The calls that strace's summary lists: the fourth column of the lines that name one.
fn total(summary: &str) -> u64 {
    let lines = summary.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines
        .filter(|words| matches!(words.last(), Some(&("fsync" | "fdatasync"))))
        .filter_map(|words| words.get(3)?.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_summed_over_both_calls() {
        let summary = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 99.00    0.112000         112      1000         3 fdatasync
  1.00    0.001000         100        10           fsync
------ ----------- ----------- --------- --------- ----------------
100.00    0.113000         111      1010         3 total
";
        assert_eq!(total(summary), 1_010);
        assert_eq!(total("strace: Process 7 detached"), 0);
    }
}
