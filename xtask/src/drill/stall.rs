//! `drill stall`: a disk that hangs and a machine that is busy cause no election.
//!
//! A small C library, built here, stands before the servers' own and lets each sync wait 300 ms
//! while a file is there; programs that do nothing but burn keep every processor busy. A round
//! lets the leader's disk hang, then all disks, then saturates the processors, then both: the
//! leader and its term stay, writes come through, and stale reads and DNS go on.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::gaps::Gaps;
use super::lab::{Lab, Plan};
use super::load::{Load, under_load};
use super::{Order, Verdict};
use crate::process::{self, Group};

const LIBRARY: &str = include_str!("stall.c");
/// How long each trouble lasts.
const LASTS: Duration = Duration::from_secs(5);
/// The longest silence of writes when each sync takes 300 ms on a busy machine.
const GAP_MAX: Duration = Duration::from_secs(5);
/// How long the compiler may take.
const BUILT_WITHIN: Duration = Duration::from_secs(60);
/// Programs that burn, for each processor.
const BURNERS_EACH: usize = 2;

/// What goes wrong at a time.
const TROUBLES: [(&str, Disks, bool); 4] = [
    ("the leader's syncs take 300 ms", Disks::Leader, false),
    ("all syncs take 300 ms", Disks::All, false),
    ("the processors are saturated", Disks::None, true),
    ("both", Disks::All, true),
];

/// Whose disks hang.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Disks {
    None,
    Leader,
    All,
}

pub(super) fn run(order: &Order) -> Result<Verdict, String> {
    let library = match build(&order.scratch) {
        Ok(library) => library,
        Err(why) => return Ok(Verdict::Skipped(why)),
    };
    let mut plan = Plan::usual(&order.scratch);
    let switches: Vec<PathBuf> =
        (0..plan.hosts.len()).map(|at| order.scratch.join(format!("stall-{}", at + 1))).collect();
    for (prefix, switch) in plan.prefixes.iter_mut().zip(&switches) {
        let preload = format!("LD_PRELOAD={}", library.display());
        *prefix = vec!["env".to_owned(), preload, format!("DRILL_STALL={}", switch.display())];
    }
    let mut lab = Lab::found(&order.binary, &order.scratch, plan)?;
    let (gaps, line) = under_load(&mut lab, order.seed, |lab, load| {
        let mut gaps = Gaps::default();
        for _ in 0..order.n_rounds {
            for (says, disks, is_busy) in TROUBLES {
                let gap = trouble(lab, load, &switches, (disks, is_busy))
                    .map_err(|why| format!("while {says}: {why}"))?;
                println!("{says}: no election, longest silence of writes {gap:?}");
                gaps.add(gap);
                load.until_written(order.n_writes)?;
            }
        }
        Ok(gaps)
    })?;
    let says =
        format!("{} troubles without an election; longest silence of writes {gaps}", gaps.len());
    if order.is_too_long(gaps.worst(), GAP_MAX) {
        return Err(format!("{says}: too long, allowed is {GAP_MAX:?}; {line}"));
    }
    Ok(Verdict::Kept(format!("{says}; {line}")))
}

fn trouble(
    lab: &Lab,
    load: &Load,
    switches: &[PathBuf],
    (disks, is_busy): (Disks, bool),
) -> Result<Duration, String> {
    let (leader, term) = (lab.leader()?, lab.term()?);
    load.writes.begin(Instant::now());
    let hangs = |at: usize| disks == Disks::All || (disks == Disks::Leader && at == leader);
    for (_, switch) in switches.iter().enumerate().filter(|(at, _)| hangs(*at)) {
        std::fs::write(switch, "").map_err(|error| error.to_string())?;
    }
    let burners = if is_busy { burn()? } else { Vec::new() };
    std::thread::sleep(LASTS);
    let gap = load.writes.longest();
    drop(burners);
    for switch in switches {
        let _was_not_there = std::fs::remove_file(switch);
    }
    load.check()?;
    let (leads, term_now) = (lab.leader()?, lab.term()?);
    if (leads, term_now) != (leader, term) {
        return Err(format!(
            "server {} led in term {term}, now server {} leads in term {term_now}",
            leader + 1,
            leads + 1
        ));
    }
    Ok(gap)
}

/// Programs that keep all processors busy until they are dropped.
fn burn() -> Result<Vec<Group>, String> {
    let n_processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let burner = |_| {
        let mut command = Command::new("sh");
        command.args(["-c", "while :; do :; done"]);
        Group::start(&mut command, Path::new("/dev/null")).map_err(|error| error.to_string())
    };
    (0..n_processors * BURNERS_EACH).map(burner).collect()
}

fn build(scratch: &Path) -> Result<PathBuf, String> {
    if !process::is_on_path("cc") {
        return Err("there is no C compiler (cc)".to_owned());
    }
    let (source, library) = (scratch.join("stall.c"), scratch.join("stall.so"));
    std::fs::write(&source, LIBRARY).map_err(|error| error.to_string())?;
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(&source).arg("-ldl");
    let log = scratch.join("cc.log");
    let built = process::run(&mut command, BUILT_WITHIN, &log);
    match built {
        Ok(ending) if ending.is_success() => Ok(library),
        _ => Err(format!("the library that stalls cannot be built: {}", process::tail(&log, 5))),
    }
}
