//! Where the time goes: `perf` looks at muster during a work, a flamegraph shows it, and a table sums
//! it up.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::Result;
use crate::install::said;
use crate::shares::shares;

/// Samples a second.
const FREQUENCY: &str = "499";
/// Bytes of stack that each sample keeps: the release profile has no frame pointers.
const STACKS: &str = "dwarf,8192";

/// Samples of one cluster's processes.
pub(crate) struct Recorder {
    perf: Child,
    samples: PathBuf,
}

impl Recorder {
    /// Begins to look at processes; the samples go to a file in `folder`, named after the work.
    pub(crate) fn attach(process_ids: &[u32], folder: &Path, work: &str) -> Result<Recorder> {
        std::fs::create_dir_all(folder)?;
        let name = work.replace(|c: char| !c.is_ascii_alphanumeric(), "-").to_lowercase();
        let samples = folder.join(format!("{name}.data"));
        let ids: Vec<String> = process_ids.iter().map(u32::to_string).collect();
        let perf = Command::new("perf")
            .args(["record", "-q", "-F", FREQUENCY, "--call-graph", STACKS, "-p"])
            .arg(ids.join(","))
            .arg("-o")
            .arg(&samples)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("perf: {error}; as root: apt-get install linux-perf"))?;
        Ok(Recorder { perf, samples })
    }

    /// Stops, if the processes have not ended by themselves, makes a flamegraph beside the samples, and
    /// gives how many of them each part has.
    pub(crate) fn finish(mut self) -> Result<Vec<(&'static str, u64)>> {
        if let Some(id) = Pid::from_raw(i32::try_from(self.perf.id())?)
            && self.perf.try_wait()?.is_none()
        {
            kill_process(id, Signal::INT)?;
        }
        self.perf.wait()?;
        let words = ["script", "--no-inline", "-F", "comm,pid,tid,time,event,ip,sym,dso", "-i"];
        let text = said(Command::new("perf").args(words).arg(&self.samples))?;
        let mut options = inferno::collapse::perf::Options::default();
        options.nthreads = 1;
        let mut folded = Vec::new();
        let mut folder = inferno::collapse::perf::Folder::from(options);
        inferno::collapse::Collapse::collapse(&mut folder, text.as_bytes(), &mut folded)?;
        let out = std::fs::File::create(self.samples.with_extension("svg"))?;
        let mut options = inferno::flamegraph::Options::default();
        inferno::flamegraph::from_reader(&mut options, folded.as_slice(), out)?;
        Ok(shares(&String::from_utf8_lossy(&folded)))
    }
}
