//! `cargo xtask sim`: many simulated runs, each from one seed.
//!
//! The seeds are handed out in chunks to one process per core: a simulation runs in one thread. What
//! is done is noted in `target/sim-notes`, so that a long sweep can be stopped and resumed. A run that
//! goes wrong prints its story and the one command that replays it. With `--plants` the servers seem
//! to make known mistakes, and a mistake that no seed shows is what goes wrong.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::conformance::Tally;
use crate::process::cargo;
use crate::{Failure, repository};

pub(crate) const SAYS: &str = "Simulates servers under faults: --seeds N --from S --time T --servers N --jobs J --resume --twice --plants, or --seed S.";

/// What `cargo xtask test` simulates: its name, the seeds, and how.
const QUICK: &[(&str, u64, &[&str])] = &[
    ("a server alone keeps its promises", 100, &["--servers", "1"]),
    ("three servers keep their promises", 200, &["--servers", "3"]),
    ("five servers keep their promises", 20, &["--servers", "5"]),
    ("a seed gives the same trace again", 8, &["--servers", "3", "--twice"]),
    ("planted mistakes are found", PLANT_SEEDS, &["--servers", "3", "--plants"]),
];
/// Seeds after which a planted mistake counts as hidden.
const PLANT_SEEDS: u64 = 60;

/// Seeds of one chunk.
const CHUNK: u64 = 10;
/// How long a chunk may take before it counts as hanging, a hundred times as long as any does: code
/// that never yields holds the one thread of its simulation.
const CHUNK_TIME_MAX: Duration = Duration::from_secs(1_200);
/// How often running processes are looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// What is asked for.
struct Wish {
    from: u64,
    n_seeds: u64,
    n_jobs: usize,
    resumes: bool,
    /// What is passed on as it is.
    passed: Vec<String>,
}

impl Wish {
    /// Seeds that one process does: all where it looks for one that shows a mistake.
    fn chunk(&self) -> u64 {
        let are_plants = self.passed.iter().any(|flag| flag == "--plants");
        if are_plants { self.n_seeds.max(1) } else { CHUNK }
    }
}

/// Entry of the chore.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let binary = build()?;
    if arguments.iter().any(|argument| argument == "--seed") {
        let status = Command::new(&binary).args(arguments).status();
        let status = status.map_err(|error| Failure::NotInOrder(format!("sim: {error}")))?;
        return if status.success() { Ok(()) } else { Err(wrong(1)) };
    }
    sweep(&parse(arguments)?, &binary)
}

/// Some hundred runs, for `cargo xtask test`. Each kind of them counts as one test.
pub(crate) fn quick(tally: &mut Tally) -> Result<(), Failure> {
    let binary = build()?;
    for (name, n_seeds, passed) in QUICK {
        let mut wish = parse(&[])?;
        wish.n_seeds = *n_seeds;
        wish.passed = passed.iter().map(|flag| (*flag).to_owned()).collect();
        println!("sim: {name}, {n_seeds} seeds");
        match sweep(&wish, &binary) {
            Ok(()) => tally.n_passed += 1,
            Err(_told) => tally.n_failed += 1,
        }
    }
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Wish, Failure> {
    let n_jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut wish = Wish { from: 0, n_seeds: 200, n_jobs, resumes: false, passed: Vec::new() };
    let mut rest = arguments.iter();
    while let Some(flag) = rest.next() {
        if flag == "--resume" {
            wish.resumes = true;
            continue;
        }
        if flag == "--twice" || flag == "--plants" {
            wish.passed.push(flag.clone());
            continue;
        }
        let value = rest.next().ok_or_else(|| Failure::Usage(format!("{flag} needs a value")))?;
        let number = || value.parse().map_err(|_| Failure::Usage(format!("{flag} needs a number")));
        match flag.as_str() {
            "--seeds" => wish.n_seeds = number()?,
            "--from" => wish.from = number()?,
            "--jobs" => wish.n_jobs = usize::try_from(number()?).unwrap_or(1).max(1),
            "--time" | "--servers" => wish.passed.extend([flag.clone(), value.clone()]),
            _ => return Err(Failure::Usage(format!("unknown flag {flag}"))),
        }
    }
    Ok(wish)
}

/// Builds the program that simulates, optimized: it has to do thousands of minutes.
fn build() -> Result<PathBuf, Failure> {
    let status = cargo()
        .args(["build", "--quiet", "--profile", "sim", "-p", "muster-sim"])
        .current_dir(repository::root())
        .status();
    match status {
        Ok(status) if status.success() => Ok(repository::root().join("target/sim/muster-sim")),
        Ok(status) => Err(Failure::NotInOrder(format!("cargo build ended with {status}"))),
        Err(error) => Err(Failure::NotInOrder(format!("cargo build: {error}"))),
    }
}

fn sweep(wish: &Wish, binary: &Path) -> Result<(), Failure> {
    let notes = notes_of(wish);
    let done = if wish.resumes { read_notes(&notes) } else { BTreeSet::new() };
    let mut waiting: VecDeque<u64> = (wish.from..wish.from.saturating_add(wish.n_seeds))
        .step_by(wish.chunk() as usize)
        .filter(|first| !done.contains(first))
        .collect();
    let last = wish.from.saturating_add(wish.n_seeds);
    let chunk = wish.chunk();
    println!("sim: {} chunks of at most {chunk} seeds, {} at a time", waiting.len(), wish.n_jobs);
    let began = Instant::now();
    let mut running: Vec<Chunk> = Vec::new();
    let mut n_wrong = 0;
    while !waiting.is_empty() || !running.is_empty() {
        while running.len() < wish.n_jobs
            && let Some(first) = waiting.pop_front()
        {
            let n_seeds = chunk.min(last - first);
            running.push(Chunk::start(binary, wish, first, n_seeds)?);
        }
        std::thread::sleep(GLANCE);
        n_wrong += reap(&mut running, &notes)?;
    }
    println!("sim: {} seeds in {:.0} s", wish.n_seeds, began.elapsed().as_secs_f64());
    if n_wrong > 0 { Err(wrong(n_wrong)) } else { Ok(()) }
}

/// Seeds that one process does.
struct Chunk {
    first: u64,
    child: Child,
    began: Instant,
}

impl Chunk {
    fn start(binary: &Path, wish: &Wish, first: u64, n_seeds: u64) -> Result<Chunk, Failure> {
        let (from, seeds) = (first.to_string(), n_seeds.to_string());
        let started = Command::new(binary)
            .args(["--from", &from, "--seeds", &seeds])
            .args(&wish.passed)
            .current_dir(repository::root())
            .spawn();
        let child = started.map_err(|error| Failure::NotInOrder(format!("sim: {error}")))?;
        Ok(Chunk { first, child, began: Instant::now() })
    }

    /// Ends it where it hangs.
    fn end_if_hanging(&mut self) -> std::io::Result<()> {
        if self.began.elapsed() < CHUNK_TIME_MAX {
            return Ok(());
        }
        println!("sim: one of the seeds from {} does not come to an end", self.first);
        self.child.kill()
    }
}

/// Takes note of the processes that have ended; how many ended badly.
fn reap(running: &mut Vec<Chunk>, notes: &Path) -> Result<usize, Failure> {
    let failed = |error| Failure::NotInOrder(format!("sim: {error}"));
    let mut n_wrong = 0;
    let mut still_running = Vec::new();
    for mut chunk in running.drain(..) {
        match chunk.child.try_wait().map_err(failed)? {
            None => {
                chunk.end_if_hanging().map_err(failed)?;
                still_running.push(chunk);
            }
            Some(status) if status.success() => note(notes, chunk.first)?,
            Some(_) => n_wrong += 1,
        }
    }
    *running = still_running;
    Ok(n_wrong)
}

fn wrong(n_wrong: usize) -> Failure {
    Failure::NotInOrder(format!("{n_wrong} chunks with runs that went wrong; see above"))
}

/// Where it is noted which chunks of runs like these are done.
fn notes_of(wish: &Wish) -> PathBuf {
    let kind = wish.passed.join("").replace("--", "-");
    repository::root().join(format!("target/sim-notes/done{kind}.txt"))
}

fn read_notes(notes: &Path) -> BTreeSet<u64> {
    let text = fs::read_to_string(notes).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn note(notes: &Path, first: u64) -> Result<(), Failure> {
    let write = || {
        fs::create_dir_all(notes.parent().unwrap_or(Path::new(".")))?;
        let mut file = fs::OpenOptions::new().append(true).create(true).open(notes)?;
        writeln!(file, "{first}")
    };
    write().map_err(|error| Failure::NotInOrder(format!("{}: {error}", notes.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_a_run_are_passed_on_and_those_of_the_sweep_are_not() {
        let arguments = "--seeds 7 --from 3 --servers 3 --jobs 1 --resume --time 90";
        let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
        let Ok(wish) = parse(&arguments) else { panic!("it is well-formed") };
        assert_eq!((wish.from, wish.n_seeds, wish.n_jobs, wish.resumes), (3, 7, 1, true));
        assert_eq!(wish.passed, ["--servers", "3", "--time", "90"]);
        assert!(notes_of(&wish).ends_with("target/sim-notes/done-servers3-time90.txt"));
        assert!(parse(&["--seeds".to_owned()]).is_err());
    }
}
