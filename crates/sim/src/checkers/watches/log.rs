//! What is known of the log from what clients were told.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included};
use std::time::Duration;

use muster_model::{Index, Text};

use crate::history::{Action, ChangeSeen, Operation, OperationResult, Value, Watched};

/// Writes of all objects, as far as clients know them.
#[derive(Debug, Default)]
pub(super) struct Log<'a> {
    /// By the service of an instance (nothing: a pair) and the id or key.
    objects: BTreeMap<(Option<&'a Text>, &'a Text), Object<'a>>,
}

/// What is known of the objects under one subject.
pub(super) type Known<'a> = BTreeMap<&'a Text, &'a Object<'a>>;

/// What is known of one object.
#[derive(Debug, Default)]
pub(super) struct Object<'a> {
    /// Writes that were acknowledged, by index.
    writes: BTreeMap<Index, Write<'a>>,
    /// Writes whose outcome nobody knows.
    perhaps: Vec<Write<'a>>,
    /// Whether it was ever locked: then the end of a session may change its index.
    pub(super) was_locked: bool,
}

/// A write.
#[derive(Debug)]
pub(super) struct Write<'a> {
    /// 0 where nobody knows it.
    pub(super) index: Index,
    pub(super) invoked_at: Duration,
    pub(super) returned_at: Duration,
    /// Nothing for a deletion.
    pub(super) leaves: Option<Contents<'a>>,
}

/// What a write leaves: a list and one value at its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contents<'a> {
    list: &'a [Value],
    value: Value,
}

impl Contents<'_> {
    pub(super) fn are(&self, values: &[Value]) -> bool {
        values.split_last() == Some((&self.value, self.list))
    }
}

impl<'a> Log<'a> {
    pub(super) fn of(operations: &'a [Operation]) -> Log<'a> {
        let mut log = Log::default();
        for operation in operations {
            log.hear(operation);
        }
        log
    }

    /// What is known of the objects under a subject.
    pub(super) fn under(&'a self, subject: &Watched) -> Known<'a> {
        let objects = self.objects.iter().filter(|((service, id), _)| match subject {
            Watched::PairsUnder(prefix) => service.is_none() && id.starts_with(prefix.as_str()),
            Watched::Service(name) => *service == Some(name),
        });
        objects.map(|((_, id), object)| (*id, object)).collect()
    }

    fn hear(&mut self, operation: &'a Operation) {
        let Some((id, leaves)) = effect_of(&operation.action) else { return };
        let object = self.objects.entry(id).or_default();
        object.was_locked |=
            matches!(operation.action, Action::Acquire { .. } | Action::Release { .. });
        let (invoked_at, returned_at) = (operation.invoked_at, operation.returned_at);
        let write = |index| Write { index, invoked_at, returned_at, leaves };
        match &operation.result {
            OperationResult::Done { index, .. } => {
                object.writes.insert(*index, write(*index));
            }
            OperationResult::Unknown(_) => object.perhaps.push(write(0)),
            OperationResult::Failed(_) | OperationResult::Unmet { .. } => {}
        }
    }
}

impl<'a> Object<'a> {
    /// The last acknowledged write up to an index.
    pub(super) fn last_write(&self, up_to: Index) -> Option<&Write<'a>> {
        Some(self.writes.range(..=up_to).next_back()?.1)
    }

    /// The first acknowledged write after an index and up to another that changed something for
    /// certain: a deletion may have found nothing to delete.
    pub(super) fn certain_writes(
        &self,
        after: Index,
        up_to: Index,
    ) -> impl Iterator<Item = &Write<'a>> {
        let within = self.writes.range((Excluded(after), Included(up_to.max(after))));
        let certain = within
            .filter(|(index, write)| write.leaves.is_some() || self.was_there_before(**index));
        certain.map(|(_, write)| write)
    }

    /// The acknowledged write that left these values.
    pub(super) fn write_of(&self, values: &[Value]) -> Option<&Write<'a>> {
        let mut writes = self.writes.values();
        writes.find(|write| write.leaves.is_some_and(|contents| contents.are(values)))
    }

    /// Whether a write of unknown outcome left these values.
    pub(super) fn may_hold(&self, values: &[Value], by: Duration) -> bool {
        let holds = |contents: Contents<'_>| contents.are(values);
        self.perhaps(by).any(|perhaps| perhaps.leaves.is_some_and(holds))
    }

    /// Whether a deletion of unknown outcome took it away.
    pub(super) fn may_be_gone(&self, by: Duration) -> bool {
        self.perhaps(by).any(|perhaps| perhaps.leaves.is_none())
    }

    /// Whether a change within two indexes, the first one not included, may have been made.
    pub(super) fn may_have_changed(
        &self,
        change: ChangeSeen,
        (after, up_to): (Index, Index),
        by: Duration,
    ) -> bool {
        let fits = |write: &Write<'_>| write.leaves.is_some() == (change != ChangeSeen::Removed);
        let mut within = self.writes.range((Excluded(after), Included(up_to.max(after))));
        self.was_locked || within.any(|(_, write)| fits(write)) || self.perhaps(by).any(fits)
    }

    fn perhaps(&self, by: Duration) -> impl Iterator<Item = &Write<'a>> {
        self.perhaps.iter().filter(move |perhaps| perhaps.invoked_at <= by)
    }

    /// Whether it certainly was there just before an index.
    fn was_there_before(&self, index: Index) -> bool {
        let last = self.writes.range(..index).next_back();
        last.is_some_and(|(_, write)| write.leaves.is_some()) && !self.may_be_gone(Duration::MAX)
    }
}

type ObjectId<'a> = (Option<&'a Text>, &'a Text);

/// The object that a write is about, and what it leaves.
fn effect_of(action: &Action) -> Option<(ObjectId<'_>, Option<Contents<'_>>)> {
    let only = |value: &Value| Some(Contents { list: &[], value: *value });
    match action {
        Action::Put { key, value }
        | Action::PutIf { key, value, .. }
        | Action::Acquire { key, value, .. }
        | Action::Release { key, value, .. } => Some(((None, key), only(value))),
        Action::Append { key, value, if_values, .. } => {
            Some(((None, key), Some(Contents { list: if_values, value: *value })))
        }
        Action::Delete { key } => Some(((None, key), None)),
        Action::Register { service, instance, value, .. } => {
            Some(((Some(service), instance), only(value)))
        }
        Action::Deregister { service, instance, .. } => Some(((Some(service), instance), None)),
        _ => None,
    }
}
