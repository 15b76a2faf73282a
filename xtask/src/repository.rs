//! Where the repository lies and which files it has.
//!
//! Files are asked of git (tracked, or new and not ignored), so that build output, caches and
//! editor leftovers are never looked at and a chore sees the same in a clone as in a work tree.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;

/// The folder that holds the workspace manifest.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lies in a folder of the repository").to_path_buf()
}

/// A place for what a chore downloads and builds: kept between runs, ignored by git.
pub(crate) fn cache() -> PathBuf {
    root().join("conformance/.cache")
}

/// A text file of the repository.
pub(crate) struct TextFile {
    /// The path from the root, with forward slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Every text file of the repository, sorted by path; files that are not UTF-8 are left out.
pub(crate) fn text_files() -> Result<Vec<TextFile>, Failure> {
    let root = root();
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(&root)
        .output()
        .map_err(|error| Failure::NotInOrder(format!("git is needed to list files: {error}")))?;
    if !listed.status.success() {
        let why = String::from_utf8_lossy(&listed.stderr).into_owned();
        return Err(Failure::NotInOrder(format!("git does not list the files: {why}")));
    }
    let names = String::from_utf8_lossy(&listed.stdout).into_owned();
    let mut files: Vec<TextFile> = names
        .split('\0')
        .filter(|path| !path.is_empty())
        .filter_map(|path| {
            let text = std::fs::read_to_string(root.join(path)).ok()?;
            Some(TextFile { path: path.to_owned(), text })
        })
        .collect();
    files.sort_by(|left, right| left.path.cmp(&right.path));
    files.dedup_by(|left, right| left.path == right.path);
    Ok(files)
}
