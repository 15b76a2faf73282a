//! Release builds of muster: as `cargo build --release` makes them, and guided by a profile.
//!
//! A guided build is made twice. The first counts how often each branch is taken; the bench works with
//! it, as with any muster, and the servers write their counts down as they end. The second lays
//! out and inlines by these counts. What is seldom or never used comes to stand apart from what is used
//! all the time, so that less of the program is in memory: docs/decisions/guided-builds.md.

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

/// How a release build is made.
#[derive(Clone, Copy, Default)]
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
    if release.is_guided {
        let profile = profile()?;
        flags.push(format!("-Cprofile-use={}", profile.display()));
        // Functions that are seldom used stand in a section of their own.
        flags.push("-Clink-arg=-Wl,-z,keep-text-section-prefix".to_owned());
        return compile(&flags, &root.join("target/guided/use"), &[]);
    }
    match flags.is_empty() {
        true => {
            end_well(cargo().args(["build", "--release", "--locked", "-p", "muster"]))?;
            Ok(root.join("target/release/muster"))
        }
        false => compile(&flags, &root.join("target"), &[]),
    }
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
fn profile() -> Result<PathBuf, Failure> {
    let merger = profile_merger()?;
    let folder = repository::root().join("target/guided");
    let (counts, profile) = (folder.join("counts"), folder.join("muster.profdata"));
    let flag = format!("-Cprofile-generate={}", counts.display());
    // Names of lines would make it three times as large.
    let no_lines = ["--config", "profile.release.debug=false"];
    let muster = compile(&[flag], &folder.join("train"), &no_lines)?;
    if is_newer(&profile, &muster) {
        return Ok(profile);
    }
    end_well(cargo().args(["build", "--release", "--locked", "-p", "muster-bench"]))?;
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
