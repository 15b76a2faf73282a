//! A case: one file in `conformance/cases/` that uses somebody else's client.
//!
//! The header of the file, its first comment lines, is all that the runner knows of it:
//!
//! ```text
//! #!/usr/bin/env bash
//! # What the case shows, in one sentence.
//! # quick                      (also run by `cargo xtask test`)
//! # servers: 1 and 3           (run again, as NAME-three, with three servers)
//! # needs: debian haproxy haproxy
//! ```
//!
//! The case is run in an empty folder, with the address of a fresh server in `MUSTER_HTTP`,
//! `MUSTER_DNS` and `MUSTER_EUREKA` (each `127.0.0.1:PORT`), those of all servers in
//! `MUSTER_SERVERS` and their processes in `MUSTER_PIDS`, the binary in `MUSTER_BINARY`, the folder
//! of all cases in `CASES`, and a folder that outlives it in `CASE_CACHE`. It passes if it ends with
//! 0. With three servers it may kill the one that leads by `bash $CASES/kill-leader.bash`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::Tally;
use super::cluster::Cluster;
use super::needs::{self, Need};
use crate::{Failure, process, repository};

/// A case may compile somebody else's program the first time.
const CASE_WITHIN: Duration = Duration::from_secs(600);

/// A case as its header describes it.
pub(super) struct Case {
    /// The name of the file without its ending; with three servers, `-three` behind it.
    pub(super) name: String,
    pub(super) is_quick: bool,
    n_servers: usize,
    header: Header,
    file: PathBuf,
}

/// The first lines of a case.
#[derive(Clone, Debug, Default)]
struct Header {
    says: String,
    is_quick: bool,
    /// Whether it is run with three servers too.
    is_for_three: bool,
    needs: Vec<Need>,
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
        let header = parse(&text)
            .map_err(|why| Failure::NotInOrder(format!("{}: {why}", file.display())))?;
        if header.is_for_three {
            let (name, header, file) = (format!("{name}-three"), header.clone(), file.clone());
            cases.push(Case { name, is_quick: false, n_servers: 3, header, file });
        }
        cases.push(Case { name, is_quick: header.is_quick, n_servers: 1, header, file });
    }
    cases.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(cases)
}

fn cases() -> PathBuf {
    repository::root().join("conformance/cases")
}

fn parse(text: &str) -> Result<Header, String> {
    let lines = text.lines().skip_while(|line| line.starts_with("#!"));
    let mut header = Header::default();
    for line in lines.map_while(|line| line.strip_prefix('#')).map(str::trim) {
        if let Some(need) = line.strip_prefix("needs:") {
            header.needs.push(Need::parse(need)?);
        } else if line == "quick" {
            header.is_quick = true;
        } else if line == "servers: 1 and 3" {
            header.is_for_three = true;
        } else if header.says.is_empty() {
            header.says = line.to_owned();
        }
    }
    if header.says.is_empty() {
        return Err("the first comment line says what the case shows".to_owned());
    }
    Ok(header)
}

/// Runs one case against a server of its own, prints how it went and counts it.
pub(super) fn run(case: &Case, binary: &Path, tally: &mut Tally) {
    println!("case {}: {}", case.name, case.header.says);
    if let Some(why) = case.header.needs.iter().find_map(|need| need.meet().err()) {
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
    let mut cluster = Cluster::start(binary, &scratch, case.n_servers)?;
    let interpreter = needs::interpreter(&case.file).ok_or("no interpreter")?;
    let mut command = Command::new(interpreter);
    command
        .arg(&case.file)
        .current_dir(&work)
        .env("MUSTER_HTTP", &cluster.first().http)
        .env("MUSTER_DNS", &cluster.first().dns)
        .env("MUSTER_EUREKA", &cluster.first().eureka)
        .env("MUSTER_SERVERS", cluster.addresses())
        .env("MUSTER_PIDS", cluster.processes())
        .env("MUSTER_BINARY", binary)
        .env("CASES", cases())
        .env("CASE_CACHE", repository::cache());
    let log = scratch.join("case.log");
    let ending =
        process::run(&mut command, CASE_WITHIN, &log).map_err(|error| error.to_string())?;
    let is_running = cluster.is_running();
    let stopped = cluster.stop();
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
        let header = parse(text).expect("is a header");
        assert_eq!((header.says.as_str(), header.is_quick), ("It works.", true));
        assert!(!header.is_for_three);
        assert_eq!(header.needs, [Need::Program { program: "go".to_owned() }]);
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
