//! Where the time goes: `perf` looks at muster during a workload, and a flamegraph shows it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::Result;
use crate::install::said;

/// Samples a second.
const FREQUENCY: &str = "499";
/// Bytes of stack that each sample keeps: the release profile has no frame pointers.
const STACKS: &str = "dwarf,8192";

/// Samples of one process, taken until it ends.
pub(crate) struct Recorder {
    perf: Child,
    samples: PathBuf,
}

impl Recorder {
    /// Begins to look at a process; its samples go to a file in `folder`.
    pub(crate) fn attach(process_id: u32, folder: &Path) -> Result<Recorder> {
        std::fs::create_dir_all(folder)?;
        let samples = folder.join(format!("{process_id}.data"));
        let perf = Command::new("perf")
            .args(["record", "-q", "-F", FREQUENCY, "--call-graph", STACKS, "-p"])
            .arg(process_id.to_string())
            .arg("-o")
            .arg(&samples)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("perf: {error}; as root: apt-get install linux-perf"))?;
        Ok(Recorder { perf, samples })
    }

    /// Waits until the process has ended and makes a flamegraph beside the samples.
    pub(crate) fn finish(mut self) -> Result<PathBuf> {
        self.perf.wait()?;
        let words = ["script", "--no-inline", "-F", "comm,pid,tid,time,event,ip,sym,dso", "-i"];
        let text = said(Command::new("perf").args(words).arg(&self.samples))?;
        let mut options = inferno::collapse::perf::Options::default();
        options.nthreads = 1;
        let mut folded = Vec::new();
        let mut folder = inferno::collapse::perf::Folder::from(options);
        inferno::collapse::Collapse::collapse(&mut folder, text.as_bytes(), &mut folded)?;
        let drawn = self.samples.with_extension("svg");
        let out = std::fs::File::create(&drawn)?;
        let mut options = inferno::flamegraph::Options::default();
        inferno::flamegraph::from_reader(&mut options, folded.as_slice(), out)?;
        Ok(drawn)
    }
}
