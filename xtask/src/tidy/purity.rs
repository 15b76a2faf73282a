//! Who may touch the world: what `cargo metadata` cannot see, because it comes with the standard
//! library or with a runtime that most crates have anyway.
//!
//! Two walls. Pure crates name no runtime, no socket, no file, no clock and no chance taken from
//! the air. All other crates of the house leave sockets, files, the wall clock and threads to
//! `world`. Tests are free: they are the world's stand-in. Addresses (`std::net::IpAddr` and its
//! kin) are plain values and may be named everywhere.

use super::Complaint;
use super::arrows::PURE;
use crate::source::{Source, is_word, words};

/// Words that no pure crate says.
const NOT_PURE: &[&str] = &[
    "tokio",
    "Instant::now",
    "std::time::Instant",
    "rand::rng",
    "thread_rng",
    "from_os_rng",
    "from_entropy",
    "RandomState",
];

/// Words that only `world` says.
const WORLDLY: &[&str] = &[
    "std::fs",
    "tokio::fs",
    "File::open",
    "File::create",
    "OpenOptions",
    "TcpListener",
    "TcpStream::connect",
    "UdpSocket",
    "UnixListener",
    "UnixStream::connect",
    "SystemTime::now",
    "std::thread",
    "spawn_blocking",
];

/// Where a worldly word is allowed outside `world`, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("crates/muster/src/config/load.rs", "std::fs", READ_BEFORE_WORLD),
    ("crates/muster/src/config/load.rs", "File::open", READ_BEFORE_WORLD),
    ("crates/muster/src/cli/files.rs", "std::fs", ENDS_WITH_ITS_WORK),
    ("crates/muster/src/cli/files.rs", "File::open", ENDS_WITH_ITS_WORK),
    ("crates/muster/src/cli/files.rs", "File::create", ENDS_WITH_ITS_WORK),
    ("crates/muster/src/cli/client.rs", "TcpStream::connect", ENDS_WITH_ITS_WORK),
    ("crates/muster/src/cli/client.rs", "UnixStream::connect", ENDS_WITH_ITS_WORK),
];

const READ_BEFORE_WORLD: &str = "what the world is made of is read from here, so it comes first";
const ENDS_WITH_ITS_WORK: &str = "a command is a client of an agent and has no world to simulate";

/// Folders that are not part of the house: tools, which use the machine as any program does.
const TOOLS: &[&str] = &["bench/", "xtask/", "conformance/"];

/// Names of the world outside the crates that may say them.
pub(super) fn reaches_the_world(source: &Source) -> Vec<Complaint> {
    if TOOLS.iter().any(|tool| source.path.starts_with(tool)) || source.crate_name() == "world" {
        return Vec::new();
    }
    let is_pure = PURE.contains(&source.crate_name());
    let mut complaints = Vec::new();
    for (line, code) in source.production_lines() {
        for word in WORLDLY {
            if !words(code, word).is_empty() && !is_excepted(&source.path, word) {
                let says = format!("`{word}`: only the crate world reaches for this");
                complaints.push(Complaint::new(&source.path, line, says));
            }
        }
        for word in NOT_PURE.iter().filter(|_| is_pure) {
            if !words(code, word).is_empty() {
                let says = format!("`{word}`: {} is pure", source.crate_name());
                complaints.push(Complaint::new(&source.path, line, says));
            }
        }
    }
    complaints
}

fn is_excepted(path: &str, word: &str) -> bool {
    EXCEPTIONS.iter().any(|(prefix, allowed, _)| path.starts_with(prefix) && *allowed == word)
}

/// Calls that show the order in which a hash map keeps its items.
const ORDERED_CALLS: &[&str] =
    &["iter", "iter_mut", "into_iter", "keys", "into_keys", "values", "into_values", "drain"];

/// The comment that says why the order decides nothing.
const ORDER_FREE: &str = "order-free:";

/// Walks over a hash map in a pure crate without a word on why its order decides nothing.
pub(super) fn hash_order(source: &Source) -> Vec<Complaint> {
    if !PURE.contains(&source.crate_name()) {
        return Vec::new();
    }
    let names = hash_names(&source.code);
    let written: Vec<&str> = source.text.lines().collect();
    let mut complaints = Vec::new();
    for (line, code) in source.production_lines() {
        let around = &written[line.saturating_sub(2)..line.min(written.len())];
        if around.iter().any(|text| text.contains(ORDER_FREE)) {
            continue;
        }
        for name in names.iter().filter(|name| walks(code, name)) {
            let says = format!("`{name}` is a hash map: say `{ORDER_FREE} why`, or sort");
            complaints.push(Complaint::new(&source.path, line, says));
        }
    }
    complaints
}

/// Names of fields, parameters and variables that are declared as a hash map or hash set.
fn hash_names(code: &str) -> Vec<String> {
    let mut names: Vec<String> = code
        .lines()
        .filter_map(|line| {
            let at = ["HashMap", "HashSet"].iter().filter_map(|kind| line.find(kind)).min()?;
            let before = line[..at].trim_end_matches(|c: char| is_word(c) || c == ':');
            let before = before.trim_end().trim_end_matches(['&', ':', '=', ' ']);
            let before = before.strip_suffix(" mut").unwrap_or(before);
            let name: Vec<char> = before.chars().rev().take_while(|c| is_word(*c)).collect();
            (!name.is_empty()).then(|| name.into_iter().rev().collect())
        })
        .filter(|name| name != "use" && name != "for" && name != "impl")
        .collect();
    names.sort();
    names.dedup();
    names
}

fn walks(code: &str, name: &str) -> bool {
    words(code, name).iter().any(|at| {
        let rest = &code[at + name.len()..];
        let is_called = ORDERED_CALLS.iter().any(|call| rest.starts_with(&format!(".{call}(")));
        let before = code[..*at].trim_end_matches(|c: char| is_word(c) || c == '.');
        let before = before.trim_end_matches("mut ").trim_end_matches(['&', ' ']);
        let is_looped = before.ends_with(" in")
            && code.trim_start().starts_with("for ")
            && rest.trim_start().starts_with('{');
        is_called || is_looped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints_in(path: &str, text: &str) -> usize {
        reaches_the_world(&Source::new(path, text)).len()
    }

    #[test]
    fn a_pure_crate_may_not_read_the_clock_or_name_the_runtime() {
        let text = "fn a() { let now = Instant::now(); tokio::spawn(b); }\n";
        assert_eq!(complaints_in("crates/health/src/a.rs", text), 2);
        assert_eq!(complaints_in("crates/agent/src/a.rs", text), 0);
    }

    #[test]
    fn only_world_opens_files_and_sockets() {
        let text = "use std::fs;\nuse tokio::net::TcpListener;\nuse std::net::IpAddr;\n";
        assert_eq!(complaints_in("crates/agent/src/a.rs", text), 2);
        assert_eq!(complaints_in("crates/world/src/a.rs", text), 0);
    }

    #[test]
    fn a_test_may_touch_the_world() {
        let text = "#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert_eq!(complaints_in("crates/agent/src/a.rs", text), 0);
    }

    #[test]
    fn walking_a_hash_map_needs_a_reason() {
        let bad = "struct A { rows: HashMap<u8, u8> }\nfn a(a: &A) {\n    for row in &a.rows {}\n    \
                   a.rows.keys();\n}\n";
        assert_eq!(hash_order(&Source::new("crates/state/src/a.rs", bad)).len(), 2);
        let looped = "fn a() {\n    let rows = HashMap::new();\n    for row in &rows {}\n}\n";
        assert_eq!(hash_order(&Source::new("crates/state/src/a.rs", looped)).len(), 1);
        let good = "fn a(rows: &HashMap<u8, u8>) {\n    // order-free: a sum\n    \
                    rows.values().sum()\n}\n";
        assert!(hash_order(&Source::new("crates/state/src/a.rs", good)).is_empty());
    }

    #[test]
    fn every_exception_has_a_reason() {
        for (path, word, why) in EXCEPTIONS {
            assert!(why.split(' ').count() > 3, "{path} may say {word} for no reason");
        }
    }
}
