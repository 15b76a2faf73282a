//! `cargo xtask bench quick`: what a release build of muster costs, beside the floors of this machine.
//!
//! Builds muster and the bench with the release profile and runs the bench (`bench/`), which prints
//! a table. A missed figure is a finding and no failure: on a small shared machine only people can
//! tell a slow program from a busy neighbor. What could not be measured is a failure.

use std::process::Command;

use crate::{Failure, repository};

pub(crate) const SAYS: &str = "Measures a release build beside the floors of this machine: bench quick [--json FILE] [NAME...].";

/// Entry of the chore.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if arguments.first().map(String::as_str) != Some("quick") {
        return Err(Failure::Usage("say which bench: quick".to_owned()));
    }
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let build = ["build", "--release", "-p", "muster", "-p", "muster-bench"];
    end_well(Command::new(&cargo).args(build))?;
    let bench = ["run", "--release", "--quiet", "-p", "muster-bench", "--"];
    end_well(Command::new(&cargo).args(bench).args(arguments))
}

/// Runs a program in the repository; an error if it does not end well.
fn end_well(command: &mut Command) -> Result<(), Failure> {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    let name = words.first().map(|word| word.to_string()).unwrap_or_default();
    match command.current_dir(repository::root()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::NotInOrder(format!("cargo {name} ended with {status}"))),
        Err(error) => Err(Failure::NotInOrder(format!("cargo {name}: {error}"))),
    }
}
