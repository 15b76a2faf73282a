//! `cargo xtask bench`: what a release build of muster costs, beside its peers and the floors of
//! this machine.
//!
//! Builds muster and the bench with the release profile and runs the bench (`bench/`), which starts
//! everybody, prints tables and leaves them, with plots, in `target/bench`. A missed figure is a
//! finding and no failure: on a small shared machine only people can tell a slow program from a
//! busy neighbor. What could not be measured of muster is a failure; a peer that is missing is
//! named.
//!
//! `bench guard` holds the binary against that of the last commit, built in `target/guard`, and
//! fails on what became more than a tenth dearer. `cargo xtask profile NAME` draws a flamegraph of
//! each work of a workload, and says how much of it each part of the house takes.

use std::path::PathBuf;
use std::process::Command;

use crate::process::{self, cargo, end_well, said};
use crate::release::{self, Release};
use crate::{Failure, repository};

pub(crate) const SAYS: &str = "Measures a release build beside its peers: bench [quick|full] \
    [NAME...] [--peers NAME,...|all|none] [--rounds N] [--out FOLDER] [--guided]; bench guard: beside the last commit.";
pub(crate) const PROFILE_SAYS: &str =
    "Draws a flamegraph of muster for each work of workloads, and sums them up: profile NAME...";

/// The word for a build that a profile guides. The bench takes it as well, to tell of it.
const GUIDED: &str = "--guided";

/// Entry of the chore.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if arguments.is_empty() {
        return Err(Failure::Usage(
            "say which bench: quick, full, or workloads by name".to_owned(),
        ));
    }
    let is_guard = arguments.first().is_some_and(|word| word == "guard");
    if arguments.iter().any(|word| word == GUIDED) {
        if is_guard {
            return Err(Failure::Usage("guard compares plain builds: without --guided".to_owned()));
        }
        release::build_bench()?;
        let muster = release::build(Release { is_guided: true, is_static: false })?;
        let mut words = arguments.to_vec();
        words.extend(["--muster".to_owned(), muster.display().to_string()]);
        return measure(&words);
    }
    build()?;
    if !is_guard {
        return measure(arguments);
    }
    let before = build_before()?.display().to_string();
    let mut words = vec!["guard".to_owned(), "--before".to_owned(), before];
    words.extend_from_slice(&arguments[1..]);
    measure(&words)
}

/// Entry of the chore that profiles.
pub(crate) fn profile(arguments: &[String]) -> Result<(), Failure> {
    if arguments.is_empty() {
        return Err(Failure::Usage("say which workload".to_owned()));
    }
    if !process::is_on_path("perf") {
        let needed = "perf is not installed; as root: apt-get install linux-perf";
        return Err(Failure::NotInOrder(needed.to_owned()));
    }
    build()?;
    let mut words = vec!["profile".to_owned()];
    words.extend_from_slice(arguments);
    measure(&words)
}

/// Builds muster of the last commit: the one that the work tree's changes are based on, or, where
/// there are none, the one before.
fn build_before() -> Result<PathBuf, Failure> {
    let guard = repository::root().join("target/guard");
    let (source, built) = (guard.join("source"), guard.join("target"));
    let has_changes = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    let before = git(&["rev-parse", if has_changes { "HEAD" } else { "HEAD^" }])?;
    let path = source.display().to_string();
    if source.join("Cargo.toml").is_file() {
        end_well(
            Command::new("git").args(["-C", &path, "checkout", "--quiet", "--detach", &before]),
        )?;
    } else {
        // A folder that somebody removed is still on git's list.
        end_well(Command::new("git").args(["worktree", "prune"]))?;
        end_well(
            Command::new("git").args(["worktree", "add", "--quiet", "--detach", &path, &before]),
        )?;
    }
    let manifest = source.join("Cargo.toml");
    let build = ["build", "--release", "-p", "muster", "--manifest-path"];
    end_well(cargo().args(build).arg(manifest).env("CARGO_TARGET_DIR", &built))?;
    Ok(built.join("release/muster"))
}

/// What git says.
fn git(words: &[&str]) -> Result<String, Failure> {
    said(Command::new("git").args(words))
}

/// Builds muster and the bench.
fn build() -> Result<(), Failure> {
    end_well(cargo().args(["build", "--release", "-p", "muster", "-p", "muster-bench"]))
}

/// Runs the bench that was built.
fn measure(arguments: &[String]) -> Result<(), Failure> {
    let bench = repository::root().join("target/release/muster-bench");
    end_well(Command::new(bench).args(arguments))
}
