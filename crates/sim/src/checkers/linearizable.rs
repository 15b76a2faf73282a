//! Linearizability: every operation took effect at one moment between its call and its return.
//!
//! Source: M. Herlihy, J. Wing, "Linearizability: a correctness condition for concurrent objects",
//! 1990. A history is linearizable if that of each object is, so each key and each service is
//! judged by itself:
//! - `register`: a key; `service`: the instances of a service: what their calls need and leave;
//! - `search`, over a `list`: the search for an order in which every client heard the truth;
//! - `counterexample`: the least part of a bad history that is still bad, for people.
//!
//! Stale reads promise no order and are passed over. So are operations that certainly failed.
//! Operations whose outcome is unknown may take effect at any time after their call, or never.

mod counterexample;
mod list;
mod register;
mod search;
mod service;

use std::collections::BTreeMap;

use muster_model::Text;

use self::register::Register;
use self::search::{Found, search};
use self::service::Service;
use crate::checkers::Violation;
use crate::history::{Action, History, Operation};

/// Steps that a search remembers before it gives up: about 200 MB.
pub const N_REMEMBERED_MAX: usize = 2_000_000;

/// What is judged by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// A key of the store.
    Key(Text),
    /// A service of the catalog.
    Service(Text),
}

/// What became of the judgment of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order.
    Linearizable,
    /// There is none: operations, in the order of their calls, that cannot be put in any.
    Violated(Vec<Operation>),
    /// Nobody knows: the search needed more memory than it may have.
    GaveUp,
}

/// Judges every object of a history.
#[must_use]
pub fn check(history: &History) -> Vec<Violation> {
    let objects = by_object(&history.operations);
    objects.iter().filter_map(|(object, operations)| complaint(object, operations)).collect()
}

/// Judges one object by the operations on it, remembering at most `n_remembered_max` steps.
#[must_use]
pub fn judge(object: &Object, operations: &[&Operation], n_remembered_max: usize) -> Verdict {
    match order_of(object, operations, n_remembered_max) {
        Found::Order(_) => Verdict::Linearizable,
        Found::GaveUp(_) => Verdict::GaveUp,
        Found::Nothing { stuck_at } => {
            Verdict::Violated(counterexample::least(object, operations, stuck_at))
        }
    }
}

/// The operations on each object, in the order of their calls.
#[must_use]
pub fn by_object(operations: &[Operation]) -> BTreeMap<Object, Vec<&Operation>> {
    let mut objects: BTreeMap<Object, Vec<&Operation>> = BTreeMap::new();
    for operation in operations {
        if let Some(object) = object_of(&operation.action) {
            objects.entry(object).or_default().push(operation);
        }
    }
    objects
}

/// The object that an action is about. Sessions are none: their leases are judged elsewhere.
fn object_of(action: &Action) -> Option<Object> {
    let subject = action.subject().clone();
    match action {
        Action::CreateSession { .. }
        | Action::Renew { .. }
        | Action::LookUpSession { .. }
        | Action::EndSession { .. } => None,
        Action::Register { .. } | Action::Deregister { .. } | Action::List { .. } => {
            Some(Object::Service(subject))
        }
        _ => Some(Object::Key(subject)),
    }
}

fn order_of(object: &Object, operations: &[&Operation], n_remembered_max: usize) -> Found {
    match object {
        Object::Key(_) => {
            let mut register = Register::of(operations);
            search(&register.calls.clone(), &mut register, n_remembered_max)
        }
        Object::Service(_) => {
            let mut service = Service::of(operations);
            search(&service.calls.clone(), &mut service, n_remembered_max)
        }
    }
}

fn complaint(object: &Object, operations: &[&Operation]) -> Option<Violation> {
    let named = match object {
        Object::Key(key) => format!("key {key}"),
        Object::Service(name) => format!("service {name}"),
    };
    let invariant = "linearizability";
    match judge(object, operations, N_REMEMBERED_MAX) {
        Verdict::Linearizable => None,
        Verdict::GaveUp => {
            let n = operations.len();
            let headline = format!("{named}: gave up looking for an order of {n} operations");
            Some(Violation::new(invariant, headline, &[]))
        }
        Verdict::Violated(least) => {
            let headline = format!("{named}: no order of these gives every client what it heard");
            Some(Violation::new(invariant, headline, &least.iter().collect::<Vec<_>>()))
        }
    }
}

#[cfg(test)]
mod tests;
