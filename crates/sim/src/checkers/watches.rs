//! Watches: a watcher sees everything that happens under its subject, in order, once.
//!
//! Sources: what Consul promises of blocking queries and etcd of its watch (ordered, reliable,
//! atomic, resumable). Judged against what is known of the log: the writes that were acknowledged,
//! with their index. A write of unknown outcome may or may not be seen.
//! 1. **Ordered.** Indexes never fall, and those of changes grow. What is shown is not newer than
//!    the index it is shown at.
//! 2. **Complete.** What an answer shows at an index is what the log holds there: the last write
//!    of each object up to it. A stream of changes names every object that was written since the
//!    index before.
//! 3. **Nothing invented, nothing twice.** What is shown was written, and a change is named where
//!    somebody may have made it since the index before. (The first batch after going on from an
//!    index may repeat: servers cut the log into batches of their own.)
//! 4. **Awake** ([`check_awake`]). Who still watches at the end has seen everything: asked apart,
//!    since the run has to give watchers the time for it.
//!
//! The end of a session takes its lock off a pair, which changes the index of the pair and not its
//! values; pairs that were ever locked are judged with that in mind.

mod log;

use std::collections::BTreeMap;
use std::time::Duration;

use muster_model::{Index, Text};

use self::log::{Known, Log, Object, Write};
use super::Violation;
use super::story::instant;
use crate::history::{ChangeSeen, History, Seen, Sighting, Value};

const INVARIANT: &str = "watches";

/// Judges what watchers saw.
#[must_use]
pub fn check(history: &History) -> Vec<Violation> {
    let log = Log::of(&history.operations);
    let mut watchers: BTreeMap<u32, Watcher<'_>> = BTreeMap::new();
    let mut violations = Vec::new();
    for sighting in &history.sightings {
        let watcher = watchers.entry(sighting.watcher).or_insert_with(|| Watcher::new(&log));
        if let Some(headline) = watcher.see(sighting) {
            violations.push(complaint(sighting, headline));
        }
    }
    violations
}

/// Judges whether those who still watch have seen every write that was acknowledged by an instant.
#[must_use]
pub fn check_awake(history: &History, acknowledged_by: Duration) -> Vec<Violation> {
    let log = Log::of(&history.operations);
    let mut watchers: BTreeMap<u32, (Watcher<'_>, &Sighting)> = BTreeMap::new();
    for sighting in &history.sightings {
        let (watcher, last) =
            watchers.entry(sighting.watcher).or_insert_with(|| (Watcher::new(&log), sighting));
        watcher.see(sighting);
        *last = sighting;
    }
    let slept = watchers.values().filter_map(|(watcher, last)| {
        let (object, write) = watcher.known.as_ref()?.iter().find_map(|(id, object)| {
            let mut missed = object.certain_writes(watcher.reached, Index::MAX);
            Some((id, missed.find(|write| write.returned_at <= acknowledged_by)?))
        })?;
        let headline = format!("slept through the write of {object} at index {}", write.index);
        Some(complaint(last, headline))
    });
    slept.collect()
}

fn complaint(sighting: &Sighting, headline: String) -> Violation {
    let Sighting { watcher, server, seen_at, seen } = sighting;
    let at = instant(*seen_at);
    Violation {
        invariant: INVARIANT,
        headline: format!("watcher {watcher}: {headline}"),
        evidence: vec![format!("{at}  on server {server}: {seen:?}")],
    }
}

/// Where a watcher stands.
#[derive(Debug)]
struct Watcher<'a> {
    log: &'a Log<'a>,
    /// What is known of what it watches; nothing while it does not watch.
    known: Option<Known<'a>>,
    /// The last index it has seen.
    reached: Index,
    /// That of its last answer. Changes come with the index of the batch that brought them, which
    /// may be above the one at which something happened under its subject.
    answered: Index,
    /// Nothing has come since it began.
    has_just_begun: bool,
}

impl<'a> Watcher<'a> {
    fn new(log: &'a Log<'a>) -> Watcher<'a> {
        Watcher { log, known: None, reached: 0, answered: 0, has_just_begun: true }
    }

    /// Takes in what it saw; says what is wrong with it.
    fn see(&mut self, sighting: &'a Sighting) -> Option<String> {
        let complaint = match &sighting.seen {
            Seen::Began { subject, after } => {
                (self.known, self.reached) = (Some(self.log.under(subject)), *after);
                self.has_just_begun = true;
                return None;
            }
            // It goes on where it is: with an answer, and changes after that.
            Seen::Lost => {
                self.has_just_begun = true;
                return None;
            }
            Seen::Interrupted(_) => {
                self.known = None;
                return None;
            }
            Seen::Answer { index, rows } => self.judge_answer(sighting, *index, rows),
            Seen::Changes { index, objects } => self.judge_changes(sighting, *index, objects),
        };
        let (Seen::Answer { index, .. } | Seen::Changes { index, .. }) = &sighting.seen else {
            return complaint;
        };
        if let Seen::Answer { .. } = &sighting.seen {
            self.answered = *index;
        }
        self.reached = self.reached.max(*index);
        self.has_just_begun = false;
        complaint
    }

    fn judge_answer(
        &self,
        sighting: &Sighting,
        index: Index,
        rows: &[(Text, Vec<Value>, Index)],
    ) -> Option<String> {
        if index < self.answered {
            return Some(format!("went back from index {} to {index}", self.answered));
        }
        if let Some((object, _, newer)) = rows.iter().find(|(_, _, modified)| *modified > index) {
            return Some(format!("{object} was written at {newer}, shown at {index}"));
        }
        let known = self.known.as_ref()?;
        let seen_at = sighting.seen_at;
        let shown = rows.iter().find_map(|(id, values, modified)| match known.get(id) {
            Some(object) => object.deny_shown(id, values, *modified, seen_at),
            None => Some(format!("{id} was never written")),
        });
        let shown_at = |id: &Text| {
            rows.iter().find(|(shown, ..)| shown == id).map(|(_, _, modified)| *modified)
        };
        shown.or_else(|| {
            known.iter().find_map(|(id, object)| {
                object.deny_older(id, object.last_write(index)?, shown_at(id), seen_at)
            })
        })
    }

    fn judge_changes(
        &self,
        sighting: &Sighting,
        index: Index,
        objects: &[(Text, ChangeSeen)],
    ) -> Option<String> {
        if index <= self.reached {
            return Some(format!("changes at {index} came after those at {}", self.reached));
        }
        let known = self.known.as_ref()?;
        let is_named = |id: &Text| objects.iter().any(|(named, _)| named == id);
        let missed = known.iter().filter(|(id, _)| !is_named(id)).find_map(|(id, object)| {
            let write = object.certain_writes(self.reached, index).next()?;
            Some(format!("missed the write of {id} at index {}", write.index))
        });
        let after = if self.has_just_begun { 0 } else { self.reached };
        let may_have_changed = |id: &Text, change| {
            known.get(id).is_some_and(|object| {
                object.may_have_changed(change, (after, index), sighting.seen_at)
            })
        };
        missed.or_else(|| {
            let (id, change) =
                objects.iter().find(|(id, change)| !may_have_changed(id, *change))?;
            Some(format!("{id} was {change:?} at {index}, and nobody did that since {after}"))
        })
    }
}

impl Write<'_> {
    fn in_words(&self) -> String {
        let verb = if self.leaves.is_some() { "written" } else { "deleted" };
        format!("was {verb} at index {}", self.index)
    }
}

impl Object<'_> {
    /// What is wrong with a row that is shown: nobody wrote it, or not at that index.
    fn deny_shown(
        &self,
        id: &Text,
        values: &[Value],
        modified: Index,
        seen_at: Duration,
    ) -> Option<String> {
        if let Some(write) = self.write_of(values) {
            let is_right = write.index == modified || (self.was_locked && write.index < modified);
            return (!is_right).then(|| {
                format!("{id} = {values:?} is shown as of {modified}, but {}", write.in_words())
            });
        }
        let may_be = self.may_hold(values, seen_at);
        (!may_be).then(|| format!("{id} = {values:?} was never written"))
    }

    /// What is wrong with an object that is shown as of an index, or not shown, where this is known
    /// to be its last write.
    fn deny_older(
        &self,
        id: &Text,
        write: &Write<'_>,
        shown_at: Option<Index>,
        seen_at: Duration,
    ) -> Option<String> {
        let is_right = match (write.leaves, shown_at) {
            (Some(_), Some(modified)) => modified >= write.index,
            (None, Some(modified)) => modified > write.index,
            (None, None) => true,
            (Some(_), None) => self.may_be_gone(seen_at),
        };
        let shown = match shown_at {
            Some(modified) => format!("is shown as of {modified}"),
            None => "is not shown".into(),
        };
        (!is_right).then(|| format!("{id} {shown}, but {}", write.in_words()))
    }
}

#[cfg(test)]
mod tests;
