//! `cargo xtask tidy`: the taste of the house as a test, so that reviews can talk about design.
//!
//! Each file below is one kind of rule; each rule is a small function that takes what it judges
//! as a value and returns complaints, and has a test that shows it refusing a bad sample. A rule
//! that knows exceptions keeps them in one table with a reason each. Whoever needs another
//! exception adds a row there and defends it in review; there is no comment that switches a rule
//! off, save the one that says why the order of a hash map does not matter.
//!
//! What rustfmt and clippy already refuse (line length, `unwrap`, parameters, functions over 70
//! lines) is not repeated here, but counted where the count itself is a promise.

mod arrows;
mod documents;
mod marks;
mod purity;
mod sizes;
mod vocabulary;

use crate::source::Source;
use crate::{Failure, chore_names, repository};

pub(crate) const SAYS: &str = "Checks walls, sizes, words and documents; prints what is large, refuses what is out of bounds.";

/// What a rule has against a place in the repository.
#[derive(Debug, PartialEq, Eq)]
struct Complaint {
    path: String,
    /// Counted from 1; 0 for a whole file.
    line: usize,
    says: String,
}

impl Complaint {
    fn new(path: &str, line: usize, says: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, says: says.into() }
    }
}

/// Entry of the chore.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if let Some(unknown) = arguments.first() {
        return Err(Failure::Usage(format!("tidy takes no arguments, not {unknown:?}")));
    }
    let files = repository::text_files()?;
    let sources: Vec<Source> = files
        .iter()
        .filter(|file| file.path.ends_with(".rs"))
        .map(|file| Source::new(&file.path, &file.text))
        .collect();
    let packages = arrows::packages()?;

    let mut complaints = arrows::forbidden_arrows(&packages);
    complaints.extend(arrows::strangers(&packages));
    for source in &sources {
        complaints.extend(purity::reaches_the_world(source));
        complaints.extend(purity::hash_order(source));
        complaints.extend(sizes::too_long(source));
        complaints.extend(marks::no_module_doc(source));
        complaints.extend(marks::in_source(source));
        complaints.extend(vocabulary::foreign_words(source));
    }
    complaints.extend(sizes::too_many_long_functions(&sources));
    complaints.extend(marks::machine_paths(&files));
    complaints.extend(documents::crates_in_architecture(&packages, &files));
    complaints.extend(documents::decisions_are_listed(&files));
    complaints.extend(documents::paths_exist(&files));
    complaints.extend(documents::chores_exist(&files, &chore_names()));

    sizes::print(&sources);
    report(&complaints, sources.len())
}

fn report(complaints: &[Complaint], n_sources: usize) -> Result<(), Failure> {
    for Complaint { path, line, says } in complaints {
        match line {
            0 => println!("{path}: {says}"),
            _ => println!("{path}:{line}: {says}"),
        }
    }
    if complaints.is_empty() {
        println!("tidy: {n_sources} source files, nothing to complain about");
        return Ok(());
    }
    Err(Failure::NotInOrder(format!("{} complaints", complaints.len())))
}
