//! Good and bad watchers.

use super::*;
use crate::history::{Action, Found, Operation, OperationResult};

fn at(index: Index) -> Duration {
    Duration::from_secs(index)
}

/// A write that took effect at an index, a second for each.
fn write(index: Index, action: Action) -> Operation {
    let result = OperationResult::Done { index, as_of: index, found: Found::Nothing };
    let (invoked_at, returned_at) = (at(index), at(index) + Duration::from_millis(1));
    Operation { client: 1, server: 0, action, invoked_at, returned_at, result }
}

fn put(index: Index, key: &str) -> Operation {
    write(index, Action::Put { key: key.into(), value: index })
}

fn delete(index: Index, key: &str) -> Operation {
    write(index, Action::Delete { key: key.into() })
}

fn acquire(index: Index, key: &str) -> Operation {
    write(index, Action::Acquire { key: key.into(), session: "s".into(), value: index })
}

fn unknown(operation: Operation) -> Operation {
    Operation { result: OperationResult::Unknown("timed out".into()), ..operation }
}

fn began(after: Index) -> Seen {
    Seen::Began { subject: Watched::PairsUnder("w/".into()), after }
}

fn answer(index: Index, rows: &[(&str, Value, Index)]) -> Seen {
    let row =
        |(key, value, modified): &(&str, Value, Index)| (Text::from(*key), vec![*value], *modified);
    Seen::Answer { index, rows: rows.iter().map(row).collect() }
}

fn changes(index: Index, objects: &[(&str, ChangeSeen)]) -> Seen {
    let object = |(key, change): &(&str, ChangeSeen)| (Text::from(*key), *change);
    Seen::Changes { index, objects: objects.iter().map(object).collect() }
}

fn history(operations: Vec<Operation>, seen: Vec<Seen>) -> History {
    let sighting = |seen| Sighting { watcher: 1, server: 0, seen_at: at(100), seen };
    let sightings = seen.into_iter().map(sighting).collect();
    History { operations, sightings, ..History::default() }
}

fn headlines(operations: Vec<Operation>, seen: Vec<Seen>) -> Vec<String> {
    let violations = check(&history(operations, seen));
    violations.into_iter().map(|violation| violation.headline).collect()
}

use ChangeSeen::{Changed, Created, Removed};

use crate::history::Watched;

#[test]
fn answers_that_show_what_the_log_holds_are_well() {
    let log = vec![put(2, "w/a"), put(3, "w/b"), delete(5, "w/a"), put(6, "other")];
    let seen = vec![
        began(0),
        answer(1, &[]),
        answer(2, &[("w/a", 2, 2)]),
        answer(3, &[("w/a", 2, 2), ("w/b", 3, 3)]),
        Seen::Interrupted("killed".into()),
        began(3),
        answer(5, &[("w/b", 3, 3)]),
    ];
    assert_eq!(headlines(log, seen), [""; 0]);
}

#[test]
fn an_answer_that_lacks_a_write_or_shows_an_old_one_is_found() {
    let log = || vec![put(2, "w/a"), put(3, "w/a"), delete(5, "w/a")];
    assert_eq!(
        headlines(log(), vec![began(0), answer(4, &[])]),
        ["watcher 1: w/a is not shown, but was written at index 3"]
    );
    assert_eq!(
        headlines(log(), vec![began(0), answer(4, &[("w/a", 2, 2)])]),
        ["watcher 1: w/a is shown as of 2, but was written at index 3"]
    );
    assert_eq!(
        headlines(log(), vec![began(0), answer(5, &[("w/a", 3, 3)])]),
        ["watcher 1: w/a is shown as of 3, but was deleted at index 5"]
    );
}

#[test]
fn an_answer_that_goes_back_or_invents_is_found() {
    let log = || vec![put(2, "w/a"), put(3, "w/b")];
    let both: &[(&str, Value, Index)] = &[("w/a", 2, 2), ("w/b", 3, 3)];
    let back = vec![began(0), answer(3, both), answer(2, &[("w/a", 2, 2)])];
    assert_eq!(headlines(log(), back), ["watcher 1: went back from index 3 to 2"]);
    let invented = vec![began(0), answer(3, &[("w/a", 9, 2), ("w/b", 3, 3)])];
    assert_eq!(headlines(log(), invented), ["watcher 1: w/a = [9] was never written"]);
    let stranger = vec![began(0), answer(3, &[both, &[("w/c", 9, 3)]].concat())];
    assert_eq!(headlines(log(), stranger), ["watcher 1: w/c was never written"]);
    let misdated = vec![began(0), answer(4, &[("w/a", 2, 4), ("w/b", 3, 3)])];
    let found = headlines(log(), misdated);
    assert_eq!(found, ["watcher 1: w/a = [2] is shown as of 4, but was written at index 2"]);
    let early = vec![began(0), answer(2, both)];
    assert_eq!(headlines(log(), early), ["watcher 1: w/b was written at 3, shown at 2"]);
}

#[test]
fn a_write_of_unknown_outcome_may_be_shown_or_not() {
    let log = || vec![put(2, "w/a"), unknown(put(7, "w/a")), unknown(delete(8, "w/a"))];
    for rows in [&[][..], &[("w/a", 2, 2)], &[("w/a", 7, 4)]] {
        assert_eq!(headlines(log(), vec![began(0), answer(5, rows)]), [""; 0]);
    }
}

#[test]
fn the_end_of_a_session_changes_the_index_of_its_lock_alone() {
    let seen = vec![began(0), answer(2, &[("w/l", 2, 2)]), answer(9, &[("w/l", 2, 9)])];
    assert_eq!(headlines(vec![acquire(2, "w/l")], seen), [""; 0]);
}

#[test]
fn changes_that_name_every_write_once_are_well() {
    let log = vec![put(2, "w/a"), put(3, "w/b"), put(4, "w/a"), delete(6, "w/b"), put(7, "x")];
    let seen = vec![
        began(0),
        changes(3, &[("w/a", Created), ("w/b", Created)]),
        changes(4, &[("w/a", Changed)]),
        Seen::Interrupted("partitioned".into()),
        began(4),
        // This server cut the log elsewhere: its batch reaches back before 4.
        changes(6, &[("w/a", Changed), ("w/b", Removed)]),
    ];
    assert_eq!(headlines(log, seen), [""; 0]);
}

#[test]
fn changes_that_miss_repeat_or_go_back_are_found() {
    let log = || vec![put(2, "w/a"), put(3, "w/b"), put(4, "w/a")];
    let missed = vec![began(0), changes(2, &[("w/a", Created)]), changes(4, &[("w/a", Changed)])];
    assert_eq!(headlines(log(), missed), ["watcher 1: missed the write of w/b at index 3"]);
    let repeated = vec![
        began(1),
        changes(3, &[("w/a", Created), ("w/b", Created)]),
        changes(4, &[("w/a", Changed), ("w/b", Changed)]),
    ];
    assert_eq!(
        headlines(log(), repeated),
        ["watcher 1: w/b was Changed at 4, and nobody did that since 3"]
    );
    let back = vec![
        began(0),
        changes(3, &[("w/a", Created), ("w/b", Created)]),
        changes(2, &[("w/a", Created)]),
    ];
    assert_eq!(headlines(log(), back), ["watcher 1: changes at 2 came after those at 3"]);
}

#[test]
fn who_was_told_that_it_came_too_late_starts_afresh() {
    let log = || vec![put(2, "w/a"), put(3, "w/b"), put(4, "w/a")];
    let seen = vec![
        began(0),
        changes(2, &[("w/a", Created)]),
        Seen::Lost,
        answer(4, &[("w/a", 4, 4), ("w/b", 3, 3)]),
        changes(6, &[("w/a", Changed)]),
        // The batch reached up to 6, the last write under the subject was at 5.
        Seen::Lost,
        answer(5, &[("w/a", 5, 5), ("w/b", 3, 3)]),
    ];
    assert_eq!(headlines([log(), vec![put(5, "w/a")]].concat(), seen), [""; 0]);
    let blind = vec![began(0), Seen::Lost, answer(4, &[("w/a", 4, 4)])];
    assert_eq!(
        headlines(log(), blind),
        ["watcher 1: w/b is not shown, but was written at index 3"]
    );
}

#[test]
fn a_watcher_that_sleeps_is_found() {
    let log = || vec![put(2, "w/a"), put(3, "w/a"), delete(5, "w/nothing")];
    let slept = history(log(), vec![began(0), answer(2, &[("w/a", 2, 2)])]);
    let found = check_awake(&slept, at(10));
    assert_eq!(found.len(), 1);
    assert!(found[0].headline.ends_with("slept through the write of w/a at index 3"));
    assert_eq!(check_awake(&slept, at(2) + Duration::from_millis(1)), [], "asked too soon");
    let awake = history(log(), vec![began(0), answer(3, &[("w/a", 3, 3)])]);
    assert_eq!(check_awake(&awake, at(10)), []);
}

#[test]
fn instances_of_a_service_are_watched_as_keys_are() {
    let register = |index| {
        let (node, service, instance) = ("n".into(), "web".into(), "i".into());
        write(index, Action::Register { node, service, instance, value: index })
    };
    let seen = |index| {
        let subject = Watched::Service("web".into());
        vec![Seen::Began { subject, after: 0 }, answer(index, &[("i", 2, 2)])]
    };
    assert_eq!(headlines(vec![register(2), put(3, "i")], seen(3)), [""; 0]);
    assert_eq!(
        headlines(vec![register(2), register(3)], seen(3)),
        ["watcher 1: i is shown as of 2, but was written at index 3"]
    );
}
