//! Release builds of muster: as `cargo build --release` makes them, and guided by a profile.
//!
//! A guided build is made twice. The first counts how often each branch is taken; the bench works with
//! it, as with any muster, and the servers write their counts down as they end. The second lays
//! out and inlines by these counts. What is seldom or never used comes to stand apart from what is used
//! all the time, so that less of the program is in memory: docs/decisions/guided-builds.md.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{cargo, end_well, said};
use crate::{Failure, repository};

/// What the bench does with the build that counts.
const TRAINING: [&str; 10] = [
    "start",
    "idle",
    "kv",
    "replicated",
    "register",
    "discover",
    "dns",
    "registry",
    "wake",
    "fleet",
];

/// For both of the two builds: the names of functions, by which a profile tells them apart, depend on how
/// a build is set. Without the names of lines the build that counts is a third as large.
const SETTINGS: [&str; 2] = ["--config", "profile.release.debug=false"];

/// How a release build is made.
#[derive(Clone, Copy)]
pub(crate) struct Release {
    /// Whether a profile guides it.
    pub(crate) is_guided: bool,
    /// Whether the C library is inside.
    pub(crate) is_static: bool,
}

/// Makes a release build of muster; the result is where it lies.
pub(crate) fn build(release: Release) -> Result<PathBuf, Failure> {
    let root = repository::root();
    let mut flags = Vec::new();
    if release.is_static {
        flags.push("-Ctarget-feature=+crt-static".to_owned());
    }
    match (release.is_guided, flags.is_empty()) {
        (true, _) => guided(flags),
        (false, false) => compile(&flags, &root.join("target"), &[]),
        (false, true) => {
            end_well(cargo().args(["build", "--release", "--locked", "-p", "muster"]))?;
            Ok(root.join("target/release/muster"))
        }
    }
}

fn guided(mut flags: Vec<String>) -> Result<PathBuf, Failure> {
    let merger = profile_merger()?;
    let profile = profile(&merger)?;
    flags.push(format!("-Cprofile-use={}", profile.display()));
    // Functions that are seldom used stand in a section of their own.
    flags.push("-Clink-arg=-Wl,-z,keep-text-section-prefix".to_owned());
    let muster = compile(&flags, &repository::root().join("target/guided/use"), &SETTINGS)?;
    let counted = said(Command::new(merger).args(["show", "--all-functions"]).arg(&profile))?;
    let built = said(Command::new("nm").args(["-P", "--defined-only"]).arg(&muster))?;
    match is_of(&counted, &built) {
        true => Ok(muster),
        // The compiler says nothing of it.
        false => Err(Failure::NotInOrder(format!(
            "the profile is of another build than {}; remove target/guided and try again",
            muster.display()
        ))),
    }
}

/// Whether most functions that were built are among those that were counted: `llvm-profdata` has a line
/// `  [FILE;]NAME:` for each, and `nm` a line `NAME T ADDRESS SIZE`.
fn is_of(counted: &str, built: &str) -> bool {
    let lines = counted.lines().filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'));
    let counted: HashSet<&str> = lines.filter_map(|name| name.rsplit(';').next()).collect();
    let words = built.lines().filter_map(|line| line.split_once(' '));
    let functions = words.filter(|(_, rest)| rest.starts_with(['t', 'T']));
    let (known, unknown): (Vec<_>, Vec<_>) =
        functions.map(|(name, _)| name).partition(|name| counted.contains(name));
    known.len() > unknown.len()
}

/// Builds the bench, and no muster with it.
pub(crate) fn build_bench() -> Result<(), Failure> {
    end_well(cargo().args(["build", "--release", "--locked", "-p", "muster-bench"]))
}

/// Builds with flags of the compiler that are not for the programs which the build itself runs.
fn compile(flags: &[String], target: &Path, more: &[&str]) -> Result<PathBuf, Failure> {
    let host = host()?;
    let flags: Vec<String> = flags.iter().map(|flag| format!("'{flag}'")).collect();
    let flags = format!("build.rustflags=[{}]", flags.join(","));
    let mut command = cargo();
    command.args(["build", "--release", "--locked", "-p", "muster", "--target", &host]);
    command.args(["--config", &flags]).arg("--target-dir").arg(target).args(more);
    end_well(&mut command)?;
    Ok(target.join(host).join("release/muster"))
}

/// The counts of a muster at work; taken anew if muster changed since.
fn profile(merger: &Path) -> Result<PathBuf, Failure> {
    let folder = repository::root().join("target/guided");
    let (counts, profile) = (folder.join("counts"), folder.join("muster.profdata"));
    let flag = format!("-Cprofile-generate={}", counts.display());
    let muster = compile(&[flag], &folder.join("train"), &SETTINGS)?;
    if is_newer(&profile, &muster) {
        return Ok(profile);
    }
    build_bench()?;
    clear(&counts)?;
    // The compiler looks at a profile's path, not at its content, to see whether a build is new.
    clear(&folder.join("use"))?;
    let bench = repository::root().join("target/release/muster-bench");
    let mut training = Command::new(bench);
    training.arg("quick").args(TRAINING).args(["--peers", "none", "--rounds", "1", "--muster"]);
    training.arg(&muster).arg("--out").arg(folder.join("report"));
    training.env("LLVM_PROFILE_FILE", counts.join("%p.profraw"));
    end_well(&mut training)?;
    let mut merge = Command::new(merger);
    end_well(merge.args(["merge", "-o"]).arg(&profile).arg(&counts))?;
    clear(&counts)?;
    Ok(profile)
}

/// LLVM's program that merges counts, of the compiler's version.
fn profile_merger() -> Result<PathBuf, Failure> {
    let sysroot = said(Command::new("rustc").args(["--print", "sysroot"]))?;
    let (host, llvm) = (host()?, told_by_rustc("LLVM version: ")?);
    let major = llvm.split('.').next().unwrap_or_default();
    let places = [
        Path::new(&sysroot).join(format!("lib/rustlib/{host}/bin/llvm-profdata")),
        Path::new("/usr/lib").join(format!("llvm-{major}/bin/llvm-profdata")),
    ];
    places.into_iter().find(|place| place.is_file()).ok_or_else(|| {
        Failure::NotInOrder(format!(
            "a guided build needs llvm-profdata of LLVM {major}: rustup component add llvm-tools, \
             or as root: apt-get install llvm-{major}"
        ))
    })
}

/// The machine that the compiler builds for when not told otherwise.
fn host() -> Result<String, Failure> {
    told_by_rustc("host: ")
}

fn told_by_rustc(name: &str) -> Result<String, Failure> {
    let told = said(Command::new("rustc").arg("-vV"))?;
    let line = told.lines().find_map(|line| line.strip_prefix(name));
    line.map(str::to_owned)
        .ok_or_else(|| Failure::NotInOrder(format!("rustc -vV does not say its {name:?}")))
}

fn is_newer(one: &Path, other: &Path) -> bool {
    let changed_at = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    matches!((changed_at(one), changed_at(other)), (Some(one), Some(other)) if one > other)
}

/// Removes a folder, if it is there.
pub(crate) fn clear(folder: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::NotInOrder(format!("{}: {error}", folder.display())))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_of_other_functions_is_told_apart() {
        let counted =
            "Counters:\n  _RNvC1a:\n    Hash: 0x1\n  a.cgu.0;_RNvC1b:\nTotal functions: 2\n";
        assert!(is_of(counted, "_RNvC1a T 10 20\n_RNvC1b t 30 20\n_RNvC1c T 50 20\nfacts R 1 1\n"));
        assert!(!is_of(counted, "_RNvC2a T 10 20\n_RNvC2b t 30 20\n_RNvC1a T 50 20\n"));
    }
}
