//! Why a step of a transaction stood in the way, in Consul's words. They depend on what the step
//! wanted: the same denial reads otherwise for a lock than for a look.

use muster_model::command::{ObjectVerb, Operation, PairOperation, PairVerb, PutTerms};
use muster_model::outcome::Denial;

use crate::failure::Failure;

/// The words for a denial of a step.
pub(crate) fn words(operation: Option<&Operation>, denial: &Denial) -> String {
    match operation {
        Some(Operation::Pair(step)) => about_pair(step, denial),
        Some(Operation::Node { verb, node }) => {
            about_object(*verb, &format!("node {:?}", node.name), denial)
        }
        Some(Operation::Instance { verb, node, instance }) => {
            about_object(*verb, &format!("service {:?} on node {node:?}", instance.id), denial)
        }
        Some(Operation::Check { verb, node, check }) => {
            about_object(*verb, &format!("check {:?} on node {node:?}", check.id), denial)
        }
        None => usual(denial),
    }
}

fn about_pair(step: &PairOperation, denial: &Denial) -> String {
    let key = &step.key;
    match (&step.verb, denial) {
        (PairVerb::RequireSession(_), Denial::UnknownPair(_)) => {
            format!("failed to check session, key {key:?} doesn't exist")
        }
        (PairVerb::RequireIndex(_), Denial::UnknownPair(_)) => {
            format!("failed to check index, key {key:?} doesn't exist")
        }
        (_, Denial::UnknownPair(_)) => format!("key {key:?} doesn't exist"),
        (_, Denial::PairExists(_)) => format!("key {key:?} exists"),
        (PairVerb::RequireSession(wished), Denial::LockHeld(_, holder)) => format!(
            "failed session check for key {key:?}, current session {holder:?} != {wished:?}"
        ),
        (PairVerb::RequireIndex(wished), Denial::IndexIsAnother(_, own)) => {
            format!("failed index check for key {key:?}, current modify index {own} != {wished}")
        }
        (PairVerb::Put(PutTerms::Release(_)), Denial::LockHeld(..)) => {
            format!("failed to unlock key {key:?}, lock isn't held, or is held by another session")
        }
        (_, Denial::LockHeld(..)) => format!("failed to lock key {key:?}, lock is already held"),
        (_, Denial::LockDelayed(_)) => format!("failed to lock key {key:?} due to lock delay"),
        (PairVerb::DeleteIfIndex(_), Denial::IndexIsAnother(..)) => {
            format!("failed to delete key {key:?}, index is stale")
        }
        (_, Denial::IndexIsAnother(..)) => format!("failed to set key {key:?}, index is stale"),
        _ => usual(denial),
    }
}

fn about_object(verb: ObjectVerb, object: &str, denial: &Denial) -> String {
    match (verb, denial) {
        (ObjectVerb::DeleteIfIndex(_), Denial::IndexIsAnother(..)) => {
            format!("failed to delete {object}, index is stale")
        }
        (_, Denial::IndexIsAnother(..)) => format!("failed to set {object}, index is stale"),
        (
            ObjectVerb::Get,
            Denial::UnknownNode(_) | Denial::UnknownInstance(..) | Denial::UnknownCheck(..),
        ) => format!("{object} doesn't exist"),
        (_, Denial::UnknownNode(_)) => "Missing node registration".to_owned(),
        (_, Denial::UnknownInstance(..)) => "Missing service registration".to_owned(),
        _ => usual(denial),
    }
}

fn usual(denial: &Denial) -> String {
    Failure::from(denial.clone()).text.into_owned()
}
