//! The reference page of all keys, made from the declarations that the parser is made from.
//!
//! `docs/configuration.md` ends with what [`tables`] gives; a test compares them, so the page cannot
//! drift. To renew the page run that test with `MUSTER_REWRITE=1`.

use std::fmt::Write as _;

use super::definition::{CheckDefinition, ServiceDefinition, WatchDefinition};
use super::root::Config;
use super::setting::{Key, Setting};

/// Every key of the configuration.
pub fn keys() -> Vec<Key> {
    let mut keys = Vec::new();
    Config::default().list("", "", &mut keys);
    keys
}

/// The tables of all keys, in Markdown.
pub fn tables() -> String {
    let mut page = String::new();
    let tops = keys();
    table(&mut page, "Keys", &tops);
    let mut service = Vec::new();
    ServiceDefinition::default().list("", "", &mut service);
    table(&mut page, "A service", &service);
    let mut check = Vec::new();
    CheckDefinition::default().list("", "", &mut check);
    table(&mut page, "A check", &check);
    let mut watch = Vec::new();
    WatchDefinition::default().list("", "", &mut watch);
    table(&mut page, "A watch", &watch);
    page
}

fn table(page: &mut String, title: &str, keys: &[Key]) {
    let cell = |text: &str| text.replace('|', "\\|");
    let is_idle = |key: &&Key| key.kind == "anything";
    let is_spelling = |key: &&Key| key.kind == "another spelling";
    let mut line = |text: String| page.push_str(&(text + "\n"));
    line(format!("## {title}\n"));
    line("| key | takes | default | |".into());
    line("|---|---|---|---|".into());
    for key in keys.iter().filter(|key| !is_idle(key) && !is_spelling(key)) {
        let (path, kind) = (&key.path, key.kind);
        line(format!("| `{path}` | {kind} | `{}` | {} |", cell(&key.default), cell(&key.sentence)));
    }
    let mut list = |title: &str, keys: Vec<&Key>| {
        if keys.is_empty() {
            return;
        }
        let _ = writeln!(page, "\n### {title}\n");
        for key in keys {
            let _ = writeln!(page, "- `{}`: {}", key.path, key.sentence);
        }
    };
    list("Other spellings", keys.iter().filter(is_spelling).collect());
    list("Accepted without effect", keys.iter().filter(is_idle).collect());
    page.push('\n');
}
