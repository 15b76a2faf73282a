//! `cargo xtask bench`: what a release build of muster costs, beside its peers and the floors of this
//! machine.
//!
//! Builds muster and the bench with the release profile and runs the bench (`bench/`), which starts
//! everybody, prints tables and leaves them, with plots, in `target/bench`. A missed figure is a finding
//! and no failure: on a small shared machine only people can tell a slow program from a busy neighbor.
//! What could not be measured of muster is a failure; a peer that is missing is named.

use std::process::Command;

use crate::{Failure, repository};

pub(crate) const SAYS: &str = "Measures a release build beside its peers: bench [quick|full] \
    [NAME...] [--peers NAME,...|none] [--rounds N] [--out FOLDER].";

/// Entry of the chore.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if arguments.is_empty() {
        return Err(Failure::Usage("say which bench: quick, full, or workloads by name".to_owned()));
    }
    build()?;
    measure(arguments)
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

fn cargo() -> Command {
    Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
}

/// Runs a program in the repository; an error if it does not end well.
fn end_well(command: &mut Command) -> Result<(), Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.current_dir(repository::root()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::NotInOrder(format!("{name} ended with {status}"))),
        Err(error) => Err(Failure::NotInOrder(format!("{name}: {error}"))),
    }
}
