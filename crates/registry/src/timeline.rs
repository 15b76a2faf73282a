//! When an index was seen: the way from an index to a time, for people.
//!
//! The log and the state know no time, and no rule may ask for one. A server notes when it published
//! some of its indexes, at least [`SPACING_MIN`] apart, and knows the others by the one before them.
//! When there are too many notes every second one goes, so what is remembered grows coarser with the
//! time it covers and never larger.

use std::collections::VecDeque;
use std::time::Duration;

use muster_model::Index;
use tokio::time::Instant;

/// The least time between two notes.
const SPACING_MIN: Duration = Duration::from_secs(1);
/// Notes that are kept: 16 bytes each.
const NOTES_MAX: usize = 4_096;

/// Notes of when indexes were published.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    /// Nothing is known of this index and those before it; nothing before it is known at all.
    after: Option<Index>,
    notes: VecDeque<(Index, Instant)>,
    spacing: Duration,
}

impl Timeline {
    /// Begins to note, behind an index that came at a time nobody knows.
    pub(crate) fn begin(&mut self, after: Index) {
        *self = Timeline { after: Some(after), spacing: SPACING_MIN, ..Timeline::default() };
    }

    /// An index is published now.
    pub(crate) fn note(&mut self, index: Index, now: Instant) {
        let Some(after) = self.after else { return };
        let is_due = self.notes.back().is_none_or(|(_, at)| *at + self.spacing <= now);
        if index <= after || !is_due {
            return;
        }
        self.notes.push_back((index, now));
        if self.notes.len() > NOTES_MAX {
            self.thin_out();
        }
    }

    /// How long ago an index was published, if that is known: exact to the time between two notes.
    pub(crate) fn age_of(&self, index: Index, now: Instant) -> Option<Duration> {
        if self.after.is_none_or(|after| index <= after) {
            return None;
        }
        let behind = self.notes.partition_point(|(noted, _)| *noted <= index);
        let (_, at) = self.notes.get(behind.checked_sub(1)?)?;
        Some(now.saturating_duration_since(*at))
    }

    fn thin_out(&mut self) {
        self.spacing *= 2;
        let mut last: Option<Instant> = None;
        let spacing = self.spacing;
        self.notes.retain(|(_, at)| {
            let is_kept = last.is_none_or(|last| last + spacing <= *at);
            if is_kept {
                last = Some(*at);
            }
            is_kept
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn an_index_is_as_old_as_the_note_before_it() {
        let start = Instant::now();
        let mut timeline = Timeline::default();
        timeline.note(5, start);
        assert_eq!(timeline.age_of(5, start), None);
        timeline.begin(10);
        timeline.note(10, start);
        timeline.note(11, start + seconds(5));
        timeline.note(12, start + seconds(5) + Duration::from_millis(500));
        timeline.note(20, start + seconds(9));
        let now = start + seconds(10);
        let age = |index| timeline.age_of(index, now);
        assert_eq!((age(9), age(10)), (None, None));
        assert_eq!(
            (age(11), age(12), age(19)),
            (Some(seconds(5)), Some(seconds(5)), Some(seconds(5)))
        );
        assert_eq!((age(20), age(30)), (Some(seconds(1)), Some(seconds(1))));
    }

    #[test]
    fn notes_are_bounded_and_stay_exact_to_their_spacing() {
        let start = Instant::now();
        let mut timeline = Timeline::default();
        timeline.begin(0);
        let n = 10 * NOTES_MAX as u64;
        for second in 1..=n {
            timeline.note(second, start + seconds(second));
        }
        assert!(timeline.notes.len() <= NOTES_MAX);
        for index in (1..=n).step_by(97) {
            let age = timeline.age_of(index, start + seconds(n)).unwrap();
            let exact = seconds(n - index);
            assert!(age >= exact && age <= exact + timeline.spacing, "{index}: {age:?}");
        }
    }
}
