//! Side-by-side measurements: muster, what people use instead, and the floors of the machine, in
//! one run.
//!
//! The figure that counts is CPU time of the servers per operation: rates and latencies on a small
//! shared machine say more about the neighbors than about the server, while CPU time and its ratio
//! to others of the same run are steady. Rates, latencies, bytes and syncs are told beside it.
//!
//! A [`contestant::Contestant`] says how its servers start and how a deed is spoken to them: one
//! file under [`contestants`]. Its servers ([`cluster`]) are child processes pinned to one core
//! ([`process`]); the [`load`] comes from the other. A workload is one file under [`workloads`]
//! that reads like a sentence; the [`field`] of contestants takes turns, round by round, after a
//! round that does not count. The [`report`] has medians and spread.
//!
//! `cargo xtask bench` builds all of it and runs this program.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench speaks to a terminal")]
#![allow(clippy::disallowed_methods, reason = "a bench measures with the real clock")]

mod bench;
mod cluster;
mod contestant;
mod contestants;
mod dns;
mod field;
mod figures;
mod guard;
mod http;
mod install;
mod load;
mod plot;
mod process;
mod profile;
mod report;
mod shares;
mod speed;
mod syncs;
mod tcp;
mod together;

mod versions;
mod workloads;
mod written;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::bench::{Bench, Size};
use crate::speed::Speedometer;

/// The floors allocate as muster does, so that the ratio is the server's and not the allocator's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A sentence for people.
type Error = Box<dyn std::error::Error + Send + Sync>;
/// What can go wrong ends the bench, or a contestant's part in it, with a sentence.
type Result<T> = std::result::Result<T, Error>;

const USAGE: &str = "usage: muster-bench [quick|full] [NAME...] [--peers NAME,...|all|none]
           [--rounds N] [--muster PATH] [--out FOLDER]
       muster-bench guard --before PATH [NAME...]
       muster-bench profile NAME...
       muster-bench floor http|udp READY_FILE";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((word, rest)) if word == "floor" => contestants::floor::run(rest),
        _ => Options::parse(&arguments).and_then(measure),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("muster-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What the command line asks for.
struct Options {
    task: Task,
    size: Size,
    workloads: Vec<String>,
    peers: Option<Vec<String>>,
    n_rounds: Option<usize>,
    muster: PathBuf,
    before: Option<PathBuf>,
    out: PathBuf,
}

/// What it is done for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Task {
    Measure,
    Guard,
    Profile,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Options> {
        let mut options = Options {
            task: Task::Measure,
            size: Size::Quick,
            workloads: Vec::new(),
            peers: None,
            n_rounds: None,
            muster: "target/release/muster".into(),
            before: None,
            out: "target/bench".into(),
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} what?\n{USAGE}"));
            match word.as_str() {
                "quick" => options.size = Size::Quick,
                "full" => options.size = Size::Full,
                "guard" => options.task = Task::Guard,
                "profile" => options.task = Task::Profile,
                "--peers" => {
                    options.peers = Some(value()?.split(',').map(String::from).collect());
                }
                "--rounds" => options.n_rounds = Some(value()?.parse()?),
                "--muster" => options.muster = value()?.into(),
                "--before" => options.before = Some(value()?.into()),
                "--out" => options.out = value()?.into(),
                // Said of muster, for whoever reads the command in the report.
                "--guided" => {}
                name => options.workloads.push(known(name)?),
            }
        }
        options.muster = std::path::absolute(&options.muster)?;
        Ok(options)
    }

    /// Whether a workload is asked for.
    fn wants(&self, workload: &workloads::Workload) -> bool {
        match (self.workloads.is_empty(), self.task) {
            (false, _) => self.workloads.iter().any(|name| name == workload.name),
            (true, Task::Guard) => guard::WORKLOADS.contains(&workload.name),
            (true, _) => self.size == Size::Full || workload.is_quick,
        }
    }

    /// A run with the contestants that the task is about.
    fn bench(&self) -> Result<Bench> {
        let muster = self.muster.clone();
        let none = [String::from("none")];
        let mut bench = match self.task {
            Task::Measure => Bench::with_peers(muster, self.peers.as_deref(), self.size)?,
            Task::Guard => {
                let before = self.before.as_ref().ok_or("guard --before which binary?")?;
                Bench::new(contestants::twins(muster, std::path::absolute(before)?), self.size)
            }
            Task::Profile if self.workloads.is_empty() => return Err("profile which?".into()),
            Task::Profile => Bench::with_peers(muster, Some(&none), self.size)?,
        };
        if self.task == Task::Guard {
            (bench.n_rounds, bench.counts_syncs) = (guard::ROUNDS, false);
            bench.round_max = crate::bench::ROUND_MAX;
        }
        if self.task == Task::Profile {
            (bench.n_rounds, bench.counts_syncs) = (1, false);
        }
        bench.profiles_into =
            (self.task == Task::Profile).then(|| std::path::absolute(&self.out)).transpose()?;
        bench.n_rounds = self.n_rounds.unwrap_or(bench.n_rounds);
        Ok(bench)
    }
}

/// The name of a workload, if there is one of that name.
fn known(name: &str) -> Result<String> {
    if workloads::ALL.iter().any(|workload| workload.name == name) {
        return Ok(name.into());
    }
    let names: Vec<_> = workloads::ALL.iter().map(|workload| workload.name).collect();
    Err(format!("no workload {name:?}; there are {}\n{USAGE}", names.join(", ")).into())
}

/// Runs the workloads that are asked for, and reports.
fn measure(options: Options) -> Result<()> {
    let mut bench = options.bench()?;
    process::pin_to_core(process::LOAD_CORE);
    process::allow_open_files()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut speedometer = runtime.block_on(Speedometer::start(&bench))?;
    for workload in workloads::ALL.iter().filter(|workload| options.wants(workload)) {
        runtime.block_on(async {
            tokio::select! {
                done = run(workload, &mut bench, speedometer.as_mut()) => done,
                // Servers end, and their folders go, with the workload that is dropped here.
                _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
            }
        })?;
        // What stands stands, whatever comes next.
        bench.report.write(&options.out)?;
    }
    print!("{}", bench.report.markdown());
    eprintln!("also in {}", options.out.display());
    match options.task {
        Task::Guard => guard::verdict(&bench.report),
        Task::Measure | Task::Profile => bench.report.verdict(),
    }
}

/// One workload, and how slow the machine was meanwhile.
async fn run(
    workload: &workloads::Workload,
    bench: &mut Bench,
    speedometer: Option<&mut Speedometer>,
) -> Result<()> {
    let n_before = bench.report.rows.len();
    workload.run(bench).await?;
    if let Some(speedometer) = speedometer {
        speedometer.judge(workload.name, &mut bench.report.rows[n_before..]).await?;
        bench.report.goals = Some(speedometer.says());
    }
    Ok(())
}
