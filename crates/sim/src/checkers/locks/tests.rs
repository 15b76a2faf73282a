//! Good and bad histories of a lock.

use super::*;
use crate::history::{Freshness, Value};

const TTL: Duration = Duration::from_secs(10);
const LOCK_DELAY: Duration = Duration::from_secs(3);

/// An operation that takes a tenth of a second; its index is its second.
fn operation(at: u64, action: Action, found: Found) -> Operation {
    let invoked_at = Duration::from_secs(at);
    let returned_at = invoked_at + Duration::from_millis(100);
    let result = OperationResult::Done { index: at, as_of: at, found };
    Operation { client: 1, server: 0, action, invoked_at, returned_at, result }
}

fn create(at: u64, session: &str) -> Operation {
    let session = session.into();
    let action = Action::CreateSession { session, ttl: TTL, lock_delay: LOCK_DELAY };
    operation(at, action, Found::Nothing)
}

fn renew(at: u64, session: &str) -> Operation {
    operation(at, Action::Renew { session: session.into() }, Found::Nothing)
}

fn end(at: u64, session: &str) -> Operation {
    operation(at, Action::EndSession { session: session.into() }, Found::Nothing)
}

fn acquire(at: u64, session: &str) -> Operation {
    let (key, session, value) = ("lock".into(), session.into(), at as Value);
    operation(at, Action::Acquire { key, session, value }, Found::Nothing)
}

fn release(at: u64, session: &str) -> Operation {
    let (key, session, value) = ("lock".into(), session.into(), at as Value);
    operation(at, Action::Release { key, session, value }, Found::Nothing)
}

fn delete(at: u64) -> Operation {
    operation(at, Action::Delete { key: "lock".into() }, Found::Nothing)
}

fn read(at: u64, session: &str, lock_index: Index) -> Operation {
    let pair = PairSeen {
        values: vec![at],
        create_index: 1,
        modify_index: at,
        lock_index,
        session: session.into(),
    };
    let action = Action::Read { key: "lock".into(), freshness: Freshness::Stale };
    operation(at, action, Found::Pair(Some(pair)))
}

fn unknown(operation: Operation) -> Operation {
    Operation { result: OperationResult::Unknown("timed out".into()), ..operation }
}

fn headlines(operations: Vec<Operation>) -> Vec<String> {
    let history = History { operations, ..History::default() };
    let violations = check(&history, &Clocks::default());
    violations.into_iter().map(|violation| violation.headline).collect()
}

const TWO_HOLDERS: &str = "lock: b acquired it while a held it";

#[test]
fn a_lock_may_change_hands_in_every_way_that_lets_it_go() {
    let begin = || vec![create(1, "a"), create(1, "b"), acquire(2, "a")];
    for let_go in [release(3, "a"), delete(3), end(3, "a"), unknown(release(3, "a"))] {
        let history = [begin(), vec![let_go, acquire(4, "b")]].concat();
        assert_eq!(headlines(history), [""; 0]);
    }
    let expired = [begin(), vec![renew(5, "a"), acquire(18, "b")]].concat();
    assert_eq!(headlines(expired), [""; 0]);
    let again = [begin(), vec![acquire(3, "a")]].concat();
    assert_eq!(headlines(again), [""; 0]);
}

#[test]
fn two_holders_are_found() {
    let begin = || vec![create(1, "a"), create(1, "b"), acquire(2, "a")];
    assert_eq!(headlines([begin(), vec![acquire(4, "b")]].concat()), [TWO_HOLDERS]);
    // Released too, but only later.
    let late = vec![acquire(4, "b"), release(5, "a")];
    let found = headlines([begin(), late].concat());
    assert_eq!(found[0], TWO_HOLDERS);
    assert_eq!(found[1], "lock: a holds it and has not acquired it last");
}

#[test]
fn who_takes_the_lock_within_ttl_and_lock_delay_of_a_renewal_is_found() {
    let history =
        vec![create(1, "a"), create(1, "b"), acquire(2, "a"), renew(5, "a"), acquire(17, "b")];
    assert_eq!(headlines(history), [TWO_HOLDERS]);
}

#[test]
fn a_session_renewed_after_another_took_its_lock_is_found() {
    let history =
        vec![create(1, "a"), create(1, "b"), acquire(2, "a"), acquire(40, "b"), renew(50, "a")];
    assert_eq!(headlines(history), [TWO_HOLDERS]);
}

#[test]
fn a_lock_index_that_does_not_tell_holders_apart_is_found() {
    let begin =
        || vec![create(1, "a"), create(1, "b"), acquire(2, "a"), release(5, "a"), acquire(7, "b")];
    let good = vec![read(3, "a", 1), read(5, "", 1), read(8, "b", 2)];
    assert_eq!(headlines([begin(), good].concat()), [""; 0]);
    let shared = vec![read(3, "a", 1), read(5, "", 1), read(8, "b", 1)];
    assert_eq!(headlines([begin(), shared].concat()), ["lock: two holders share a lock index"]);
    let falls = vec![read(3, "a", 4), read(8, "b", 2)];
    assert_eq!(headlines([begin(), falls].concat()), ["lock: the lock index falls"]);
}

#[test]
fn a_holder_that_never_acquired_is_found() {
    let begin = || vec![create(1, "a"), create(1, "b"), acquire(2, "a")];
    let shown = vec![read(3, "b", 1)];
    assert_eq!(
        headlines([begin(), shown.clone()].concat()),
        ["lock: b holds it and has not acquired it last"]
    );
    let perhaps = vec![unknown(acquire(2, "b"))];
    assert_eq!(headlines([begin(), perhaps, shown].concat()), [""; 0]);
}
