//! A case: one file in `conformance/cases/` that uses somebody else's client.
//!
//! The header of the file, its first comment lines, is all that the runner knows of it:
//!
//! ```text
//! #!/usr/bin/env bash
//! # What the case shows, in one sentence.
//! # quick                      (also run by `cargo xtask test`)
//! # needs: debian haproxy haproxy
//! ```
//!
//! The case is run in an empty folder, with the address of a fresh server in `MUSTER_HTTP`,
//! `MUSTER_DNS` and `MUSTER_EUREKA` (each `127.0.0.1:PORT`), the binary in `MUSTER_BINARY`, the folder of all cases in
//! `CASES`, and a folder that outlives it in `CASE_CACHE`. It passes if it ends with 0.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::Tally;
use super::launch::Server;
use super::needs::{self, Need};
use crate::{Failure, process, repository};

/// A case may compile somebody else's program the first time.
const CASE_WITHIN: Duration = Duration::from_secs(600);

/// A case as its header describes it.
pub(super) struct Case {
    /// The name of the file without its ending.
    pub(super) name: String,
    pub(super) is_quick: bool,
    says: String,
    needs: Vec<Need>,
    file: PathBuf,
}

/// Every case of the repository, by name.
pub(super) fn all() -> Result<Vec<Case>, Failure> {
    let folder = cases();
    let unreadable =
        |error| Failure::NotInOrder(format!("{} cannot be read: {error}", folder.display()));
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        if needs::interpreter(&file).is_none() {
            continue;
        }
        let text = std::fs::read_to_string(&file).map_err(unreadable)?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (says, is_quick, needs) = parse(&text)
            .map_err(|why| Failure::NotInOrder(format!("{}: {why}", file.display())))?;
        cases.push(Case { name, is_quick, says, needs, file });
    }
    cases.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(cases)
}

fn cases() -> PathBuf {
    repository::root().join("conformance/cases")
}

fn parse(text: &str) -> Result<(String, bool, Vec<Need>), String> {
    let header = text.lines().skip_while(|line| line.starts_with("#!"));
    let (mut says, mut is_quick, mut needs) = (String::new(), false, Vec::new());
    for line in header.map_while(|line| line.strip_prefix('#')).map(str::trim) {
        if let Some(need) = line.strip_prefix("needs:") {
            needs.push(Need::parse(need)?);
        } else if line == "quick" {
            is_quick = true;
        } else if says.is_empty() {
            says = line.to_owned();
        }
    }
    if says.is_empty() {
        return Err("the first comment line says what the case shows".to_owned());
    }
    Ok((says, is_quick, needs))
}

/// Runs one case against a server of its own, prints how it went and counts it.
pub(super) fn run(case: &Case, binary: &Path, tally: &mut Tally) {
    println!("case {}: {}", case.name, case.says);
    if let Some(why) = case.needs.iter().find_map(|need| need.meet().err()) {
        println!("case {} skipped: {why}", case.name);
        tally.skipped.push((case.name.clone(), why));
        return;
    }
    let started_at = Instant::now();
    match attempt(case, binary) {
        Ok(()) => {
            println!("case {} passed ({:.1} s)", case.name, started_at.elapsed().as_secs_f32());
            tally.n_passed += 1;
        }
        Err(why) => {
            println!("case {} FAILED: {why}", case.name);
            tally.n_failed += 1;
        }
    }
}

fn attempt(case: &Case, binary: &Path) -> Result<(), String> {
    let scratch = fresh_scratch(&case.name)?;
    let work = scratch.join("work");
    std::fs::create_dir_all(&work).map_err(|error| error.to_string())?;
    let mut server = Server::start(binary, &scratch)?;
    let interpreter = needs::interpreter(&case.file).ok_or("no interpreter")?;
    let mut command = Command::new(interpreter);
    command
        .arg(&case.file)
        .current_dir(&work)
        .env("MUSTER_HTTP", &server.http)
        .env("MUSTER_DNS", &server.dns)
        .env("MUSTER_EUREKA", &server.eureka)
        .env("MUSTER_BINARY", binary)
        .env("CASES", cases())
        .env("CASE_CACHE", repository::cache());
    let log = scratch.join("case.log");
    let ending =
        process::run(&mut command, CASE_WITHIN, &log).map_err(|error| error.to_string())?;
    let is_running = server.is_running();
    let stopped = server.stop();
    if !ending.is_success() {
        let how = if matches!(ending, process::Ending::TimedOut) { "no end in time" } else { "" };
        return Err(format!("{how}\n{}", process::tail(&log, 40)));
    }
    if !is_running {
        let said = process::tail(&scratch.join("server.log"), 40);
        return Err(format!("the server ended while it was used:\n{said}"));
    }
    stopped
}

/// An empty folder for one run; what the last run left there is removed.
fn fresh_scratch(name: &str) -> Result<PathBuf, String> {
    let scratch = repository::cache().join("scratch").join(name);
    if scratch.exists() {
        std::fs::remove_dir_all(&scratch).map_err(|error| error.to_string())?;
    }
    std::fs::create_dir_all(&scratch).map_err(|error| error.to_string())?;
    Ok(scratch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_tells_what_a_case_shows_and_needs() {
        let text = "#!/usr/bin/env bash\n# It works.\n# quick\n# needs: program go\nset -e\n# no\n";
        let (says, is_quick, needs) = parse(text).expect("is a header");
        assert_eq!((says.as_str(), is_quick), ("It works.", true));
        assert_eq!(needs, [Need::Program { program: "go".to_owned() }]);
    }

    #[test]
    fn a_case_that_does_not_say_what_it_shows_is_refused() {
        assert!(parse("#!/usr/bin/env bash\nset -e\n").is_err());
        assert!(parse("# It works.\n# needs: luck\n").is_err());
    }

    #[test]
    fn every_case_of_the_repository_has_a_header() {
        assert!(!all().ok().expect("the cases can be read").is_empty());
    }
}
