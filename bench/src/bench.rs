//! A run: who takes part, how long it takes, and what it finds.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::contestant::Contestant;
use crate::contestants::QUICK_PEERS;
use crate::install::said;
use crate::profile::Recorder;
use crate::report::{OWN, Report};
use crate::{Result, contestants};

/// How long rounds are meant to last, and those of a quick run.
pub(crate) const ROUND_MAX: Duration = Duration::from_secs(3);
const ROUND_MAX_QUICK: Duration = Duration::from_millis(200);

/// One run of the bench.
pub(crate) struct Bench {
    /// Everybody who is on the machine.
    pub(crate) contestants: Vec<Rc<dyn Contestant>>,
    pub(crate) size: Size,
    /// Rounds of each contestant.
    pub(crate) n_rounds: usize,
    /// How long one is meant to last: a contestant that is slow does fewer deeds in it.
    pub(crate) round_max: Duration,
    /// Whether a further round is spent on counting syncs.
    pub(crate) counts_syncs: bool,
    /// The folder for profiles of muster, if any are wanted.
    pub(crate) profiles_into: Option<PathBuf>,
    pub(crate) report: Report,
}

/// How much time a run may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// Minutes: tells whether something is badly off.
    Quick,
    /// As long as it takes: for the record.
    Full,
}

impl Size {
    /// The amount for this size.
    pub(crate) fn of<T>(self, quick: T, full: T) -> T {
        match self {
            Size::Quick => quick,
            Size::Full => full,
        }
    }
}

impl Bench {
    /// A run with these contestants; who cannot be installed is named and left out.
    pub(crate) fn new(field: Vec<Rc<dyn Contestant>>, size: Size) -> Bench {
        let mut report = Report { circumstances: circumstances(), ..Report::default() };
        let mut there = Vec::new();
        for contestant in field {
            match contestant.install() {
                Ok(version) => {
                    report.contestants.push((contestant.name().into(), version));
                    there.push(contestant);
                }
                Err(error) => report.leave_out(contestant.name(), "installing", &error),
            }
        }
        let n_rounds = size.of(3, 5);
        Bench {
            contestants: there,
            size,
            n_rounds,
            round_max: size.of(ROUND_MAX_QUICK, ROUND_MAX),
            counts_syncs: true,
            profiles_into: None,
            report,
        }
    }

    /// A run with muster, the floors and these peers; if none is named, with all, or with those of
    /// quick runs.
    pub(crate) fn with_peers(
        muster: PathBuf,
        peers: Option<&[String]>,
        size: Size,
    ) -> Result<Bench> {
        let mut field = contestants::own(muster);
        let mut all = contestants::peers();
        for name in peers.unwrap_or_default() {
            let is_word = matches!(name.as_str(), "none" | "all");
            if !is_word && !all.iter().any(|peer| is_named(peer, name)) {
                let names: Vec<_> = all.iter().map(|peer| peer.name().to_lowercase()).collect();
                return Err(
                    format!("there is no peer {name:?}: {}, all, none", names.join(", ")).into()
                );
            }
        }
        all.retain(|peer| match peers {
            Some(names) => names.iter().any(|name| name == "all" || is_named(peer, name)),
            None => size == Size::Full || QUICK_PEERS.iter().any(|name| is_named(peer, name)),
        });
        field.extend(all);
        field.extend(contestants::floors());
        Ok(Bench::new(field, size))
    }

    /// Begins to look at the servers of a cluster, if they are muster's and profiles are wanted.
    pub(crate) fn profile(&mut self, cluster: &Cluster, work: &str) -> Option<Recorder> {
        let name = cluster.contestant.name();
        let folder = self.profiles_into.as_ref().filter(|_| name == OWN)?;
        match Recorder::attach(&cluster.process_ids(), folder, work) {
            Ok(recorder) => Some(recorder),
            Err(error) => {
                self.report.leave_out(name, "a profile", &error);
                None
            }
        }
    }

    /// Takes what a profile shows into the report.
    pub(crate) fn keep_profile(&mut self, recorder: Option<Recorder>, work: &str) {
        match recorder.map(Recorder::finish) {
            Some(Ok(shares)) => self.report.profiles.push((work.into(), shares)),
            Some(Err(error)) => self.report.leave_out(OWN, "a profile", &error),
            None => {}
        }
    }
}

fn is_named(peer: &Rc<dyn Contestant>, name: &str) -> bool {
    peer.name().eq_ignore_ascii_case(name)
}

/// When, on which machine and by which command.
fn circumstances() -> Vec<(String, String)> {
    let date = said(std::process::Command::new("date").args(["-u", "+%F %H:%M UTC"]));
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let n_cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = memory.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
    let gigabytes = kilobytes.unwrap_or_default() / (1 << 20);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let commit = said(std::process::Command::new("git").args(["rev-parse", "--short", "HEAD"]));
    let words: Vec<String> = std::env::args().skip(1).collect();
    let machine = format!(
        "{n_cores} cores ({}), {gigabytes} GiB, Linux {}",
        model.unwrap_or("unknown"),
        kernel.trim()
    );
    vec![
        ("date".into(), date.unwrap_or_default().trim().into()),
        ("machine".into(), machine),
        ("commit".into(), commit.unwrap_or_default().trim().into()),
        ("command".into(), format!("cargo xtask bench {}", without_paths(&words))),
    ]
}

/// The words of the command as a person gives them: where things are on this machine is left out.
fn without_paths(words: &[String]) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--muster" | "--before" | "--out" => drop(words.next()),
            word => kept.push(word),
        }
    }
    kept.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_told_without_the_paths_of_this_machine() {
        let words = "quick dns --out /a/b --peers knot --muster c --rounds 2";
        let words: Vec<String> = words.split(' ').map(String::from).collect();
        assert_eq!(without_paths(&words), "quick dns --peers knot --rounds 2");
    }
}
