//! Marks of unfinished work and of one person's machine.
//!
//! A promise to do something later names the issue that keeps it; a test is never switched off,
//! and never sleeps (it waits for an event with a deadline, or turns a paused clock); a file that
//! needs scrolling says first what it is for; and nothing names a folder that only one machine
//! has.

use super::Complaint;
use crate::repository::TextFile;
use crate::source::{Source, words};

/// A file longer than this opens with a module doc.
const UNDOCUMENTED_LINES_MAX: usize = 60;

/// A file that needs scrolling and does not say what it is for.
pub(super) fn no_module_doc(source: &Source) -> Vec<Complaint> {
    let mut lines = source.text.lines().skip_while(|line| line.starts_with("// SPDX"));
    let opens_with_doc = lines.next().is_some_and(|line| line.starts_with("//!"));
    if opens_with_doc || source.text.lines().count() <= UNDOCUMENTED_LINES_MAX {
        return Vec::new();
    }
    vec![Complaint::new(&source.path, 1, "say first what this file is for (`//!`)")]
}

/// Work put off, tests switched off, tests that sleep.
pub(super) fn in_source(source: &Source) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (at, text) in source.text.lines().enumerate() {
        // The words are taken apart here so that this file does not find itself.
        for mark in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")] {
            if !words(text, mark).is_empty() && !names_an_issue(text) {
                let says = format!("{mark} without an issue number");
                complaints.push(Complaint::new(&source.path, at + 1, says));
            }
        }
    }
    for (line, code) in source.test_lines() {
        if code.contains("#[ignore") {
            let says = "a test is not switched off: mend it or remove it";
            complaints.push(Complaint::new(&source.path, line, says));
        }
        if code.contains("thread::sleep(") || code.contains("time::sleep(") {
            let says = "a test does not sleep: wait for an event, or advance a paused clock";
            complaints.push(Complaint::new(&source.path, line, says));
        }
    }
    complaints
}

fn names_an_issue(text: &str) -> bool {
    text.split('#').skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        || text.contains("issue ")
}

/// Folders of one machine, in any text file.
pub(super) fn machine_paths(files: &[TextFile]) -> Vec<Complaint> {
    let homes = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let mut complaints = Vec::new();
    for file in files {
        for (at, text) in file.text.lines().enumerate() {
            for home in homes.iter().filter(|home| starts_a_path(text, home)) {
                let says = format!("`{home}` is a folder of one machine");
                complaints.push(Complaint::new(&file.path, at + 1, says));
            }
        }
    }
    complaints
}

/// Whether the folder stands at the start of a path, not inside one or inside an address.
fn starts_a_path(text: &str, home: &str) -> bool {
    text.match_indices(home).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        before.is_none_or(|c| c.is_whitespace() || "\"'`(=:".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_opens_with_what_it_is_for() {
        let body = "const A: u8 = 1;\n".repeat(UNDOCUMENTED_LINES_MAX + 1);
        assert_eq!(no_module_doc(&Source::new("a.rs", &body)).len(), 1);
        let good = format!("//! Why.\n{body}");
        assert!(no_module_doc(&Source::new("a.rs", &good)).is_empty());
    }

    #[test]
    fn work_put_off_names_its_issue() {
        let bad = format!("// {} later\n", concat!("TO", "DO"));
        assert_eq!(in_source(&Source::new("a.rs", &bad)).len(), 1);
        let good = format!("// {} (#12): later\n", concat!("TO", "DO"));
        assert!(in_source(&Source::new("a.rs", &good)).is_empty());
    }

    #[test]
    fn a_test_is_neither_switched_off_nor_asleep() {
        let bad = "#[cfg(test)]\nmod tests {\n    #[ignore]\n    #[test]\n    fn a() {\n        \
                   tokio::time::sleep(b);\n    }\n}\n";
        assert_eq!(in_source(&Source::new("a.rs", bad)).len(), 2);
        let production = "fn a() { tokio::time::sleep(b); }\n";
        assert!(in_source(&Source::new("a.rs", production)).is_empty());
    }

    #[test]
    fn a_folder_of_one_machine_is_refused() {
        let file = |text: String| [TextFile { path: "a.md".to_owned(), text }];
        let bad = format!("run `{}ann/x`", concat!("/ho", "me/"));
        assert_eq!(machine_paths(&file(bad)).len(), 1);
        let good = format!("GET example.com{}x", concat!("/ho", "me/"));
        assert!(machine_paths(&file(good)).is_empty());
    }
}
