//! The guard's promises one by one, and a naive second opinion that looks back over everything.

use std::time::Duration;

use muster_health::Moment;
use muster_health::guard::{Crowd, Guard, Settings, Share, Verdict};
use proptest::prelude::*;

fn at(seconds: u64) -> Moment {
    Moment::after_start(Duration::from_secs(seconds))
}

fn guard() -> Guard<u32> {
    Guard::new(Settings::default())
}

fn of_nodes(population: usize) -> [Share; 1] {
    [Share { crowd: Crowd::Nodes, population }]
}

fn of_service(population: usize) -> [Share; 1] {
    [Share { crowd: Crowd::Service("web".into()), population }]
}

/// How many of `subjects` proceed if all fail at `now`.
fn n_proceeding(
    guard: &mut Guard<u32>,
    subjects: std::ops::Range<u32>,
    shares: &[Share],
    now: Moment,
) -> usize {
    let verdicts = subjects.map(|subject| guard.judge(&subject, shares, now));
    verdicts.filter(|verdict| *verdict == Verdict::Proceed).count()
}

#[test]
fn one_of_one_and_all_of_three_and_all_of_four_fail_at_once() {
    for population in [1, 3, 4] {
        for shares in [of_nodes(population), of_service(population)] {
            let mut guard = guard();
            let n = n_proceeding(&mut guard, 0..population as u32, &shares, at(0));
            assert_eq!(n, population);
        }
    }
}

#[test]
fn beyond_a_third_of_all_nodes_or_half_of_a_service_failure_is_doubted() {
    assert_eq!(n_proceeding(&mut guard(), 0..100, &of_nodes(100), at(0)), 33);
    assert_eq!(n_proceeding(&mut guard(), 0..100, &of_service(100), at(0)), 50);
    assert_eq!(n_proceeding(&mut guard(), 0..5, &of_nodes(5), at(0)), 4, "the fifth is doubted");
}

#[test]
fn failures_farther_apart_than_the_window_do_not_add_up() {
    let mut guard = guard();
    for subject in 0..100 {
        let now = at(u64::from(subject) * 10);
        assert_eq!(guard.judge(&subject, &of_nodes(9), now), Verdict::Proceed);
    }
    assert_eq!(guard.next_deadline(), None);
}

#[test]
fn a_failure_that_spreads_slowly_is_believed_up_to_one_bound_only() {
    let mut guard = guard();
    let mut n = 0;
    for subject in 0..100 {
        let now = at(u64::from(subject));
        n += n_proceeding(&mut guard, subject..subject + 1, &of_nodes(80), now);
    }
    // The 27th is beyond a third of 80, and so is everybody after it although the window moves on.
    assert_eq!(n, 26);
}

#[test]
fn what_was_removed_a_moment_ago_does_not_lower_the_bound() {
    let mut guard = guard();
    for subject in 0..5 {
        let left = 10 - subject as usize;
        assert_eq!(guard.judge(&subject, &of_service(left), at(0)), Verdict::Proceed);
    }
    assert_eq!(guard.judge(&5, &of_service(5), at(0)), Verdict::Doubted, "6 of 10");
}

#[test]
fn a_subject_is_doubted_if_any_of_its_crowds_is_beyond_its_bound() {
    let shares = [of_nodes(1_000), of_service(6)].concat();
    let mut guard = guard();
    assert_eq!(n_proceeding(&mut guard, 0..6, &shares, at(0)), 4);
    let why = guard.doubt_of(&5).unwrap();
    assert_eq!(why.to_string(), "6 of 6 with web failed within 30 s");
    let others = n_proceeding(&mut guard, 10..20, &of_nodes(1_000), at(1));
    assert_eq!(others, 10, "the other nodes are in no doubt");
}

#[test]
fn asking_again_changes_nothing() {
    let mut guard = guard();
    for _ in 0..3 {
        assert_eq!(n_proceeding(&mut guard, 0..100, &of_nodes(100), at(0)), 33);
    }
}

#[test]
fn a_tenth_of_the_most_is_released_each_minute_oldest_first() {
    let mut guard = guard();
    n_proceeding(&mut guard, 0..20, &of_nodes(30), at(0));
    n_proceeding(&mut guard, 20..30, &of_nodes(30), at(1));
    let line: Vec<u32> = guard.doubted().map(|(subject, _)| *subject).collect();
    assert_eq!(line, (10..30).collect::<Vec<u32>>());
    assert_eq!(guard.next_deadline(), Some(at(60)));
    assert_eq!(guard.release(at(59)), Vec::<u32>::new());
    assert_eq!(guard.release(at(60)), [10, 11]);
    assert_eq!(guard.judge(&10, &of_nodes(20), at(61)), Verdict::Proceed, "and stays released");
    assert_eq!(guard.release(at(61)), Vec::<u32>::new());
    assert_eq!(guard.release(at(180)), [12, 13, 14, 15], "a late call makes up for it");
    assert_eq!(guard.release(at(600)).len(), 14);
    assert_eq!((guard.next_deadline(), guard.open().count()), (None, 0));
}

#[test]
fn nobody_is_doubted_for_longer_than_fifteen_minutes() {
    let settings = Settings { release_percent: 1, ..Settings::default() };
    let mut guard = Guard::new(settings);
    n_proceeding(&mut guard, 0..100, &of_nodes(100), at(0));
    for minute in 1..15 {
        assert_eq!(guard.release(at(minute * 60)).len(), 1);
    }
    assert_eq!(guard.release(at(900)).len(), 67 - 14);
}

#[test]
fn who_recovers_is_forgotten() {
    let mut guard = guard();
    n_proceeding(&mut guard, 0..10, &of_nodes(10), at(0));
    assert!(!guard.recover(&0), "this one was believed");
    assert!(guard.recover(&9));
    assert!((4..9).all(|subject| guard.recover(&subject)));
    assert_eq!(guard.next_deadline(), None);
    assert_eq!(guard.judge(&9, &of_nodes(10), at(1)), Verdict::Proceed, "3 others have failed");
}

#[test]
fn the_failures_of_ordinary_days_do_not_keep_the_guard_open() {
    let mut guard = guard();
    n_proceeding(&mut guard, 0..1_000, &of_nodes(1_000), at(0));
    for minute in 1..15 {
        guard.judge(&(1_000 + minute), &of_nodes(1_000), at(u64::from(minute) * 60 - 30));
        guard.release(at(u64::from(minute) * 60));
    }
    assert_eq!(guard.open().count(), 0);
    assert_eq!(guard.judge(&2_000, &of_nodes(1_000), at(900)), Verdict::Proceed);
}

#[test]
fn switched_off_it_releases_everybody_and_doubts_nobody() {
    let mut guard = guard();
    n_proceeding(&mut guard, 0..100, &of_nodes(100), at(0));
    guard.reconfigure(Settings { is_on: false, ..Settings::default() });
    assert!(guard.next_deadline().is_some_and(|deadline| deadline <= at(1)));
    assert_eq!(guard.release(at(1)).len(), 67);
    assert_eq!(n_proceeding(&mut guard, 100..200, &of_nodes(100), at(1)), 100);
}

#[test]
fn what_an_earlier_leader_doubted_stays_doubted_for_a_full_term() {
    let mut guard = guard();
    for subject in 0..20 {
        guard.inherit(&subject, &of_nodes(30)[0], at(100));
    }
    assert_eq!(guard.judge(&3, &of_nodes(30), at(100)), Verdict::Doubted);
    assert_eq!(guard.judge(&25, &of_nodes(30), at(100)), Verdict::Doubted, "the guard is open");
    assert_eq!(guard.release(at(160)), [0, 1, 2]);
}

// ------------------------------------------------------------------------------------------------
// A naive second opinion
// ------------------------------------------------------------------------------------------------

/// The rules word for word over plain lists.
#[derive(Default)]
struct Naive {
    failures: Vec<Failure>,
    lines: Vec<Line>,
}

struct Failure {
    subject: u32,
    at: Moment,
    shares: Vec<Share>,
}

struct Line {
    crowd: Crowd,
    doubted: Vec<(Moment, u32)>,
    most: usize,
    next_release_at: Moment,
}

impl Naive {
    fn line_of(&mut self, crowd: &Crowd) -> &mut Line {
        if let Some(found) = self.lines.iter().position(|line| line.crowd == *crowd) {
            return &mut self.lines[found];
        }
        let (crowd, next_release_at) = (crowd.clone(), at(0));
        self.lines.push(Line { crowd, doubted: Vec::new(), most: 0, next_release_at });
        self.lines.last_mut().expect("one was pushed")
    }

    fn is_doubted(&self, subject: u32) -> bool {
        self.lines.iter().any(|line| line.doubted.iter().any(|(_, who)| *who == subject))
    }

    fn judge(&mut self, subject: u32, shares: &[Share], now: Moment) -> Verdict {
        self.failures.retain(|failure| now < failure.at + Duration::from_secs(30));
        if self.is_doubted(subject) {
            return Verdict::Doubted;
        }
        if self.failures.iter().any(|failure| failure.subject == subject) {
            return Verdict::Proceed;
        }
        self.failures.push(Failure { subject, at: now, shares: shares.to_vec() });
        for share in shares {
            let counted = self.failures.iter().flat_map(|failure| &failure.shares);
            let populations: Vec<usize> = counted
                .filter(|other| other.crowd == share.crowd)
                .map(|other| other.population)
                .collect();
            let n = populations.len();
            let whole = populations.into_iter().max().unwrap_or(0).max(n);
            let parts = if share.crowd == Crowd::Nodes { 3 } else { 2 };
            let line = self.line_of(&share.crowd);
            if (n >= 5 && n * parts > whole) || !line.doubted.is_empty() {
                if line.doubted.is_empty() {
                    line.most = 0;
                    line.next_release_at = now + Duration::from_secs(60);
                }
                line.doubted.push((now, subject));
                line.doubted.sort();
                line.most = line.most.max(line.doubted.len());
                return Verdict::Doubted;
            }
        }
        Verdict::Proceed
    }

    fn recover(&mut self, subject: u32) {
        self.failures.retain(|failure| failure.subject != subject);
        for line in &mut self.lines {
            line.doubted.retain(|(_, who)| *who != subject);
        }
    }

    fn release(&mut self, now: Moment) -> Vec<u32> {
        let mut due = Vec::new();
        for line in &mut self.lines {
            while !line.doubted.is_empty() && line.next_release_at <= now {
                let n = line.most.div_ceil(10).min(line.doubted.len());
                due.extend(line.doubted.drain(..n).map(|(_, who)| who));
                line.next_release_at = line.next_release_at + Duration::from_secs(60);
            }
            let limit = Duration::from_secs(900);
            due.extend(line.doubted.extract_if(.., |(at, _)| *at + limit <= now).map(|d| d.1));
        }
        for subject in &due {
            self.failures.retain(|failure| failure.subject != *subject);
            let (subject, shares) = (*subject, Vec::new());
            self.failures.push(Failure { subject, at: now, shares });
        }
        due.sort_unstable();
        due
    }
}

#[derive(Clone, Debug)]
enum Step {
    Fail(u32),
    FailMany(u32, u32),
    Recover(u32),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_u32..40).prop_map(Step::Fail),
        2 => (0_u32..40, 1_u32..30).prop_map(|(from, n)| Step::FailMany(from, n)),
        2 => (0_u32..40).prop_map(Step::Recover),
        3 => (1_u64..90).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..120)
}

/// Every subject is a node; some carry one service, some another, some both.
fn shares_of(subject: u32, n_alive: usize) -> Vec<Share> {
    let mut shares = vec![Share { crowd: Crowd::Nodes, population: n_alive }];
    for (name, carries) in [("a", subject.is_multiple_of(2)), ("b", subject.is_multiple_of(3))] {
        if carries {
            let crowd = Crowd::Service(name.into());
            shares.push(Share { crowd, population: n_alive / 2 });
        }
    }
    shares
}

proptest! {
    #[test]
    fn the_guard_agrees_with_looking_back_over_everything(
        steps in steps(),
        n_alive in 10_usize..60,
    ) {
        let (mut guard, mut naive) = (guard(), Naive::default());
        let mut now = 0;
        for step in steps {
            match step {
                Step::Wait(seconds) => {
                    now += seconds;
                    let mut released = guard.release(at(now));
                    released.sort_unstable();
                    prop_assert_eq!(released, naive.release(at(now)));
                }
                Step::Recover(subject) => {
                    let was_doubted = naive.is_doubted(subject);
                    prop_assert_eq!(guard.recover(&subject), was_doubted);
                    naive.recover(subject);
                }
                Step::Fail(_) | Step::FailMany(..) => {
                    let (from, n) = match step {
                        Step::FailMany(from, n) => (from, n),
                        Step::Fail(subject) => (subject, 1),
                        _ => unreachable!(),
                    };
                    for subject in from..from + n {
                        let shares = shares_of(subject, n_alive);
                        let verdict = guard.judge(&subject, &shares, at(now));
                        prop_assert_eq!(verdict, naive.judge(subject, &shares, at(now)));
                    }
                }
            }
            let doubted: Vec<u32> = guard.doubted().map(|(subject, _)| *subject).collect();
            let theirs: Vec<u32> = (0..80).filter(|subject| naive.is_doubted(*subject)).collect();
            prop_assert_eq!(doubted, theirs);
        }
    }

    /// The promise itself, whatever the rule behind it.
    #[test]
    fn no_window_sees_more_than_the_bound_proceed_and_everybody_is_told_in_the_end(
        pauses in prop::collection::vec(0_u64..6, 1..120),
        population in 1_usize..150,
    ) {
        let mut guard = guard();
        let mut proceeded: Vec<u64> = Vec::new();
        let mut now = 0;
        for (subject, pause) in (0..).zip(pauses) {
            now += pause;
            if guard.judge(&subject, &of_nodes(population), at(now)) == Verdict::Proceed {
                proceeded.push(now);
            }
            let n = proceeded.iter().filter(|then| **then + 30 > now).count();
            let whole = population.max(n);
            prop_assert!(n < 5 || n * 3 <= whole, "{} of {}", n, whole);
        }
        let last = at(now);
        while let Some(deadline) = guard.next_deadline() {
            prop_assert!(deadline <= last + Duration::from_secs(900));
            prop_assert!(!guard.release(deadline).is_empty(), "a deadline is never for nothing");
        }
        prop_assert_eq!(guard.doubted().count(), 0);
    }
}
