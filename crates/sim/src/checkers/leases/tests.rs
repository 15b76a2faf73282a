//! Good and bad lives of sessions.

use super::*;
use crate::history::Value;

const TTL: Duration = Duration::from_secs(10);

fn seconds(at: u64) -> Duration {
    Duration::from_secs(at)
}

fn clocks() -> Clocks {
    Clocks { drift: 0.0, slack: seconds(2) }
}

/// An operation that takes a tenth of a second.
fn operation(at: u64, action: Action, result: OperationResult) -> Operation {
    let invoked_at = seconds(at);
    let returned_at = invoked_at + Duration::from_millis(100);
    Operation { client: 1, server: 0, action, invoked_at, returned_at, result }
}

fn done(found: Found) -> OperationResult {
    OperationResult::Done { index: 1, as_of: 1, found }
}

fn create(at: u64) -> Operation {
    let action =
        Action::CreateSession { session: "s".into(), ttl: TTL, lock_delay: Duration::ZERO };
    operation(at, action, done(Found::Nothing))
}

fn renew(at: u64) -> Operation {
    operation(at, Action::Renew { session: "s".into() }, done(Found::Nothing))
}

fn renew_refused(at: u64) -> Operation {
    Operation { result: OperationResult::Unmet { index: 1 }, ..renew(at) }
}

fn look_up(at: u64, lives: bool) -> Operation {
    let (session, freshness) = ("s".into(), Freshness::Consistent);
    operation(at, Action::LookUpSession { session, freshness }, done(Found::Session(lives)))
}

fn end(at: u64) -> Operation {
    operation(at, Action::EndSession { session: "s".into() }, done(Found::Nothing))
}

fn write(at: u64) -> Operation {
    let (key, value) = ("k".into(), at as Value);
    operation(at, Action::Put { key, value }, done(Found::Nothing))
}

fn leads(server: usize, since: u64) -> Leadership {
    Leadership { server, term: since, since: seconds(since) }
}

fn headlines(operations: Vec<Operation>, leaderships: Vec<Leadership>) -> Vec<String> {
    let history = History { operations, leaderships, ..History::default() };
    check(&history, &clocks()).into_iter().map(|violation| violation.headline).collect()
}

#[test]
fn a_session_that_is_renewed_and_then_expires_is_well() {
    let life = vec![create(0), renew(6), look_up(15, true), look_up(17, false), renew_refused(18)];
    assert_eq!(headlines(life, vec![leads(0, 0)]), Vec::<String>::new());
}

#[test]
fn an_early_end_is_found() {
    let early = ["session s ended before its ttl of 10s had passed"];
    assert_eq!(headlines(vec![create(0), renew(6), look_up(15, false)], vec![]), early);
    assert_eq!(headlines(vec![create(0), renew_refused(9)], vec![]), early);
}

#[test]
fn a_renewal_acknowledged_by_a_deposed_leader_is_found() {
    // The leader of before acknowledges at 15; the one that leads since 12 never heard of it.
    let life = vec![create(4), renew(15), look_up(23, false)];
    let found = headlines(life, vec![leads(0, 0), leads(1, 12)]);
    assert_eq!(found, ["session s ended before its ttl of 10s had passed"]);
    // And here after the other one has expired it.
    let life = vec![create(0), look_up(11, false), renew(12)];
    assert_eq!(headlines(life, vec![]), ["session s had ended and lives again"]);
}

#[test]
fn an_end_that_its_holder_wished_is_not_early_but_is_final() {
    assert_eq!(headlines(vec![create(0), end(3), look_up(4, false)], vec![]), [""; 0]);
    let risen = vec![create(0), end(3), look_up(4, true)];
    assert_eq!(headlines(risen, vec![]), ["session s had ended and lives again"]);
}

#[test]
fn a_session_unknown_before_it_was_created_is_well() {
    assert_eq!(headlines(vec![look_up(0, false), create(1), look_up(2, true)], vec![]), [""; 0]);
}

#[test]
fn a_late_end_is_found_where_something_else_was_decided_meanwhile() {
    let late = |with_write: bool| {
        let mut life = vec![create(0)];
        life.extend(with_write.then(|| write(14)));
        life.push(look_up(20, true));
        life
    };
    let led = || vec![leads(0, 0)];
    assert_eq!(headlines(late(true), led()), ["session s lives although its end was due at 12.1s"]);
    assert_eq!(headlines(late(false), led()), [""; 0], "perhaps there was no quorum");
    // A new leader grants a full term.
    assert_eq!(headlines(late(true), vec![leads(0, 0), leads(1, 9)]), [""; 0]);
}

#[test]
fn who_never_returned_makes_nothing_due() {
    let mut pending = renew(5);
    pending.returned_at = Duration::MAX;
    pending.result = OperationResult::Unknown("never heard".into());
    let life = vec![create(0), pending, write(30), look_up(40, true)];
    assert_eq!(headlines(life, vec![leads(0, 0)]), [""; 0]);
}

#[test]
fn a_fast_clock_within_its_drift_is_no_early_end() {
    let operations = vec![create(0), look_up(9, false)];
    let history = History { operations, ..History::default() };
    assert_eq!(check(&history, &clocks()).len(), 1);
    assert_eq!(check(&history, &Clocks { drift: 0.15, ..clocks() }), []);
}
