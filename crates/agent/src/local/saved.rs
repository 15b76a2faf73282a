//! What is saved of an agent's own things, as records of its journal.

use std::collections::BTreeMap;
use std::time::Duration;

use minicbor::{Decode, Encode};
use muster_model::command::Target;
use muster_model::definition::CheckDefinition;
use muster_model::{Check, Instance, Status, Text};

/// One record of the journal. The numbers are never used again for something else.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(super) enum Record {
    /// A client registered an instance.
    #[n(0)]
    Instance(#[n(0)] SavedInstance),
    /// A client registered a check, or switched maintenance on.
    #[n(1)]
    Check(#[n(0)] SavedCheck),
    /// It is no longer vouched for, or a file declares it now.
    #[n(2)]
    Withdrawn(#[n(0)] Target),
    /// The last word on a TTL check.
    #[n(3)]
    Word(#[n(0)] SavedWord),
}

/// An instance with the token it is written to the catalog with.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(super) struct SavedInstance {
    #[n(0)]
    pub(super) instance: Instance,
    #[n(1)]
    pub(super) token: Text,
}

/// A check, its rule, and the token it is written to the catalog with.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(super) struct SavedCheck {
    #[n(0)]
    pub(super) check: Check,
    #[n(1)]
    pub(super) definition: CheckDefinition,
    #[n(2)]
    pub(super) token: Text,
}

/// A word on a TTL check, and until when it holds.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(super) struct SavedWord {
    #[n(0)]
    pub(super) check_id: Text,
    #[n(1)]
    pub(super) status: Status,
    #[n(2)]
    pub(super) output: Text,
    /// By the wall clock, since 1970: the word has to outlive the process.
    #[n(3)]
    pub(super) holds_until: Duration,
}

/// What the records of a journal come to.
#[derive(Debug, Default)]
pub(super) struct Saved {
    pub(super) instances: BTreeMap<Text, SavedInstance>,
    pub(super) checks: BTreeMap<Text, SavedCheck>,
    pub(super) words: BTreeMap<Text, SavedWord>,
}

impl Saved {
    pub(super) fn fold(&mut self, record: Record) {
        match record {
            Record::Instance(saved) => {
                self.instances.insert(saved.instance.id.clone(), saved);
            }
            Record::Check(saved) => {
                self.checks.insert(saved.check.id.clone(), saved);
            }
            Record::Withdrawn(Target::Instance(id)) => {
                self.instances.remove(&id);
            }
            Record::Withdrawn(Target::Check(id)) => {
                self.checks.remove(&id);
                self.words.remove(&id);
            }
            Record::Withdrawn(Target::Node) => {}
            Record::Word(word) => {
                self.words.insert(word.check_id.clone(), word);
            }
        }
    }

    /// The fewest records that come to the same.
    pub(super) fn into_records(self) -> impl Iterator<Item = Record> {
        let instances = self.instances.into_values().map(Record::Instance);
        let checks = self.checks.into_values().map(Record::Check);
        instances.chain(checks).chain(self.words.into_values().map(Record::Word))
    }
}
