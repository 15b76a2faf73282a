//! Consul's own Go client suite: 251 tests that start the binary under test as `consul`.
//!
//! The suite is compiled from the published module that `conformance/consul-go-suite/go.mod`
//! pins; nothing of it is in this repository. Some tests read certificates from `../test`, a
//! folder that only Consul's main module has, so both are laid out in the cache as they lie in the
//! original repository: `api/` and `test/` side by side.
//!
//! Each test is run alone: a process group, a folder for temporary files and a time limit of its
//! own, so that an endless blocking query costs one test. `consul` is a link to the binary under
//! test, first on the path. What passed before may not fail again: see [`results`].

mod results;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;

use self::results::{Results, Verdict};
use super::Tally;
use crate::process::{self, Ending};
use crate::{Failure, repository};

pub(super) const NAME: &str = "consul-go-suite";

/// The two packages that hold tests, under their short names.
const PACKAGES: &[(&str, &str)] = &[
    ("api", "github.com/hashicorp/consul/api"),
    ("watch", "github.com/hashicorp/consul/api/watch"),
];
/// The module whose folder `test` has the certificates: the release that the client belongs to.
const CERTIFICATES: &str = "github.com/hashicorp/consul@v1.22.6";

const COMPILE_WITHIN: Duration = Duration::from_secs(1200);
/// The slowest test takes 20 s with real Consul.
const TEST_WITHIN: Duration = Duration::from_secs(90);
/// Tests at a time: the suite mostly waits.
const WORKERS: usize = 3;

/// Runs the suite, compares it with the list of results, and writes the list if asked to.
pub(super) fn run(binary: &Path, only: Option<&str>, updates: bool) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    if !process::is_on_path("go") {
        tally.skipped.push((NAME.to_owned(), "go is not installed".to_owned()));
        return Ok(tally);
    }
    let bench = Bench::lay_out(binary).map_err(Failure::NotInOrder)?;
    let tests = bench.tests(only).map_err(Failure::NotInOrder)?;
    println!("{NAME}: {} tests, {WORKERS} at a time", tests.len());
    let listed = Results::read().map_err(Failure::NotInOrder)?;
    let shown = bench.run_all(&tests, &listed);
    listed.judge(&shown, &mut tally);
    if updates {
        listed.updated(shown).write().map_err(Failure::NotInOrder)?;
    }
    Ok(tally)
}

/// A test of the suite: the short name of its package, and its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Test {
    package: String,
    name: String,
}

/// The suite laid out in the cache, compiled.
struct Bench {
    home: PathBuf,
}

impl Bench {
    fn lay_out(binary: &Path) -> Result<Self, String> {
        let home = repository::cache().join(NAME);
        let bench = Self { home };
        std::fs::create_dir_all(bench.home.join("logs")).map_err(|error| error.to_string())?;
        bench.copy_module("github.com/hashicorp/consul/api", "", "api")?;
        bench.copy_module(CERTIFICATES, "test", "test")?;
        for (short, package) in PACKAGES {
            println!("{NAME}: compiling {package}");
            let mut compile = Command::new("go");
            compile.args(["test", "-c", "-o"]).arg(bench.test_binary(short)).arg(package);
            bench.must(compile.current_dir(sources()), &format!("compile-{short}"))?;
        }
        bench.link(binary)?;
        Ok(bench)
    }

    /// Copies a folder of a module into the layout, once; the module cache itself is read-only.
    fn copy_module(&self, module: &str, folder: &str, into: &str) -> Result<(), String> {
        let target = self.home.join(into);
        if target.exists() {
            return Ok(());
        }
        let asked = Command::new("go")
            .args(["mod", "download", "-json", module])
            .current_dir(sources())
            .output()
            .map_err(|error| error.to_string())?;
        let told: Value = serde_json::from_slice(&asked.stdout)
            .map_err(|error| format!("go mod download {module}: {error}"))?;
        let Some(from) = told["Dir"].as_str() else {
            return Err(format!("go mod download {module}: {}", told["Error"]));
        };
        let mut copy = Command::new("cp");
        copy.args(["-r", "--no-preserve=mode"]).arg(Path::new(from).join(folder)).arg(&target);
        self.must(&mut copy, &format!("copy-{into}"))
    }

    fn must(&self, command: &mut Command, name: &str) -> Result<(), String> {
        let log = self.home.join("logs").join(format!("{name}.log"));
        match process::run(command, COMPILE_WITHIN, &log) {
            Ok(ending) if ending.is_success() => Ok(()),
            Ok(_) => Err(format!("{name} failed:\n{}", process::tail(&log, 20))),
            Err(error) => Err(format!("{name}: {error}")),
        }
    }

    /// Makes `bin/consul` the binary under test.
    fn link(&self, binary: &Path) -> Result<(), String> {
        let bin = self.home.join("bin");
        std::fs::create_dir_all(&bin).map_err(|error| error.to_string())?;
        let link = bin.join("consul");
        if link.symlink_metadata().is_ok() {
            std::fs::remove_file(&link).map_err(|error| error.to_string())?;
        }
        std::os::unix::fs::symlink(binary, &link).map_err(|error| error.to_string())
    }

    fn test_binary(&self, package: &str) -> PathBuf {
        self.home.join(format!("{package}.test"))
    }

    /// The folder that the tests of a package take for their own.
    fn folder(&self, package: &str) -> PathBuf {
        let api = self.home.join("api");
        if package == "api" { api } else { api.join(package) }
    }

    /// The tests whose names match `only`, a regular expression of Go.
    fn tests(&self, only: Option<&str>) -> Result<Vec<Test>, String> {
        let mut tests = Vec::new();
        for (package, _) in PACKAGES {
            let listed = Command::new(self.test_binary(package))
                .args(["-test.list", only.unwrap_or(".")])
                .current_dir(self.folder(package))
                .output()
                .map_err(|error| error.to_string())?;
            for name in String::from_utf8_lossy(&listed.stdout).lines() {
                if name.starts_with("Test") && !name.contains(char::is_whitespace) {
                    tests.push(Test { package: (*package).to_owned(), name: name.to_owned() });
                }
            }
        }
        Ok(tests)
    }

    /// Runs the tests, some at a time. One that passed before gets a second try.
    fn run_all(&self, tests: &[Test], listed: &Results) -> Vec<(Test, Verdict)> {
        let waiting = Mutex::new(tests.iter());
        let shown = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    loop {
                        let next = waiting.lock().expect("no worker panics").next();
                        let Some(test) = next else { break };
                        let mut verdict = self.run_one(test);
                        if !verdict.is_pass() && listed.passed(test) {
                            println!("{} {} failed, trying again", test.package, test.name);
                            verdict = self.run_one(test);
                        }
                        println!("{} {} {verdict}", test.package, test.name);
                        shown.lock().expect("no worker panics").push((test.clone(), verdict));
                    }
                });
            }
        });
        let mut shown = shown.into_inner().expect("no worker panics");
        shown.sort();
        shown
    }

    fn run_one(&self, test: &Test) -> Verdict {
        let log = self.home.join("logs").join(format!("{}-{}.log", test.package, test.name));
        // Short, because a unix socket in it has to fit into 108 bytes.
        let temporary = std::env::temp_dir().join(format!("mt{}", std::process::id()));
        let temporary = temporary.join(&test.name);
        if let Err(error) = std::fs::create_dir_all(&temporary) {
            return Verdict::Fail(error.to_string());
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(self.test_binary(&test.package));
        command
            .args(["-test.v", "-test.count=1", "-test.run", &format!("^{}$", test.name)])
            .current_dir(self.folder(&test.package))
            .env("PATH", format!("{}:{path}", self.home.join("bin").display()))
            .env("TMPDIR", &temporary)
            .env_remove("TEST_SAVE_SNAPSHOT");
        let ending = process::run(&mut command, TEST_WITHIN, &log);
        let bytes = std::fs::read(&log).unwrap_or_default();
        let _servers_may_still_write = std::fs::remove_dir_all(&temporary);
        match ending {
            Ok(ending) => verdict(&ending, &test.name, &String::from_utf8_lossy(&bytes)),
            Err(error) => Verdict::Fail(error.to_string()),
        }
    }
}

/// What the end of a test and its words come to.
fn verdict(ending: &Ending, name: &str, log: &str) -> Verdict {
    if matches!(ending, Ending::TimedOut) {
        return Verdict::Fail(format!("no end within {} s", TEST_WITHIN.as_secs()));
    }
    if log.contains(&format!("--- SKIP: {name} ")) {
        return Verdict::Skip("the suite skips it".to_owned());
    }
    if ending.is_success() && log.contains(&format!("--- PASS: {name} ")) {
        return Verdict::Pass;
    }
    Verdict::Fail(first_complaint(log))
}

/// The first line in which the test says what is wrong.
fn first_complaint(log: &str) -> String {
    let lines = || log.lines().map(str::trim).filter(|line| !line.is_empty());
    let found = lines()
        .find(|line| line.starts_with("panic:") || line.starts_with("Error:"))
        .or_else(|| {
            lines().find(|line| line.contains("_test.go:") && !line.contains("CONFIG JSON"))
        })
        .unwrap_or("no words");
    let words: Vec<&str> = found.split_whitespace().collect();
    words.join(" ").chars().take(160).collect()
}

/// The folder of the Go module that pins the suite.
fn sources() -> PathBuf {
    repository::root().join("conformance").join(NAME)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    fn ended(code: i32) -> Ending {
        Ending::Exited(ExitStatus::from_raw(code << 8))
    }

    #[test]
    fn a_test_passes_only_if_it_says_so() {
        let passed = "=== RUN   TestA\n--- PASS: TestA (0.10s)\nPASS\n";
        assert_eq!(verdict(&ended(0), "TestA", passed), Verdict::Pass);
        assert!(!verdict(&ended(0), "TestA", "PASS\n").is_pass(), "nothing was run");
        assert!(!verdict(&ended(2), "TestA", passed).is_pass(), "it ended badly later");
        assert!(!verdict(&Ending::TimedOut, "TestA", passed).is_pass());
    }

    #[test]
    fn the_first_complaint_is_the_reason() {
        let log =
            "=== RUN   TestA\n    server.go:1: CONFIG JSON\n    kv_test.go:12: unexpected  value\n";
        assert_eq!(first_complaint(log), "kv_test.go:12: unexpected value");
        let log = "    Error Trace: x_test.go:3\n    Error:      Not equal\n";
        assert_eq!(first_complaint(log), "Error: Not equal");
    }
}
