//! State hashes: servers that have applied the same entries hold the same.
//!
//! Source: F. Schneider, "Implementing fault-tolerant services using the state machine approach",
//! 1990: replicas that apply the same commands in the same order agree. A hash that differs at one
//! index means that applying depended on something that is not in the log, or that the logs differ.
//! It holds across restarts too: what was loaded from a snapshot hashes like what was applied.

use std::collections::BTreeMap;

use super::Violation;
use super::story::instant;
use crate::history::StateSeen;

/// Judges the states seen in a run.
#[must_use]
pub fn check(states: &[StateSeen]) -> Vec<Violation> {
    let mut first: BTreeMap<u64, &StateSeen> = BTreeMap::new();
    let mut differing: BTreeMap<u64, Vec<&StateSeen>> = BTreeMap::new();
    for seen in states {
        let first = first.entry(seen.index).or_insert(seen);
        if first.hash != seen.hash {
            differing.entry(seen.index).or_insert_with(|| vec![first]).push(seen);
        }
    }
    let complaint = |(index, seen): (u64, Vec<&StateSeen>)| Violation {
        invariant: "equal states",
        headline: format!("servers that have applied index {index} differ"),
        evidence: seen.into_iter().map(line).collect(),
    };
    differing.into_iter().map(complaint).collect()
}

fn line(seen: &StateSeen) -> String {
    let StateSeen { server, seen_at, hash, .. } = seen;
    format!("{}  server {server} has {hash:016x}", instant(*seen_at))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn seen(server: usize, index: u64, hash: u64) -> StateSeen {
        StateSeen { server, seen_at: Duration::from_secs(index), index, hash }
    }

    #[test]
    fn equal_hashes_at_equal_indexes_are_well() {
        let states = [seen(0, 1, 11), seen(1, 1, 11), seen(0, 2, 12), seen(2, 2, 12)];
        assert_eq!(check(&states), []);
    }

    #[test]
    fn a_server_that_differs_is_named_with_one_that_it_differs_from() {
        let states = [seen(0, 1, 11), seen(1, 1, 11), seen(2, 1, 99)];
        let [violation] = &check(&states)[..] else { panic!("one index differs") };
        assert_eq!(violation.evidence.len(), 2);
        assert!(violation.to_string().contains("server 2 has 0000000000000063"));
    }
}
