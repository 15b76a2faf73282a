//! The simplest judge: nothing that was acknowledged is lost, and no index goes backwards.
//!
//! It needs no search and so sees little, but what it sees is certain. Every acknowledged write of
//! a key has an index; a linearizable read that begins after the acknowledgment must find that
//! write or a later one. What happens between is for a checker of linearizability.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_model::{Index, Text};

use crate::history::{Action, Found, Freshness, History, Operation, OperationResult, PairSeen};

/// What was acknowledged of one key up to some moment.
#[derive(Clone, Copy, Default)]
struct Acknowledged {
    index: Index,
    is_deletion: bool,
}

/// What is wrong with a history, in words; nothing, if all is well.
#[must_use]
pub fn judge(history: &History) -> Vec<String> {
    let mut writes: BTreeMap<&Text, Vec<(Duration, Acknowledged)>> = BTreeMap::new();
    for operation in &history.operations {
        if let Some((key, acknowledged)) = acknowledged_by(operation) {
            writes.entry(key).or_default().push((operation.returned_at, acknowledged));
        }
    }
    let reads = history.operations.iter().filter_map(|operation| {
        let (key, pair, as_of) = read_by(operation)?;
        let before = writes.get(key)?.iter().filter(|(at, _)| *at < operation.invoked_at);
        let last = before.map(|(_, acknowledged)| *acknowledged).max_by_key(|last| last.index)?;
        let why = contradiction(pair, as_of, last)?;
        Some(format!("{why}: {operation:?}"))
    });
    reads.collect()
}

fn acknowledged_by(operation: &Operation) -> Option<(&Text, Acknowledged)> {
    let OperationResult::Done { index, .. } = operation.result else { return None };
    let is_deletion = match &operation.action {
        Action::Put { .. }
        | Action::PutIf { .. }
        | Action::Append { .. }
        | Action::Acquire { .. }
        | Action::Release { .. } => false,
        Action::Delete { .. } => true,
        _ => return None,
    };
    Some((operation.action.subject(), Acknowledged { index, is_deletion }))
}

fn read_by(operation: &Operation) -> Option<(&Text, Option<&PairSeen>, Index)> {
    let Action::Read { key, freshness } = &operation.action else { return None };
    let OperationResult::Done { as_of, found: Found::Pair(pair), .. } = &operation.result else {
        return None;
    };
    (*freshness != Freshness::Stale).then_some((key, pair.as_ref(), *as_of))
}

fn contradiction(
    pair: Option<&PairSeen>,
    as_of: Index,
    last: Acknowledged,
) -> Option<&'static str> {
    match pair {
        _ if as_of < last.index => Some("a read of a state older than what was acknowledged"),
        Some(pair) if last.is_deletion && pair.create_index < last.index => {
            Some("a deletion that was acknowledged is undone")
        }
        Some(pair) if pair.modify_index < last.index => {
            Some("a write that was acknowledged is lost")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64, action: Action, index: Index, found: Found) -> Operation {
        Operation {
            client: 0,
            server: 0,
            action,
            invoked_at: Duration::from_millis(ms),
            returned_at: Duration::from_millis(ms + 1),
            result: OperationResult::Done { index, as_of: index, found },
        }
    }

    fn put(ms: u64, index: Index) -> Operation {
        at(ms, Action::Put { key: "k".into(), value: index }, index, Found::Nothing)
    }

    fn read(ms: u64, as_of: Index, indexes: Option<(Index, Index)>) -> Operation {
        let seen = |(create_index, modify_index)| PairSeen {
            values: Vec::new(),
            create_index,
            modify_index,
            lock_index: 0,
            session: Text::default(),
        };
        let action = Action::Read { key: "k".into(), freshness: Freshness::Default };
        at(ms, action, as_of, Found::Pair(indexes.map(seen)))
    }

    fn complaints(operations: Vec<Operation>) -> usize {
        judge(&History { operations, ..History::default() }).len()
    }

    #[test]
    fn a_read_that_misses_an_acknowledged_write_is_found() {
        assert_eq!(complaints(vec![put(0, 5), read(10, 5, Some((5, 5)))]), 0);
        assert_eq!(complaints(vec![put(0, 5), read(10, 4, Some((3, 3)))]), 1);
        assert_eq!(complaints(vec![put(0, 5), read(10, 6, Some((3, 3)))]), 1);
        // It began before the write was acknowledged.
        assert_eq!(complaints(vec![put(0, 5), read(1, 4, Some((3, 3)))]), 0);
        // Somebody may have deleted it.
        assert_eq!(complaints(vec![put(0, 5), read(10, 6, None)]), 0);
    }

    #[test]
    fn a_deletion_that_is_undone_is_found() {
        let delete = || at(10, Action::Delete { key: "k".into() }, 6, Found::Nothing);
        let undone = vec![put(0, 5), delete(), read(20, 6, Some((5, 5)))];
        assert_eq!(complaints(undone), 1);
        let anew = vec![put(0, 5), delete(), put(20, 7), read(30, 7, Some((7, 7)))];
        assert_eq!(complaints(anew), 0);
    }
}
