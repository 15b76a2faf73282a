//! Documents that move with the code: what a page names must exist, and what exists must be named.
//!
//! The table of `docs/consul-api.md` is not checked here: it is printed from the route table by a
//! test of `front-consul`, which is the only place that knows the routes.

use super::Complaint;
use super::arrows::Package;
use crate::repository::TextFile;
use crate::source::is_word;

const ARCHITECTURE: &str = "ARCHITECTURE.md";
const DECISIONS: &str = "docs/decisions/";
/// The folders of this repository: what starts so in a document is a path of ours.
const FOLDERS: &[&str] = &["bench/", "conformance/", "crates/", "docs/", "xtask/"];

/// Crates that ARCHITECTURE.md does not name, and crates it names that do not exist.
pub(super) fn crates_in_architecture(packages: &[Package], files: &[TextFile]) -> Vec<Complaint> {
    let Some(page) = files.iter().find(|file| file.path == ARCHITECTURE) else {
        return vec![Complaint::new(ARCHITECTURE, 0, "is missing")];
    };
    let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut complaints = Vec::new();
    for name in &names {
        if !says(&page.text, name) {
            let says = format!("does not name the crate {name}");
            complaints.push(Complaint::new(ARCHITECTURE, 0, says));
        }
    }
    for (line, name) in after(&page.text, "crates/") {
        if !names.contains(&name) {
            let says = format!("names crates/{name}, which does not exist");
            complaints.push(Complaint::new(ARCHITECTURE, line, says));
        }
    }
    complaints
}

/// Decision pages that their list does not link.
pub(super) fn decisions_are_listed(files: &[TextFile]) -> Vec<Complaint> {
    let list_path = format!("{DECISIONS}README.md");
    let list = files.iter().find(|file| file.path == list_path);
    let pages = files.iter().filter_map(|file| file.path.strip_prefix(DECISIONS));
    pages
        .filter(|page| page.ends_with(".md") && *page != "README.md")
        .filter(|page| !list.is_some_and(|list| list.text.contains(&format!("({page})"))))
        .map(|page| Complaint::new(&list_path, 0, format!("does not link {page}")))
        .collect()
}

/// Chores that a document speaks of and that do not exist.
pub(super) fn chores_exist(files: &[TextFile], chores: &[&str]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        for (line, chore) in after(&file.text, "cargo xtask ") {
            if !chores.contains(&chore) && chore.starts_with(|c: char| c.is_ascii_lowercase()) {
                let says = format!("there is no chore `cargo xtask {chore}`");
                complaints.push(Complaint::new(&file.path, line, says));
            }
        }
    }
    complaints
}

/// Paths of this repository that a document names and that do not exist.
pub(super) fn paths_exist(files: &[TextFile]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for page in files.iter().filter(|file| file.path.ends_with(".md")) {
        for (line, path) in code_spans(&page.text) {
            let path = path.trim_end_matches('/');
            let is_ours = FOLDERS.iter().any(|folder| path.starts_with(folder));
            let is_whole = path.chars().all(|c| is_word(c) || "-./".contains(c));
            let is_there = |file: &TextFile| {
                let rest = file.path.strip_prefix(path);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            if is_ours && is_whole && !files.iter().any(is_there) {
                let says = format!("names {path}, which does not exist");
                complaints.push(Complaint::new(&page.path, line, says));
            }
        }
    }
    complaints
}

/// What stands between backticks, with its line.
fn code_spans(text: &str) -> Vec<(usize, &str)> {
    let lines = text.lines().enumerate();
    lines
        .flat_map(|(at, line)| line.split('`').skip(1).step_by(2).map(move |s| (at + 1, s)))
        .collect()
}

/// The word (hyphens included) after each `lead`, with its line.
fn after<'a>(text: &'a str, lead: &str) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for (start, _) in line.match_indices(lead) {
            let rest = &line[start + lead.len()..];
            let end = rest.find(|c: char| !is_word(c) && c != '-').unwrap_or(rest.len());
            if end > 0 {
                found.push((at + 1, &rest[..end]));
            }
        }
    }
    found
}

/// Whether the page says the name as a whole word.
fn says(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let is_part = |c: char| is_word(c) || c == '-';
        !text[..at].chars().next_back().is_some_and(is_part)
            && !text[at + name.len()..].chars().next().is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn architecture_names_every_crate_and_no_other() {
        let packages = [Package::named("state"), Package::named("front-dns")];
        let good = [file(ARCHITECTURE, "`crates/state` and `crates/front-dns`")];
        assert!(crates_in_architecture(&packages, &good).is_empty());
        let bad = [file(ARCHITECTURE, "crates/state, crates/attic")];
        assert_eq!(crates_in_architecture(&packages, &bad).len(), 2);
        assert_eq!(crates_in_architecture(&packages, &[]).len(), 1);
    }

    #[test]
    fn a_decision_that_no_list_links_is_refused() {
        let page = || file("docs/decisions/dns.md", "");
        assert_eq!(decisions_are_listed(&[page()]).len(), 1);
        let list = file("docs/decisions/README.md", "- [DNS](dns.md)");
        assert!(decisions_are_listed(&[page(), list]).is_empty());
    }

    #[test]
    fn a_path_that_does_not_exist_is_refused() {
        let code = || file("crates/state/src/kv.rs", "");
        let good = file("A.md", "See `crates/state/`, `crates/state/src/kv.rs`, `crates/*/src`.");
        assert!(paths_exist(&[good, code()]).is_empty());
        let bad = file("A.md", "See `crates/state/src/k`.");
        assert_eq!(paths_exist(&[bad, code()]).len(), 1);
    }

    #[test]
    fn a_chore_that_does_not_exist_is_refused() {
        let page = [file("README.md", "Run `cargo xtask tidy`, then `cargo xtask dust`.")];
        let complaints = chores_exist(&page, &["tidy"]);
        assert_eq!(complaints[0].says, "there is no chore `cargo xtask dust`");
        assert_eq!(complaints.len(), 1);
    }
}
