//! How a peer comes onto the machine: by its package client, once, and outside of all measuring.
//!
//! Debian's packages are installed if this is root; modules of Go and projects of Maven are built
//! into `peers` beside the profile's folder (`target/peers`). What does not come is an error that
//! says what would help, and its rows are left out.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::process::beside_bench;

/// How much of what a package client says is shown when it fails.
const WORDS_CHARS_MAX: usize = 300;

/// Sees to it that a program of a Debian package is there.
pub(crate) fn debian(package: &str, program: &Path) -> Result<()> {
    if program.is_file() {
        return Ok(());
    }
    if !rustix::process::getuid().is_root() {
        return Err(format!("as root: apt-get install {package}").into());
    }
    said(Command::new("apt-get").args(["update", "-qq"]))?;
    let install = ["install", "-y", "-qq", "--no-install-recommends", package];
    said(Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(install))?;
    match program.is_file() {
        true => Ok(()),
        false => Err(format!("{package} does not bring {}", program.display()).into()),
    }
}

/// Builds the program of a Go module through a scratch module with these further lines.
pub(crate) fn go(module: &str, version: &str, lines: &str) -> Result<PathBuf> {
    let name = module.rsplit('/').next().unwrap_or(module);
    let program = peers()?.join(format!("{name}-{version}"));
    if program.is_file() {
        return Ok(program);
    }
    let scratch = peers()?.join(format!("{name}-module"));
    std::fs::create_dir_all(&scratch)?;
    let manifest = format!("module scratch\n\ngo 1.25.0\n\n{lines}\n");
    std::fs::write(scratch.join("go.mod"), manifest)?;
    eprintln!("building {name} {version}, once");
    let mut go = Command::new("go");
    said(go.args(["get", &format!("{module}@v{version}")]).current_dir(&scratch))?;
    let mut go = Command::new("go");
    let build = ["build", "-mod=mod", "-o"];
    said(go.args(build).arg(&program).arg(module).current_dir(&scratch))?;
    Ok(program)
}

/// Builds a project of Maven; gives the file that it makes.
pub(crate) fn maven(project: &Path, made: &str) -> Result<PathBuf> {
    let program = project.join("target").join(made);
    if !program.is_file() {
        eprintln!("building {}, once", project.display());
        said(Command::new("mvn").args(["-q", "-B", "package"]).current_dir(project))?;
    }
    Ok(program)
}

/// What a program answers; an error with its words if it does not end well.
pub(crate) fn said(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    let words = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    match output.status.success() {
        true => Ok(words),
        false => {
            let from = words.char_indices().rev().nth(WORDS_CHARS_MAX).map_or(0, |(at, _)| at);
            Err(format!("{name} ended with {}: {}", output.status, &words[from..]).into())
        }
    }
}

fn peers() -> Result<PathBuf> {
    let beside = beside_bench()?;
    let peers = beside.parent().ok_or("the bench lies in no target folder")?.join("peers");
    std::fs::create_dir_all(&peers)?;
    Ok(peers)
}
