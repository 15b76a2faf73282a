//! Side-by-side measurements: muster beside the floors of the machine it runs on, in one run.
//!
//! The figure that counts is CPU time of the server per operation, and its ratio to a floor: a bare
//! HTTP handler that answers the same bytes, a bare UDP echo. Rates and latencies on a small shared
//! machine say more about the neighbors than about the server; CPU time per operation and its ratio
//! within one run are steady.
//!
//! A [`server::Server`] is a child process pinned to one core, the load comes from the other. A
//! workload is one file under [`workloads`] that reads like a sentence. Contestants take turns,
//! round by round, and the median round counts.
//!
//! `muster-bench quick [--muster PATH] [NAME...]` prints a table and, with `--json FILE`, writes the
//! figures. `muster-bench floor http|udp` is a floor itself, started by the bench.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench speaks to a terminal")]
#![allow(clippy::disallowed_methods, reason = "a bench measures with the real clock")]

mod floor;
mod http;
mod report;
mod server;
mod udp;
mod workloads;

use std::process::ExitCode;

/// The floors allocate as muster does, so that the ratio is the server's and not the allocator's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What can go wrong ends the bench with a sentence.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const USAGE: &str = "usage: muster-bench quick [--muster PATH] [--json FILE] [NAME...]
       muster-bench floor http BYTES | udp";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((word, rest)) if word == "floor" => floor::run(rest),
        Some((word, rest)) if word == "quick" => quick(rest),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("muster-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn quick(arguments: &[String]) -> Result<()> {
    let mut setting = workloads::Setting::default();
    let mut json = None;
    let mut names = Vec::new();
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "--muster" => setting.muster = rest.next().ok_or(USAGE)?.into(),
            "--json" => json = Some(rest.next().ok_or(USAGE)?),
            name => names.push(name.to_string()),
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    server::pin_to_core(server::LOAD_CORE);
    let mut report = report::Report::default();
    for workload in workloads::ALL {
        if names.is_empty() || names.iter().any(|name| name == workload.name) {
            eprintln!("{}: {}", workload.name, workload.says);
            match runtime.block_on((workload.run)(&setting)) {
                Ok(rows) => report.rows.extend(rows),
                Err(error) => report.failed.push((workload.name, error.to_string())),
            }
        }
    }
    print!("{}", report.table());
    if let Some(path) = json {
        std::fs::write(path, serde_json::to_string_pretty(&report)?)?;
    }
    report.verdict()
}
