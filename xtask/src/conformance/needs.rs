//! What a case needs installed, and how it comes onto the machine.
//!
//! A case says so in its header, one line each:
//!
//! ```text
//! # needs: debian PACKAGE PROGRAM   apt-get installs PACKAGE unless PROGRAM is on the path
//! # needs: pypi NAME==VERSION       pip installs it into a virtual environment in the cache
//! # needs: program PROGRAM          it has to be there; nothing installs it
//! ```
//!
//! Only ordinary package clients are used. If one fails, or Debian packages are needed by someone
//! who is not root, the case is skipped and says which command would have helped.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::Ending;
use crate::{process, repository};

const INSTALL_WITHIN: Duration = Duration::from_secs(600);

/// One thing that has to be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Debian { package: String, program: String },
    Pypi { requirement: String },
    Program { program: String },
}

impl Need {
    /// Reads the rest of a `needs:` line.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["debian", package, program] => {
                Ok(Self::Debian { package: package.to_owned(), program: program.to_owned() })
            }
            ["pypi", requirement] if requirement.contains("==") => {
                Ok(Self::Pypi { requirement: requirement.to_owned() })
            }
            ["program", program] => Ok(Self::Program { program: program.to_owned() }),
            _ => Err(format!("cannot read the need {line:?}")),
        }
    }

    /// Sees to it that the need is met; otherwise says why the case has to be skipped.
    pub(super) fn meet(&self) -> Result<(), String> {
        match self {
            Self::Program { program } if process::is_on_path(program) => Ok(()),
            Self::Program { program } => Err(format!("{program} is not installed")),
            Self::Debian { package, program } => install_debian(package, program),
            Self::Pypi { requirement } => install_pypi(requirement),
        }
    }
}

fn install_debian(package: &str, program: &str) -> Result<(), String> {
    if process::is_on_path(program) {
        return Ok(());
    }
    if !rustix::process::getuid().is_root() || !process::is_on_path("apt-get") {
        return Err(format!("{program} is not there; as root: apt-get install {package}"));
    }
    let mut refresh = Command::new("apt-get");
    refresh.args(["update", "-qq"]);
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-qq", "--no-install-recommends", package]);
    install.env("DEBIAN_FRONTEND", "noninteractive");
    run(&mut refresh, "apt-get-update")?;
    run(&mut install, "apt-get-install")
}

fn install_pypi(requirement: &str) -> Result<(), String> {
    let mark = python_home().join(format!("installed-{requirement}"));
    if mark.exists() {
        return Ok(());
    }
    let whole = python_home().join("whole");
    if !whole.exists() {
        let mut create = Command::new("python3");
        create.args(["-m", "venv", "--clear"]).arg(python_home());
        run(&mut create, "python-venv")?;
        std::fs::write(&whole, "").map_err(|error| error.to_string())?;
    }
    let mut install = Command::new(python());
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement]);
    run(&mut install, "pip-install")?;
    std::fs::write(&mark, "").map_err(|error| error.to_string())
}

fn run(command: &mut Command, name: &str) -> Result<(), String> {
    let cache = repository::cache();
    std::fs::create_dir_all(&cache).map_err(|error| error.to_string())?;
    let log = cache.join(format!("{name}.log"));
    match process::run(command, INSTALL_WITHIN, &log) {
        Ok(ending) if ending.is_success() => Ok(()),
        Ok(Ending::TimedOut) => {
            Err(format!("{name} did not end in {} s", INSTALL_WITHIN.as_secs()))
        }
        Ok(_) => Err(format!("{name} failed: {}", process::tail(&log, 3))),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

fn python_home() -> PathBuf {
    repository::cache().join("python")
}

/// The interpreter that sees what was installed for the cases.
pub(super) fn python() -> PathBuf {
    python_home().join("bin/python3")
}

/// The program that runs a case file, by the ending of its name.
pub(super) fn interpreter(file: &Path) -> Option<PathBuf> {
    match file.extension()?.to_str()? {
        "sh" => Some(PathBuf::from("bash")),
        "py" if python().exists() => Some(python()),
        "py" => Some(PathBuf::from("python3")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_read_from_their_lines() {
        let debian = Need::parse("debian bind9-dnsutils dig");
        let expected =
            Need::Debian { package: "bind9-dnsutils".to_owned(), program: "dig".to_owned() };
        assert_eq!(debian, Ok(expected));
        assert!(Need::parse("pypi py-consul").is_err(), "a version is asked for");
        assert!(Need::parse("snap dig").is_err());
    }

    #[test]
    fn a_program_that_is_not_there_is_a_reason_to_skip() {
        let need = Need::Program { program: "no-such-program".to_owned() };
        assert_eq!(need.meet(), Err("no-such-program is not installed".to_owned()));
    }
}
