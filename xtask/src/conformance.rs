//! `cargo xtask conformance`: other people's clients against the real binary.
//!
//! A case is one file in `conformance/cases/`: a shell or Python program that is given the
//! addresses of a server of its own and uses somebody else's client on it. Its first lines say
//! what it shows and what it needs installed (see [`case`]). Adding a case is adding a file.
//! Beside them stands Consul's own Go client suite ([`suite`]), which starts its servers itself.
//!
//! The binary is built here unless `--binary PATH` names one. A real Consul may be named too:
//! that is how a case is proved to ask for what Consul gives before it judges us.

mod case;
mod cluster;
pub(crate) mod launch;
mod needs;
mod suite;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::process::cargo;
use crate::{Failure, repository};

pub(crate) const SAYS: &str = "Aims other people's clients at the binary: all, `quick`, or by name (--binary, --run, --update).";

/// The list of cases that a machine may skip without failing CI, each with its reason.
pub(crate) const SKIPS: &str = "conformance/skips.txt";

/// What was counted.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) n_passed: usize,
    pub(crate) n_failed: usize,
    /// The name of each that did not run, and why.
    pub(crate) skipped: Vec<(String, String)>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.n_passed += other.n_passed;
        self.n_failed += other.n_failed;
        self.skipped.extend(other.skipped);
    }

    /// Skips that the list does not name.
    pub(crate) fn unlisted_skips(&self, listed: &BTreeMap<String, String>) -> Vec<String> {
        let names = self.skipped.iter().map(|(name, _)| name.clone());
        names.filter(|name| !listed.contains_key(name)).collect()
    }

    /// Says what was skipped, then the count, alone on the last line.
    pub(crate) fn print(&self) {
        for (name, why) in &self.skipped {
            println!("skipped: {name}: {why}");
        }
        let Self { n_passed, n_failed, skipped } = self;
        println!("{n_passed} passed, {n_failed} failed, {} skipped", skipped.len());
    }
}

/// What the command line asks for.
#[derive(Default)]
pub(crate) struct Selection {
    is_quick: bool,
    /// The tests of the workspace were just built.
    follows_tests: bool,
    names: Vec<String>,
    binary: Option<PathBuf>,
    /// Of the Go suite, only tests whose names match this.
    only: Option<String>,
    /// Write what the Go suite showed into its list of results.
    updates: bool,
}

impl Selection {
    /// The quick cases, after the tests of the workspace.
    pub(crate) fn quick_after_tests() -> Self {
        Self { is_quick: true, follows_tests: true, ..Self::default() }
    }

    fn parse(arguments: &[String]) -> Result<Self, Failure> {
        let mut selection = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || {
                let missing = || Failure::Usage(format!("{argument} needs a value"));
                rest.next().cloned().ok_or_else(missing)
            };
            match argument.as_str() {
                "quick" => selection.is_quick = true,
                "--binary" => selection.binary = Some(PathBuf::from(value()?)),
                "--run" => selection.only = Some(value()?),
                "--update" => selection.updates = true,
                flag if flag.starts_with('-') => {
                    let says = format!("unknown flag {flag}; there are --binary --run --update");
                    return Err(Failure::Usage(says));
                }
                name => selection.names.push(name.to_owned()),
            }
        }
        Ok(selection)
    }

    fn takes(&self, name: &str, is_quick: bool) -> bool {
        match (self.names.is_empty(), self.is_quick) {
            (false, _) => self.names.iter().any(|wanted| wanted == name),
            (true, true) => is_quick,
            (true, false) => true,
        }
    }
}

/// Entry of the chore.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let tally = run_selected(&Selection::parse(arguments)?)?;
    tally.print();
    match tally.n_failed {
        0 => Ok(()),
        n_failed => Err(Failure::NotInOrder(format!("{n_failed} cases failed"))),
    }
}

/// Runs what was selected and counts it.
pub(crate) fn run_selected(selection: &Selection) -> Result<Tally, Failure> {
    let cases = case::all()?;
    let names: Vec<&str> =
        cases.iter().map(|case| case.name.as_str()).chain([suite::NAME]).collect();
    if let Some(unknown) = selection.names.iter().find(|name| !names.contains(&name.as_str())) {
        let says = format!("no case is named {unknown:?}; there are: {}", names.join(", "));
        return Err(Failure::Usage(says));
    }
    let binary = match &selection.binary {
        Some(path) => path
            .canonicalize()
            .map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?,
        None => build(selection.follows_tests)?,
    };
    let mut tally = Tally::default();
    for case in cases.iter().filter(|case| selection.takes(&case.name, case.is_quick)) {
        case::run(case, &binary, &mut tally);
    }
    if selection.takes(suite::NAME, false) {
        tally.add(suite::run(&binary, selection.only.as_deref(), selection.updates)?);
    }
    Ok(tally)
}

/// Builds the binary. Cargo unites the features that all selected targets ask of a library, so
/// after the tests it is built together with them: alone it would build most libraries anew.
pub(crate) fn build(with_tests: bool) -> Result<PathBuf, Failure> {
    let selected: &[&str] =
        if with_tests { &["--workspace", "--tests"] } else { &["--package", "muster"] };
    let root = repository::root();
    let status = cargo()
        .args(["build", "--bin", "muster"])
        .args(selected)
        .current_dir(&root)
        .status()
        .map_err(|error| Failure::NotInOrder(format!("cargo build: {error}")))?;
    if !status.success() {
        return Err(Failure::NotInOrder("the binary does not build".to_owned()));
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    Ok(target.join("debug/muster"))
}

/// The skips that the repository agrees to: `name: reason` a line.
pub(crate) fn listed_skips() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(repository::root().join(SKIPS)).unwrap_or_default();
    parse_skips(&text)
}

fn parse_skips(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(": "))
        .map(|(name, why)| (name.trim().to_owned(), why.trim().to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_without_a_reason_is_not_listed() {
        let listed = parse_skips("# why\nhaproxy: not on this system\ndns\n");
        assert_eq!(listed.len(), 1);
        let skip = |name: &str| (name.to_owned(), "no reason".to_owned());
        let tally = Tally { skipped: vec![skip("haproxy"), skip("dns")], ..Tally::default() };
        assert_eq!(tally.unlisted_skips(&listed), ["dns"]);
    }

    #[test]
    fn names_select_whether_quick_or_not() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let by_name = Selection::parse(&words("tour --run Agent")).ok().expect("is a selection");
        assert!(by_name.takes("tour", false) && !by_name.takes("dns", true));
        let quick = Selection::quick_after_tests();
        assert!(quick.takes("dns", true) && !quick.takes("dns", false));
        assert!(Selection::parse(&words("--what")).is_err());
        assert!(Selection::parse(&words("--binary")).is_err());
    }
}
