//! Raft's promises: one leader in a term, terms that only grow, and what was decided stays so.
//!
//! Source: D. Ongaro, J. Ousterhout, "In search of an understandable consensus algorithm", 2014,
//! figure 3: election safety, log matching, state machine safety; and that a server's term only
//! grows (figure 2).
//!
//! Leaders are in the history. Entries are not: they are seen by the records of consensus, which the
//! simulator hands over as [`EntrySeen`]. An entry may be seen many times; what was not committed
//! may be replaced, so only log matching binds it.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_model::Index;

use super::Violation;
use super::story::instant;
use crate::history::{Leadership, ServerNumber};

/// An entry of the log as one server had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntrySeen {
    /// The server.
    pub server: ServerNumber,
    /// When.
    pub seen_at: Duration,
    /// Its place in the log.
    pub index: Index,
    /// The term of the leader that made it.
    pub term: u64,
    /// A hash of what it holds.
    pub hash: u64,
    /// Whether the server took it for committed.
    pub is_committed: bool,
}

/// Judges leaders and entries.
#[must_use]
pub fn check(leaderships: &[Leadership], entries: &[EntrySeen]) -> Vec<Violation> {
    let mut violations = one_leader_in_a_term(leaderships);
    violations.extend(terms_grow(leaderships));
    violations.extend(logs_match(entries));
    violations.extend(decided_stays_decided(entries));
    violations.extend(terms_grow_along_the_log(entries));
    violations
}

fn one_leader_in_a_term(leaderships: &[Leadership]) -> Vec<Violation> {
    let mut first: BTreeMap<u64, &Leadership> = BTreeMap::new();
    let mut violations = Vec::new();
    for leadership in leaderships {
        let known = first.entry(leadership.term).or_insert(leadership);
        if known.server != leadership.server {
            violations.push(Violation {
                invariant: "election safety",
                headline: format!("term {} has two leaders", leadership.term),
                evidence: [*known, leadership].map(leader_line).to_vec(),
            });
        }
    }
    violations
}

/// A server that becomes leader again does so in a later term.
fn terms_grow(leaderships: &[Leadership]) -> Vec<Violation> {
    let mut last: BTreeMap<ServerNumber, &Leadership> = BTreeMap::new();
    let mut violations = Vec::new();
    for leadership in leaderships {
        let earlier = last.insert(leadership.server, leadership);
        if let Some(earlier) = earlier.filter(|earlier| earlier.term > leadership.term) {
            violations.push(Violation {
                invariant: "growing terms",
                headline: format!("server {} went back in terms", leadership.server),
                evidence: [earlier, leadership].map(leader_line).to_vec(),
            });
        }
    }
    violations
}

/// Entries with one index and one term hold the same, committed or not.
fn logs_match(entries: &[EntrySeen]) -> Vec<Violation> {
    let mut first: BTreeMap<(Index, u64), &EntrySeen> = BTreeMap::new();
    let mut violations = Vec::new();
    for entry in entries {
        let known = first.entry((entry.index, entry.term)).or_insert(entry);
        if known.hash != entry.hash {
            let headline = format!("index {} of term {} is two entries", entry.index, entry.term);
            violations.push(entries_differ("log matching", headline, known, entry));
        }
    }
    violations
}

/// What one server took for committed at an index every server does, for ever.
fn decided_stays_decided(entries: &[EntrySeen]) -> Vec<Violation> {
    let mut first: BTreeMap<Index, &EntrySeen> = BTreeMap::new();
    let mut violations = Vec::new();
    for entry in entries.iter().filter(|entry| entry.is_committed) {
        let known = first.entry(entry.index).or_insert(entry);
        if (known.term, known.hash) != (entry.term, entry.hash) {
            let headline = format!("two entries were committed at index {}", entry.index);
            violations.push(entries_differ("state machine safety", headline, known, entry));
        }
    }
    violations
}

fn terms_grow_along_the_log(entries: &[EntrySeen]) -> Vec<Violation> {
    let committed = entries.iter().filter(|entry| entry.is_committed);
    let by_index: BTreeMap<Index, &EntrySeen> =
        committed.map(|entry| (entry.index, entry)).collect();
    let pairs = by_index.values().zip(by_index.values().skip(1));
    let falling = pairs.filter(|(earlier, later)| earlier.term > later.term);
    let complaint = |(earlier, later): (&&EntrySeen, &&EntrySeen)| {
        let headline = format!("terms fall before index {}", later.index);
        entries_differ("growing terms", headline, earlier, later)
    };
    falling.map(complaint).collect()
}

fn entries_differ(
    invariant: &'static str,
    headline: String,
    one: &EntrySeen,
    other: &EntrySeen,
) -> Violation {
    Violation { invariant, headline, evidence: [one, other].map(entry_line).to_vec() }
}

fn leader_line(leadership: &Leadership) -> String {
    let Leadership { server, term, since } = leadership;
    format!("{}  server {server} leads in term {term}", instant(*since))
}

fn entry_line(entry: &EntrySeen) -> String {
    let EntrySeen { server, seen_at, index, term, hash, is_committed } = entry;
    let standing = if *is_committed { "committed" } else { "appended" };
    let at = instant(*seen_at);
    format!("{at}  server {server}: index {index}, term {term}, {hash:016x}, {standing}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(server: ServerNumber, term: u64) -> Leadership {
        Leadership { server, term, since: Duration::from_secs(term) }
    }

    fn entry(server: ServerNumber, index: Index, term: u64, hash: u64) -> EntrySeen {
        let seen_at = Duration::from_secs(index);
        EntrySeen { server, seen_at, index, term, hash, is_committed: true }
    }

    fn appended(server: ServerNumber, index: Index, term: u64, hash: u64) -> EntrySeen {
        EntrySeen { is_committed: false, ..entry(server, index, term, hash) }
    }

    fn invariants(violations: &[Violation]) -> Vec<&'static str> {
        violations.iter().map(|violation| violation.invariant).collect()
    }

    #[test]
    fn leaders_of_growing_terms_are_well() {
        assert_eq!(check(&[leads(0, 1), leads(1, 2), leads(0, 3), leads(0, 3)], &[]), []);
        // The news of an older term may come later.
        assert_eq!(check(&[leads(1, 2), leads(0, 1)], &[]), []);
    }

    #[test]
    fn two_leaders_in_a_term_and_a_term_that_falls_are_found() {
        assert_eq!(invariants(&check(&[leads(0, 4), leads(1, 4)], &[])), ["election safety"]);
        assert_eq!(invariants(&check(&[leads(0, 4), leads(0, 3)], &[])), ["growing terms"]);
    }

    #[test]
    fn what_was_not_committed_may_be_replaced() {
        let entries = [
            entry(0, 1, 1, 10),
            appended(0, 2, 1, 20),
            entry(1, 1, 1, 10),
            entry(1, 2, 2, 21),
            entry(0, 2, 2, 21),
        ];
        assert_eq!(check(&[], &entries), []);
    }

    #[test]
    fn logs_that_part_ways_are_found() {
        let two = [entry(0, 2, 1, 20), entry(1, 2, 2, 21)];
        assert_eq!(invariants(&check(&[], &two)), ["state machine safety"]);
        let same_term = [appended(0, 2, 1, 20), appended(1, 2, 1, 21)];
        assert_eq!(invariants(&check(&[], &same_term)), ["log matching"]);
        let falling = [entry(0, 1, 3, 10), entry(0, 2, 2, 20)];
        assert_eq!(invariants(&check(&[], &falling)), ["growing terms"]);
    }
}
