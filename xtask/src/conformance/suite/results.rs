//! The list of what the Go suite showed: a ratchet kept in the repository.
//!
//! `conformance/consul-go-suite/results.txt` has one line a test: `pass PACKAGE TEST`, or `fail`
//! or `skip` with the reason after a colon. A test that is listed as passing and fails is a
//! regression. A test that is listed as failing and passes is good news that the list has to
//! learn (`--update`); reasons that a person wrote are kept while the test goes on failing.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::{Test, sources};
use crate::conformance::Tally;

const HEAD: &str = "\
# What Consul's own Go client suite shows of the binary: one line a test, written by
# `cargo xtask conformance consul-go-suite --update`. A test that passed may not fail again.
# Each reason is either the first complaint of the test or, better, a sentence by a person.
";

/// How one test went.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Pass,
    Fail(String),
    Skip(String),
}

impl Verdict {
    pub(super) fn is_pass(&self) -> bool {
        matches!(self, Self::Pass)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => write!(f, "passed"),
            Self::Fail(why) => write!(f, "FAILED: {why}"),
            Self::Skip(why) => write!(f, "skipped: {why}"),
        }
    }
}

/// The list, by test.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Results {
    verdicts: BTreeMap<Test, Verdict>,
}

impl Results {
    pub(super) fn read() -> Result<Self, String> {
        match std::fs::read_to_string(path()) {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(format!("{}: {error}", path().display())),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut verdicts = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let (head, why) = line.split_once(": ").unwrap_or((line, ""));
            let words: Vec<&str> = head.split(' ').collect();
            let (test, verdict) = match words[..] {
                ["pass", package, name] => ((package, name), Verdict::Pass),
                ["fail", package, name] => ((package, name), Verdict::Fail(why.to_owned())),
                ["skip", package, name] => ((package, name), Verdict::Skip(why.to_owned())),
                _ => return Err(format!("cannot read the result {line:?}")),
            };
            if !verdict.is_pass() && why.is_empty() {
                return Err(format!("a reason is missing: {line:?}"));
            }
            verdicts.insert(Test { package: test.0.to_owned(), name: test.1.to_owned() }, verdict);
        }
        Ok(Self { verdicts })
    }

    /// Whether the list has the test as passing.
    pub(super) fn passed(&self, test: &Test) -> bool {
        self.verdicts.get(test).is_some_and(Verdict::is_pass)
    }

    /// Counts what was shown: a failure counts as one unless it is listed, with its reason.
    pub(super) fn judge(&self, shown: &[(Test, Verdict)], tally: &mut Tally) {
        for (test, verdict) in shown {
            let Test { package, name } = test;
            match (verdict, self.verdicts.get(test)) {
                (Verdict::Pass, listed) => {
                    tally.n_passed += 1;
                    if !listed.is_some_and(Verdict::is_pass) {
                        println!("{package} {name} passes now: keep that with --update");
                    }
                }
                (Verdict::Fail(_), Some(Verdict::Fail(why))) => {
                    tally.skipped.push((format!("{package} {name}"), format!("fails: {why}")));
                }
                (Verdict::Skip(_), Some(Verdict::Skip(why))) => {
                    tally.skipped.push((format!("{package} {name}"), why.clone()));
                }
                (verdict, Some(_)) => {
                    tally.n_failed += 1;
                    println!("REGRESSION: {package} {name} {verdict}");
                }
                (verdict, None) => {
                    tally.n_failed += 1;
                    println!("not listed: {package} {name} {verdict}");
                }
            }
        }
    }

    /// The list after it has learned what was shown.
    pub(super) fn updated(mut self, shown: Vec<(Test, Verdict)>) -> Self {
        for (test, verdict) in shown {
            let is_known_failure = matches!(
                (&verdict, self.verdicts.get(&test)),
                (Verdict::Fail(_), Some(Verdict::Fail(_)))
            );
            if !is_known_failure {
                self.verdicts.insert(test, verdict);
            }
        }
        self
    }

    pub(super) fn write(&self) -> Result<(), String> {
        std::fs::write(path(), self.print()).map_err(|error| error.to_string())
    }

    fn print(&self) -> String {
        let mut text = HEAD.to_owned();
        for (Test { package, name }, verdict) in &self.verdicts {
            text.push_str(&match verdict {
                Verdict::Pass => format!("pass {package} {name}\n"),
                Verdict::Fail(why) => format!("fail {package} {name}: {why}\n"),
                Verdict::Skip(why) => format!("skip {package} {name}: {why}\n"),
            });
        }
        text
    }
}

fn path() -> PathBuf {
    sources().join("results.txt")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(name: &str) -> Test {
        Test { package: "api".to_owned(), name: name.to_owned() }
    }

    fn listed() -> Results {
        Results::parse("# head\npass api TestA\nfail api TestB: no mesh: yet\n").expect("is a list")
    }

    #[test]
    fn a_test_that_passed_may_not_fail_again() {
        let mut tally = Tally::default();
        let failed = || Verdict::Fail("broken".to_owned());
        listed().judge(&[(test("TestA"), failed()), (test("TestB"), failed())], &mut tally);
        assert_eq!((tally.n_failed, tally.skipped.len()), (1, 1));
    }

    #[test]
    fn a_failure_that_nobody_listed_is_a_failure() {
        let mut tally = Tally::default();
        listed().judge(&[(test("TestC"), Verdict::Fail("new".to_owned()))], &mut tally);
        assert_eq!(tally.n_failed, 1);
    }

    #[test]
    fn the_reason_that_a_person_wrote_is_kept() {
        let shown = vec![(test("TestB"), Verdict::Fail("x".to_owned()))];
        let text = listed().updated(shown).print();
        assert!(text.contains("fail api TestB: no mesh: yet\n"));
        let text = listed().updated(vec![(test("TestB"), Verdict::Pass)]).print();
        assert!(text.contains("pass api TestB\n"));
    }

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(Results::parse(&listed().print()), Ok(listed()));
        assert!(Results::parse("fail api TestA\n").is_err(), "a failure needs a reason");
    }
}
