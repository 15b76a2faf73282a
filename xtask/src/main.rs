//! The chores of the house, in Rust, so that a fresh clone needs no second tool to check itself.
//!
//! `cargo xtask` alone lists them. A chore is one file with one entry function; it is named here,
//! in [`CHORES`], and nowhere else. A chore prints what it does, and ends with 0 (done), 1 (the
//! thing it looked at is not in order) or 2 (it was asked for something that does not exist).
//!
//! The walls of the house do not bind its tools: a chore starts processes, reads files and looks
//! at the clock. What it must not do is leave anything behind in the repository that
//! `.gitignore` does not name.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a chore speaks to a terminal")]
#![allow(clippy::disallowed_methods, reason = "a chore looks at the real clock")]

mod bench;
mod conformance;
mod drill;
mod fuzz;
mod package;
mod process;
mod release;
mod repository;
mod sim;
mod source;
mod test;
mod tidy;

use std::process::ExitCode;

/// One thing that `cargo xtask` can be asked to do.
struct Chore {
    name: &'static str,
    says: &'static str,
    run: fn(&[String]) -> Result<(), Failure>,
}

/// Why a chore did not end well, by who must act.
enum Failure {
    /// The repository or the binary under test is not in order; the text says what to do.
    NotInOrder(String),
    /// The command line asks for something that does not exist.
    Usage(String),
}

const CHORES: &[Chore] = &[
    Chore { name: "tidy", says: tidy::SAYS, run: tidy::run },
    Chore { name: "test", says: test::SAYS, run: test::run },
    Chore { name: "conformance", says: conformance::SAYS, run: conformance::run },
    Chore { name: "drill", says: drill::SAYS, run: drill::run },
    Chore { name: "sim", says: sim::SAYS, run: sim::run },
    Chore { name: "fuzz", says: fuzz::SAYS, run: fuzz::run },
    Chore { name: "bench", says: bench::SAYS, run: bench::run },
    Chore { name: "package", says: package::SAYS, run: package::run },
    Chore { name: "profile", says: bench::PROFILE_SAYS, run: bench::profile },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        print!("{}", contents());
        return ExitCode::SUCCESS;
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        print!("{}", contents());
        return ExitCode::SUCCESS;
    }
    let Some(chore) = CHORES.iter().find(|chore| chore.name == name) else {
        eprint!("There is no chore named {name:?}.\n\n{}", contents());
        return ExitCode::from(2);
    };
    match (chore.run)(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::NotInOrder(why)) => {
            eprintln!("xtask {name}: {why}");
            ExitCode::FAILURE
        }
        Err(Failure::Usage(why)) => {
            eprintln!("xtask {name}: {why}");
            ExitCode::from(2)
        }
    }
}

/// The names of all chores: what documents may speak of.
fn chore_names() -> Vec<&'static str> {
    CHORES.iter().map(|chore| chore.name).chain(["help"]).collect()
}

/// The list that `help` prints: one sentence a chore.
fn contents() -> String {
    let mut text = String::from("Chores of this repository (cargo xtask CHORE):\n\n");
    for chore in CHORES {
        text.push_str(&format!("  {:<12} {}\n", chore.name, chore.says));
    }
    text.push_str("  help         Lists the chores.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chore_is_listed_with_a_sentence() {
        let text = contents();
        for chore in CHORES {
            assert!(text.contains(chore.name), "{} is not listed", chore.name);
            assert!(chore.says.ends_with('.'), "{} has no whole sentence", chore.name);
        }
    }
}
