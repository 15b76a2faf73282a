//! Which check runs when.
//!
//! A check runs first soon after it was declared, so that a new instance is found soon; when
//! thousands are declared at once (a restart), their first runs are spread so that they neither
//! fall on one moment nor on each later one: the pause is counted from the end of the run before,
//! which keeps them apart.
//!
//! A check is in the schedule or out on its run, never both. What was replaced or removed while it
//! ran is known by its turn, a number that no other declaration had.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_model::Text;
use rand::Rng;

use crate::Moment;

/// A check runs first about this much later than the one declared before it.
const FIRST_RUN_SPREAD: Duration = Duration::from_millis(2);

/// No check runs more often than this.
pub const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Which check runs when.
#[derive(Debug, Default)]
pub struct Schedule {
    waiting: BTreeSet<(Moment, Text)>,
    entries: BTreeMap<Text, Entry>,
    n_first_runs_waiting: u32,
    last_turn: u64,
}

#[derive(Debug)]
struct Entry {
    interval: Duration,
    turn: Turn,
    /// Nothing while it runs.
    due_at: Option<Moment>,
    has_run: bool,
}

/// Tells the declarations of a check apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn(u64);

impl Schedule {
    /// Adds a check, or begins anew with one that is there.
    pub fn add(&mut self, id: Text, interval: Duration, now: Moment, chance: &mut impl Rng) {
        self.remove(&id);
        let interval = interval.max(INTERVAL_MIN);
        let due_at = now + self.first_run_after(interval, chance);
        self.last_turn += 1;
        self.n_first_runs_waiting += 1;
        self.waiting.insert((due_at, id.clone()));
        let turn = Turn(self.last_turn);
        let entry = Entry { interval, turn, due_at: Some(due_at), has_run: false };
        self.entries.insert(id, entry);
    }

    /// Forgets a check. If it runs, the end of that run will mean nothing.
    pub fn remove(&mut self, id: &Text) {
        let Some(entry) = self.entries.remove(id) else { return };
        if let Some(due_at) = entry.due_at {
            self.waiting.remove(&(due_at, id.clone()));
        }
        if !entry.has_run {
            self.n_first_runs_waiting -= 1;
        }
    }

    /// A check whose run is due, which from now on is out on its run.
    pub fn start_due(&mut self, now: Moment) -> Option<(Text, Turn)> {
        let (due_at, _) = self.waiting.first()?;
        if *due_at > now {
            return None;
        }
        let (_, id) = self.waiting.pop_first()?;
        let entry = self.entries.get_mut(&id).expect("what waits has an entry");
        entry.due_at = None;
        if !entry.has_run {
            entry.has_run = true;
            self.n_first_runs_waiting -= 1;
        }
        Some((id, entry.turn))
    }

    /// A run ended; the next one follows after the interval. Whether the run still counts: not if
    /// the check was replaced or removed meanwhile.
    pub fn end(&mut self, id: &Text, turn: Turn, now: Moment) -> bool {
        let Some(entry) = self.entries.get_mut(id) else { return false };
        if entry.turn != turn || entry.due_at.is_some() {
            return false;
        }
        let due_at = now + entry.interval;
        entry.due_at = Some(due_at);
        self.waiting.insert((due_at, id.clone()));
        true
    }

    /// In line behind those that wait for their first run; anywhere in the interval where the line
    /// is longer than that.
    fn first_run_after(&self, interval: Duration, chance: &mut impl Rng) -> Duration {
        let line = FIRST_RUN_SPREAD * self.n_first_runs_waiting;
        match line < interval {
            true => line + FIRST_RUN_SPREAD.mul_f64(chance.random_range(0.0..1.0)),
            false => interval.mul_f64(chance.random_range(0.0..1.0)),
        }
    }

    /// When the next run is due.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.waiting.first().map(|(due_at, _)| *due_at)
    }

    /// Checks in the schedule or out on their run.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    fn at(millis: u64) -> Moment {
        Moment::after_start(Duration::from_millis(millis))
    }

    #[test]
    fn the_first_run_of_a_single_check_follows_at_once() {
        let mut chance = SmallRng::seed_from_u64(1);
        let mut schedule = Schedule::default();
        schedule.add("a".into(), INTERVAL, at(0), &mut chance);
        assert!(schedule.start_due(at(2)).is_some());
    }

    #[test]
    fn the_next_run_is_an_interval_after_the_end_of_the_last() {
        let mut chance = SmallRng::seed_from_u64(1);
        let mut schedule = Schedule::default();
        schedule.add("a".into(), INTERVAL, at(0), &mut chance);
        let (id, turn) = schedule.start_due(at(2)).unwrap();
        assert_eq!(schedule.next_deadline(), None, "a run in progress is not started again");
        assert!(schedule.end(&id, turn, at(4_000)));
        assert_eq!(schedule.next_deadline(), Some(at(14_000)));
        assert!(!schedule.end(&id, turn, at(5_000)), "a run ends once");
    }

    #[test]
    fn the_end_of_a_run_of_a_replaced_check_means_nothing() {
        let mut chance = SmallRng::seed_from_u64(1);
        let mut schedule = Schedule::default();
        schedule.add("a".into(), INTERVAL, at(0), &mut chance);
        let (id, turn) = schedule.start_due(at(2)).unwrap();
        schedule.add("a".into(), INTERVAL, at(3), &mut chance);
        assert!(!schedule.end(&id, turn, at(4)));
        let (_, second) = schedule.start_due(at(5)).unwrap();
        schedule.remove(&id);
        assert!(!schedule.end(&id, second, at(6)));
        assert!(schedule.is_empty());
    }

    #[test]
    fn thousands_of_first_runs_are_spread_and_stay_apart() {
        let mut chance = SmallRng::seed_from_u64(7);
        let mut schedule = Schedule::default();
        for number in 0..5_000 {
            schedule.add(format!("c{number}").into(), INTERVAL, at(0), &mut chance);
        }
        let mut busiest = 0;
        let mut n_runs = 0;
        for millis in (0..40_000).step_by(100) {
            let mut n_started = 0;
            while let Some((id, turn)) = schedule.start_due(at(millis)) {
                n_started += 1;
                assert!(schedule.end(&id, turn, at(millis)));
            }
            n_runs += n_started;
            busiest = busiest.max(n_started);
        }
        assert!((19_000..=20_000).contains(&n_runs), "{n_runs} runs in 40 s");
        assert!(busiest <= 55, "{busiest} runs within 100 ms");
    }
}
