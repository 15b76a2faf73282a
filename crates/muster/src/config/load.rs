//! From files and flags to one [`Config`]: the order in which they speak, and who wins.
//!
//! The defaults speak first, then each `-config-file` and `-config-dir` in the order given (a folder's
//! files by name, not descending), then the flags, then `-hcl` fragments. Files that are empty are
//! skipped, since one may be filled before a reload. In a folder only `.hcl` and `.json` count unless a
//! format is asked for.
//!
//! This is the one place that reads configuration files. It does so before there is a runtime or a
//! World, so it uses plain blocking files; what it reads is bounded in length and number.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::problem::{Problem, Problems};
use super::root::{CalledAs, Config};
use super::setting::{Reader, Setting};
use super::syntax::{self, BYTES_MAX, Format, Node, Value};
use super::verify;

/// The most files that one folder may hold.
const FILES_MAX: usize = 10_000;

/// Where a configuration comes from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Under which name the program runs.
    pub called_as: CalledAs,
    /// Whether to start from [`Config::dev`].
    pub is_dev: bool,
    /// Files and folders, in the order in which they speak.
    pub paths: Vec<PathBuf>,
    /// The format of every file; without it the name decides.
    pub format: Option<Format>,
    /// Pieces of HCL from the command line; they speak last.
    pub fragments: Vec<String>,
}

/// A configuration, and what its author should know about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is allowed but should be seen, for the log.
    pub warnings: Vec<String>,
}

/// Reads everything, lets `flags` overrule it, and verifies the whole.
pub fn load(
    sources: &Sources,
    flags: impl FnOnce(&mut Config) -> Vec<Problem>,
) -> Result<Loaded, Problems> {
    let mut config = Config::starting(sources.called_as, sources.is_dev);
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    for path in files(&sources.paths, sources.format, &mut warnings)? {
        let source = path.display().to_string();
        match read_file(&path) {
            Ok(text) => {
                let named = path.extension().and_then(|extension| extension.to_str());
                let format = sources.format.or_else(|| named.and_then(Format::named));
                problems.extend(overlay(
                    &mut config,
                    &text,
                    format.unwrap_or(Format::Hcl),
                    &source,
                ));
            }
            Err(problem) => problems.push(problem.within(&source)),
        }
    }
    problems.extend(flags(&mut config));
    for fragment in &sources.fragments {
        problems.extend(overlay(&mut config, fragment, Format::Hcl, "-hcl"));
    }
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    warnings.extend(verify::verify(&mut config, sources.called_as, sources.is_dev)?);
    Ok(Loaded { config, warnings })
}

/// Takes over what `text` says, on top of what is there.
pub fn overlay(config: &mut Config, text: &str, format: Format, source: &str) -> Vec<Problem> {
    let object = match syntax::parse(text, format) {
        Ok(object) => object,
        Err(problem) => return vec![problem.within(source)],
    };
    let mut reader = Reader::default();
    config.read(&Node { line: 1, value: Value::Object(object) }, &mut reader);
    reader.finish(source)
}

/// The files that `paths` stand for, folders opened.
fn files(
    paths: &[PathBuf],
    format: Option<Format>,
    warnings: &mut Vec<String>,
) -> Result<Vec<PathBuf>, Problem> {
    let is_named = |path: &Path| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension.and_then(Format::named).is_some()
    };
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            let inside = folder(path)?;
            found.extend(inside.into_iter().filter(|file| format.is_some() || is_named(file)));
        } else if format.is_some() || is_named(path) {
            found.push(path.clone());
        } else {
            let why = "its name ends neither in .hcl nor in .json and there is no -config-format";
            warnings.push(format!("{}: skipped, since {why}", path.display()));
        }
    }
    Ok(found)
}

/// The files of a folder by name.
fn folder(path: &Path) -> Result<Vec<PathBuf>, Problem> {
    let source = path.display().to_string();
    let wrong = |error: std::io::Error| {
        Problem::general(format!("the folder cannot be read: {error}")).within(&source)
    };
    let mut inside = Vec::new();
    for entry in fs::read_dir(path).map_err(wrong)? {
        let file = entry.map_err(wrong)?.path();
        if file.is_file() {
            inside.push(file);
        }
        if inside.len() > FILES_MAX {
            let what = format!("the folder holds more than {FILES_MAX} files");
            return Err(Problem::general(what).within(&source));
        }
    }
    inside.sort();
    Ok(inside)
}

/// A file's text, refused before it is read whole if it is too long.
pub fn read_file(path: &Path) -> Result<String, Problem> {
    let wrong = |error: std::io::Error| Problem::general(format!("cannot be read: {error}"));
    let limit = BYTES_MAX as u64 + 1;
    let mut text = String::new();
    let file = fs::File::open(path).map_err(wrong)?;
    file.take(limit).read_to_string(&mut text).map_err(wrong)?;
    Ok(text)
}
