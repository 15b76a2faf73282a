//! `cargo xtask test`: every test of the repository, counted.
//!
//! First the tests of the workspace, then the quick part of `conformance/` (other people's
//! clients against the binary that was just built), of `drill` and of `sim`. What cannot run is skipped
//! aloud, with the reason; under `CI=true` a skip counts as a failure unless `conformance/skips.txt` names it.
//! The last line is `N passed, N failed, N skipped`, alone, for whoever reads logs by machine.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::conformance::{self, Selection, Tally};
use crate::process::cargo;
use crate::{Failure, drill, repository, sim};

pub(crate) const SAYS: &str =
    "Runs every test and the quick conformance cases; prints what it skips, why, and the count.";

/// Entry of the chore.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if let Some(unknown) = arguments.first() {
        return Err(Failure::Usage(format!("test takes no arguments, not {unknown:?}")));
    }
    let mut tally = workspace_tests()?;
    let clients = conformance::run_selected(&Selection::quick_after_tests());
    let unusable = match clients {
        Ok(counted) => {
            tally.add(counted);
            None
        }
        Err(failure) => Some(failure),
    };
    if unusable.is_none() {
        drill::quick(&mut tally)?;
        sim::quick(&mut tally)?;
    }
    let unlisted = tally.unlisted_skips(&conformance::listed_skips());
    tally.print();
    if let Some(failure) = unusable {
        return Err(failure);
    }
    if std::env::var("CI").is_ok_and(|ci| ci == "true") && !unlisted.is_empty() {
        return Err(Failure::NotInOrder(format!(
            "skipped without being listed in {}: {}",
            conformance::SKIPS,
            unlisted.join(", ")
        )));
    }
    if tally.n_failed > 0 {
        return Err(Failure::NotInOrder(format!("{} tests failed", tally.n_failed)));
    }
    Ok(())
}

/// Runs `cargo test` over the workspace and counts what it says.
fn workspace_tests() -> Result<Tally, Failure> {
    let mut child = cargo()
        .args(["test", "--workspace", "--no-fail-fast"])
        .current_dir(repository::root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::NotInOrder(format!("cargo test: {error}")))?;
    let out = child.stdout.take().expect("stdout was asked for as a pipe");
    let mut tally = Tally::default();
    for line in BufReader::new(out).lines().map_while(Result::ok) {
        println!("{line}");
        count(&line, &mut tally);
    }
    let status =
        child.wait().map_err(|error| Failure::NotInOrder(format!("cargo test: {error}")))?;
    if !status.success() && tally.n_failed == 0 {
        // It did not come so far as to run: a test that does not build has failed.
        tally.n_failed = 1;
    }
    Ok(tally)
}

/// Adds what one line of `cargo test` tells.
fn count(line: &str, tally: &mut Tally) {
    if let Some(name) =
        line.strip_prefix("test ").and_then(|rest| rest.split(" ... ignored").next())
        && line.contains(" ... ignored")
    {
        tally.skipped.push((name.to_owned(), "is marked as ignored".to_owned()));
    }
    let Some(result) = line.strip_prefix("test result: ") else { return };
    for part in result.split(['.', ';']) {
        let mut words = part.split_whitespace();
        let (Some(number), Some(what)) = (words.next(), words.next()) else { continue };
        let Ok(number) = number.parse::<usize>() else { continue };
        match what {
            "passed" => tally.n_passed += number,
            "failed" => tally.n_failed += number,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_cargo_test_are_added_up() {
        let mut tally = Tally::default();
        count("test a::b ... ok", &mut tally);
        count("test a::c ... ignored, slow", &mut tally);
        count(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out",
            &mut tally,
        );
        count("test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured", &mut tally);
        assert_eq!((tally.n_passed, tally.n_failed), (5, 1));
        assert_eq!(tally.skipped, [("a::c".to_owned(), "is marked as ignored".to_owned())]);
    }
}
