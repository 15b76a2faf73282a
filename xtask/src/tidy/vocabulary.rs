//! One name per concept: words that the glossary turns away.
//!
//! Only words with little ambiguity are here; the rest of the glossary is for readers. A foreign
//! word lives in the front that speaks it, so each row names the crates where it is at home.

use super::Complaint;
use crate::source::{Source, is_word};

/// A word that is not ours, what we say instead, and the crates that may say it all the same.
struct Foreign {
    word: &'static str,
    instead: &'static str,
    at_home_in: &'static [&'static str],
}

const FOREIGN: &[Foreign] = &[
    Foreign {
        word: "heartbeat",
        instead: "renew (a lease), probe (gossip)",
        at_home_in: &["consensus", "front-eureka", "sim"],
    },
    Foreign { word: "healthcheck", instead: "check", at_home_in: &[] },
    Foreign { word: "blacklist", instead: "what it does", at_home_in: &[] },
    Foreign { word: "whitelist", instead: "what it does", at_home_in: &[] },
    Foreign { word: "slave", instead: "follower", at_home_in: &[] },
    // `muster` reads Consul's configuration files, whose keys say these; `xtask` speaks to `ip`.
    Foreign { word: "master", instead: "leader", at_home_in: &["muster", "xtask"] },
    Foreign { word: "unregister", instead: "deregister", at_home_in: &["front-eureka"] },
    Foreign { word: "keepalive", instead: "renew", at_home_in: &["listen", "muster", "world"] },
];

/// The rule itself has to name the words.
const THIS_FILE: &str = "xtask/src/tidy/vocabulary.rs";

/// Foreign words, and functions that say `get`.
pub(super) fn foreign_words(source: &Source) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    if source.path == THIS_FILE {
        return complaints;
    }
    for (at, text) in source.text.lines().enumerate() {
        for spoken in pieces(text) {
            let Some(foreign) = FOREIGN.iter().find(|row| row.word == spoken) else { continue };
            if foreign.at_home_in.contains(&source.crate_name()) {
                continue;
            }
            let says = format!("`{}`: the glossary says {}", foreign.word, foreign.instead);
            complaints.push(Complaint::new(&source.path, at + 1, says));
        }
    }
    let functions = source.functions();
    let named_here = functions.iter().filter(|function| !function.implements_trait);
    for function in named_here.filter(|function| function.name.starts_with("get_")) {
        let says = format!("fn {}: name what it gives, without `get_`", function.name);
        complaints.push(Complaint::new(&source.path, function.line, says));
    }
    complaints
}

/// The words of a line in lower case, with `snake_case` and `CamelCase` taken apart, and each
/// plural as its singular.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    for word in text.split(|c: char| !is_word(c)).flat_map(|word| word.split('_')) {
        let mut piece = String::new();
        let mut was_lower = false;
        for c in word.chars() {
            if c.is_uppercase() && was_lower {
                pieces.push(std::mem::take(&mut piece));
            }
            was_lower = c.is_lowercase();
            piece.extend(c.to_lowercase());
        }
        pieces.push(piece);
    }
    for piece in &mut pieces {
        if piece.len() > 3 && piece.ends_with('s') {
            piece.pop();
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_word_is_refused_outside_its_home() {
        let bad = "// sends heartbeats\nfn send_heartbeat() {}\nstruct HeartbeatLoop;\n";
        assert_eq!(foreign_words(&Source::new("crates/agent/src/a.rs", bad)).len(), 3);
        assert!(foreign_words(&Source::new("crates/consensus/src/a.rs", bad)).is_empty());
    }

    #[test]
    fn a_function_does_not_say_get() {
        let bad = "fn get_name() {}\nfn target() {}\nimpl Theirs for A { fn get_it() {} }\n";
        assert_eq!(foreign_words(&Source::new("crates/agent/src/a.rs", bad)).len(), 1);
    }

    #[test]
    fn words_are_taken_apart() {
        assert_eq!(pieces("HealthCheck node_names"), ["health", "check", "node", "name"]);
    }
}
