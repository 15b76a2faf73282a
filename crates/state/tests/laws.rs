//! The laws of the state, held against random histories.
//!
//! Over a small world of names, where everything collides with everything:
//! - the index of an answer never falls, whatever happens;
//! - an answer that became another names a scope that the command touched, and its index is the
//!   command's; an answer whose scopes were not touched is the same;
//! - a command that did nothing names no change;
//! - two replicas say the same, and a state that was saved and loaded is the same state;
//! - what is answered is what a second, naive implementation answers (`naive/`).

mod naive;
mod world;

use std::collections::BTreeSet;

use muster_model::answer::{Answer, Body};
use muster_model::scope::Change;
use muster_model::{Command, Query, Scope};
use muster_state::State;
use naive::Naive;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn an_answer_moves_exactly_when_a_scope_of_it_is_touched(
        history in proptest::collection::vec(world::any_command(), 1..60)
    ) {
        let questions = world::questions();
        let mut state = State::default();
        let mut answers: Vec<Answer> = questions.iter().map(|own| state.answer(own)).collect();
        for (number, command) in history.iter().enumerate() {
            let index = number as u64 + 1;
            let (_, changes) = state.apply(index, command);
            let is_reaping = matches!(command, Command::ReapTombstones { .. });
            for (query, before) in questions.iter().zip(&mut answers) {
                let after = state.answer(query);
                hold_to_the_laws(&Step { query, command, changes: &changes, index, is_reaping },
                    before, &after)?;
                *before = after;
            }
        }
    }

    #[test]
    fn replicas_and_snapshots_are_equal(
        history in proptest::collection::vec(world::any_command(), 1..60)
    ) {
        let (mut state, mut replica) = (State::default(), State::default());
        for (number, command) in history.iter().enumerate() {
            let index = number as u64 + 1;
            let said = state.apply(index, command);
            prop_assert_eq!(&said, &replica.apply(index, command));
            // Half of the time the replica goes on from a snapshot.
            let saved: Vec<_> = replica.save().collect();
            let loaded = State::load(&saved).unwrap();
            prop_assert_eq!(loaded.hash(), state.hash());
            for query in world::questions() {
                let (own, others) = (state.answer(&query), loaded.answer(&query));
                prop_assert_eq!(own.index, others.index, "{:?}", query);
                prop_assert_eq!(shown(&own.body), shown(&others.body), "{:?}", query);
            }
            if index.is_multiple_of(2) {
                replica = loaded;
            }
        }
    }

    #[test]
    fn a_naive_second_implementation_agrees(
        history in proptest::collection::vec(world::plain_command(), 1..60)
    ) {
        let (mut state, mut naive) = (State::default(), Naive::default());
        for (number, command) in history.iter().enumerate() {
            let index = number as u64 + 1;
            let (outcome, changes) = state.apply(index, command);
            let before = naive.clone();
            prop_assert_eq!(naive.apply(index, command), outcome, "{:?}", command);
            prop_assert_eq!(changes.is_empty(), before.is_same_data(&naive), "{:?}", command);
            for service in ["web", "db"] {
                for health in world::HEALTHS {
                    let found = world::instances(&state, service, health);
                    prop_assert_eq!(found, naive.instances(service, health));
                }
            }
            prop_assert_eq!(world::services(&state), naive.services());
            prop_assert_eq!(world::checks(&state), naive.checks());
            prop_assert_eq!(world::pairs(&state), naive.pairs());
            prop_assert_eq!(world::sessions(&state), naive.sessions());
            prop_assert_eq!(world::usage(&state), naive.usage());
        }
    }

    #[test]
    fn a_damaged_snapshot_is_refused_or_whole(
        history in proptest::collection::vec(world::any_command(), 1..20),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let mut state = State::default();
        for (number, command) in history.iter().enumerate() {
            state.apply(number as u64 + 1, command);
        }
        let mut bytes: Vec<u8> = state.save().flat_map(Vec::from).collect();
        let cut = at.index(bytes.len());
        prop_assert!(State::load([&bytes[..cut]]).is_err(), "a state cut short is recognized");
        bytes[cut] ^= 1 << bit;
        // A checksum over the block is its keeper's: here only nothing may break.
        let _ = State::load([&bytes]);
    }
}

/// One command and one question around it.
struct Step<'a> {
    query: &'a Query,
    command: &'a Command,
    changes: &'a [Change],
    index: u64,
    is_reaping: bool,
}

fn hold_to_the_laws(step: &Step, before: &Answer, after: &Answer) -> Result<(), TestCaseError> {
    let Step { query, command, changes, index, is_reaping } = step;
    prop_assert!(
        after.index >= before.index,
        "{query:?} fell from {} to {} at {command:?}",
        before.index,
        after.index
    );
    let is_same = shown(&before.body) == shown(&after.body);
    let is_touched = changes.iter().any(|change| touches(change, &before.scopes));
    let is_sorted_by_distance = !before.is_lasting;
    if !is_same && !is_sorted_by_distance {
        prop_assert!(is_touched, "{query:?} is another, untouched, at {command:?}: {changes:?}");
    }
    if is_touched {
        prop_assert_eq!(after.index, *index, "{:?} was touched at {:?}", query, command);
    } else if !is_reaping && !is_floored(after) {
        prop_assert_eq!(after.index, before.index, "{:?} untouched at {:?}", query, command);
    }
    Ok(())
}

/// Whether an index may rise without a change: the floor of what is not there rises with whatever
/// of its family vanishes.
fn is_floored(answer: &Answer) -> bool {
    let may_be_absent = |scope: &Scope| {
        matches!(
            scope,
            Scope::Node(_)
                | Scope::Service(_)
                | Scope::Session(_)
                | Scope::SessionsOf(_)
                | Scope::Coordinate(_)
                | Scope::Settings(_)
        )
    };
    let is_empty = match &answer.body {
        Body::Node(found) => found.is_none(),
        Body::Instances(found) => found.is_empty(),
        Body::Checks(found) => found.is_empty(),
        Body::Sessions(found) => found.is_empty(),
        Body::Coordinates(found) => found.is_empty(),
        Body::Settings(found) => found.is_empty(),
        Body::Transacted(found) => found.is_err(),
        Body::Prepared(found) => found.as_ref().is_none_or(|own| own.instances.is_empty()),
        _ => false,
    };
    is_empty && answer.scopes.iter().any(may_be_absent)
}

/// Whether a change touches one of some scopes: a pair's also those of its prefixes.
fn touches(change: &Change, scopes: &[Scope]) -> bool {
    let touched: BTreeSet<&Scope> = change.scopes.iter().collect();
    scopes.iter().any(|scope| match scope {
        Scope::PairsUnder(prefix) => change
            .scopes
            .iter()
            .any(|own| matches!(own, Scope::Pair(key) if key.starts_with(prefix.as_str()))),
        _ => touched.contains(scope),
    })
}

fn shown(body: &Body) -> String {
    format!("{body:?}")
}
