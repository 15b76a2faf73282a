//! The least part of a bad history that is still bad, for people to read.
//!
//! First the history is cut after the return that no order gets past: what was invoked later is
//! dropped, what returned later has an unknown outcome. Then only the last operations are kept, and
//! the writes whose contents they found, if that is enough. Then operations are taken out, many at
//! a time and then fewer, as long as what is left is bad. Only what proves nothing against the rest
//! is ever taken out (looks, and writes that nobody found), for without a write that somebody found
//! any history is bad.

use std::time::Duration;

use super::search::Found;
use super::{N_REMEMBERED_MAX, Object, order_of, register, service};
use crate::history::{Operation, OperationResult};

/// Steps remembered in one trial. A trial that needs more proves nothing.
const TRIAL_REMEMBERED_MAX: usize = 20_000;
/// Trials made at most: beyond it the counterexample is what has been reached.
const TRIALS_MAX: usize = 600;
/// How many of the last operations are tried first.
const WINDOW_MIN: usize = 16;

/// A small part of the history of an object that has no order, where the whole gets past no order
/// of the calls that return by `stuck_at`.
pub(super) fn least(
    object: &Object,
    operations: &[&Operation],
    stuck_at: Duration,
) -> Vec<Operation> {
    let mut all = up_to(operations, stuck_at);
    if !is_bad(object, &all, N_REMEMBERED_MAX) {
        // What was heard later decided it.
        all = operations.iter().map(|operation| (*operation).clone()).collect();
    }
    let mut kept = last_of(object, all);
    let mut n_trials = 0;
    let mut n_at_once = kept.len().div_ceil(2);
    while n_at_once > 0 {
        let mut from = 0;
        let mut has_shrunk = false;
        while from < kept.len() && n_trials < TRIALS_MAX {
            n_trials += 1;
            let upto = (from + n_at_once).min(kept.len());
            let fewer = without(object, &kept, from..upto);
            if fewer.len() < kept.len() && is_bad(object, &fewer, TRIAL_REMEMBERED_MAX) {
                kept = fewer;
                has_shrunk = true;
            } else {
                from = upto;
            }
        }
        // What could not go may be able to once others have gone.
        n_at_once = if has_shrunk && n_at_once == 1 { 1 } else { n_at_once / 2 };
    }
    kept
}

fn is_bad(object: &Object, operations: &[Operation], n_remembered_max: usize) -> bool {
    let operations: Vec<&Operation> = operations.iter().collect();
    matches!(order_of(object, &operations, n_remembered_max), Found::Nothing { .. })
}

fn up_to(operations: &[&Operation], end: Duration) -> Vec<Operation> {
    let begun = operations.iter().filter(|operation| operation.invoked_at <= end);
    let cut = begun.map(|operation| {
        let mut operation = (*operation).clone();
        if operation.returned_at > end {
            operation.result = OperationResult::Unknown("had not returned yet".into());
        }
        operation
    });
    cut.collect()
}

/// As few of the last operations as are bad, with the writes whose contents they found.
fn last_of(object: &Object, all: Vec<Operation>) -> Vec<Operation> {
    let is_unmet = |one: &Operation| matches!(one.result, OperationResult::Unmet { .. });
    let met: Vec<Operation> = all.iter().filter(|one| !is_unmet(one)).cloned().collect();
    let mut n_last = WINDOW_MIN;
    while n_last < met.len() {
        let few = without(object, &met, 0..met.len() - n_last);
        if is_bad(object, &few, TRIAL_REMEMBERED_MAX) {
            return few;
        }
        n_last *= 2;
    }
    all
}

/// What is left if those in a range are taken out that prove nothing.
fn without(
    object: &Object,
    operations: &[Operation],
    range: std::ops::Range<usize>,
) -> Vec<Operation> {
    match object {
        Object::Key(_) => register::without(operations, range),
        Object::Service(_) => service::without(operations, range),
    }
}
