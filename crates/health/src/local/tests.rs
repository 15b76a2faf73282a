//! Declaring, observing, renewing, maintenance and reload, on a clock turned by hand.

use std::time::Duration;

use muster_model::definition::Rule;
use rand::SeedableRng;

use super::*;
use crate::check::{Heard, Observation};

fn local() -> Local {
    Local::new(Settings::default(), SmallRng::seed_from_u64(1))
}

fn at(seconds: u64) -> Moment {
    Moment::after_start(Duration::from_secs(seconds))
}

fn web(checks: Vec<CheckDeclaration>) -> InstanceDeclaration {
    let instance = Instance { service: "web".into(), ..Instance::default() };
    InstanceDeclaration { instance, checks, ..InstanceDeclaration::default() }
}

fn tcp(id: &str) -> CheckDeclaration {
    let rule = Rule::Tcp { address: "a:1".into(), use_tls: false, tls: Default::default() };
    let check = Check { id: id.into(), ..Check::default() };
    let definition = CheckDefinition { rule, ..CheckDefinition::default() };
    CheckDeclaration { check, definition, source: Source::Client }
}

fn ttl(id: &str, seconds: u64) -> CheckDeclaration {
    let rule = Rule::Ttl { ttl: Duration::from_secs(seconds) };
    CheckDeclaration { definition: CheckDefinition { rule, ..Default::default() }, ..tcp(id) }
}

fn passing(output: &str) -> Observation {
    Observation { status: Status::Passing, output: output.into() }
}

fn critical() -> Observation {
    Observation { status: Status::Critical, output: "refused".into() }
}

#[test]
fn checks_without_an_id_are_numbered_under_their_instance() {
    let mut local = local();
    local.declare_instance(web(vec![tcp("")]), at(0)).unwrap();
    assert_eq!(local.check("service:web").unwrap().check.name, "Service 'web' check");
    local.declare_instance(web(vec![tcp(""), tcp("own"), tcp("")]), at(0)).unwrap();
    let ids = local.check_ids_about("web");
    assert_eq!(ids, ["own", "service:web", "service:web:1", "service:web:3"]);
}

#[test]
fn a_check_declared_again_keeps_its_word_and_one_not_mentioned_stays() {
    let mut local = local();
    local.declare_instance(web(vec![tcp("a"), tcp("b")]), at(0)).unwrap();
    local.observe(&"a".into(), passing("ok"), at(1));
    local.declare_instance(web(vec![tcp("a")]), at(2)).unwrap();
    assert_eq!(local.check("a").unwrap().check.output, "ok");
    assert!(local.check("b").is_some());
    let replacing = InstanceDeclaration { replace_checks: true, ..web(vec![tcp("a")]) };
    local.declare_instance(replacing, at(3)).unwrap();
    assert!(local.check("b").is_none());
    assert_eq!(local.check("a").unwrap().check.status, Status::Passing);
}

#[test]
fn the_same_rule_declared_again_is_the_same_pointer() {
    let mut local = local();
    local.declare_instance(web(vec![tcp("a")]), at(0)).unwrap();
    let first = local.check("a").unwrap().definition.clone();
    local.declare_instance(web(vec![tcp("a")]), at(0)).unwrap();
    assert!(Arc::ptr_eq(&first, &local.check("a").unwrap().definition));
    local.declare_instance(web(vec![ttl("a", 5)]), at(0)).unwrap();
    assert!(!Arc::ptr_eq(&first, &local.check("a").unwrap().definition));
}

#[test]
fn a_check_of_an_instance_nobody_declared_does_not_fit() {
    let mut local = local();
    let mut orphan = tcp("a");
    orphan.check.instance_id = "gone".into();
    let refused = local.declare_check(orphan, at(0));
    assert_eq!(refused, Err(Unfit::UnknownInstance("gone".into())));
    assert!(local.take_changes().is_empty());
}

#[test]
fn only_ttl_checks_take_a_callers_word() {
    let mut local = local();
    local.declare_instance(web(vec![tcp("a"), ttl("t", 10)]), at(0)).unwrap();
    assert_eq!(local.renew(&"t".into(), passing(""), at(1)), Ok(Heard::Status));
    assert_eq!(local.renew(&"t".into(), passing(""), at(2)), Ok(Heard::Nothing));
    assert_eq!(local.renew(&"a".into(), passing(""), at(1)), Err(Unfit::NotTtl("a".into())));
    assert!(matches!(local.renew(&"x".into(), passing(""), at(1)), Err(Unfit::UnknownCheck(_))));
}

#[test]
fn a_ttl_check_expires_after_its_last_renewal_and_not_before() {
    let mut local = local();
    local.declare_instance(web(vec![ttl("t", 10)]), at(0)).unwrap();
    for second in 1..50 {
        local.renew(&"t".into(), passing(""), at(second)).unwrap();
        local.advance(at(second));
    }
    local.advance(at(58));
    assert_eq!(local.check("t").unwrap().check.status, Status::Passing);
    assert!(local.next_deadline().unwrap() <= at(59));
    local.advance(at(59));
    assert_eq!(local.check("t").unwrap().check.status, Status::Critical);
}

#[test]
fn an_instance_critical_for_too_long_is_withdrawn_with_its_checks() {
    let mut local = local();
    let mut check = tcp("a");
    check.definition.deregister_critical_after = Duration::from_secs(90);
    local.declare_instance(web(vec![check]), at(0)).unwrap();
    local.observe(&"a".into(), critical(), at(10));
    local.observe(&"a".into(), passing(""), at(60));
    local.observe(&"a".into(), critical(), at(70));
    local.observe(&"a".into(), critical(), at(150));
    local.advance(at(159));
    assert!(local.instance("web").is_some(), "a good result begins the time anew");
    local.advance(at(160));
    assert!(local.instance("web").is_none() && local.check("a").is_none());
    let node = muster_model::Node::default();
    let wishes: Vec<_> = std::iter::from_fn(|| local.next_wish(&node)).collect();
    assert!(
        wishes.iter().all(|wish| matches!(wish.command, muster_model::Command::Deregister { .. }))
    );
}

#[test]
fn a_new_output_alone_waits_half_to_one_and_a_half_of_its_interval() {
    let mut local = local();
    local.declare_instance(web(vec![tcp("a")]), at(0)).unwrap();
    local.observe(&"a".into(), passing("one"), at(0));
    let node = muster_model::Node::default();
    while let Some(wish) = local.next_wish(&node) {
        local.settle(&wish.told, crate::sync::Settlement::Granted);
    }
    assert_eq!(local.observe(&"a".into(), passing("two"), at(1)), Heard::Output);
    assert_eq!(local.check("a").unwrap().check.output, "two", "the agent itself shows it at once");
    local.advance(at(1 + 150 - 1));
    assert!(local.is_in_sync());
    local.advance(at(1 + 450));
    assert!(!local.is_in_sync());
}

#[test]
fn maintenance_twice_is_once() {
    let mut local = local();
    local.declare_instance(web(vec![]), at(0)).unwrap();
    let web = Text::from("web");
    local.take_changes();
    let id = local.maintain(Some(&web), Some("upgrade".into()), at(0)).unwrap();
    local.maintain(Some(&web), Some("again".into()), at(0)).unwrap();
    assert_eq!(local.take_changes().len(), 1);
    assert_eq!(local.check(&id).unwrap().check.notes, "upgrade");
    assert_eq!(local.status_of("web"), Some(Status::Critical));
    local.maintain(Some(&web), None, at(0)).unwrap();
    local.maintain(Some(&web), None, at(0)).unwrap();
    assert_eq!(local.take_changes(), [LocalChange::Withdrawn(Target::Check(id))]);
    assert!(local.maintain(Some(&"gone".into()), None, at(0)).is_err());
}

#[test]
fn a_reload_withdraws_what_files_no_longer_mention_and_nothing_of_clients() {
    let mut local = local();
    local.declare_instance(web(vec![tcp("a")]), at(0)).unwrap();
    let file = |service: &str, check: &str| {
        let mut declaration = web(vec![tcp(check)]);
        declaration.instance.service = service.into();
        declaration
    };
    let both = vec![file("db", "d"), file("cache", "c")];
    let files = FileDeclarations { instances: both, checks: vec![tcp("disk")] };
    assert!(local.reload(files, at(1)).is_empty());
    local.observe(&"d".into(), passing("ok"), at(2));
    let files = FileDeclarations { instances: vec![file("db", "d")], checks: vec![] };
    local.reload(files, at(3));
    assert!(local.instance("cache").is_none() && local.check("c").is_none());
    assert!(local.check("disk").is_none());
    assert_eq!(local.check("d").unwrap().check.status, Status::Passing);
    assert!(local.instance("web").is_some() && local.check("a").is_some());
}

#[test]
fn a_check_knows_since_when_it_has_its_status_if_it_was_seen_to_begin() {
    let mut local = local();
    local.declare_instance(web(vec![tcp("a"), ttl("t", 10)]), at(0)).unwrap();
    let pulse = |local: &Local, id: &str| {
        let pulse = local.check(id).unwrap().pulse().clone();
        (pulse.status_since(), pulse.heard_at())
    };
    assert_eq!(pulse(&local, "a"), (None, None));
    local.observe(&"a".into(), passing("ok"), at(1));
    assert_eq!(pulse(&local, "a"), (None, Some(at(1))), "it may have passed for long");
    local.observe(&"a".into(), critical(), at(5));
    local.observe(&"a".into(), critical(), at(9));
    assert_eq!(pulse(&local, "a"), (Some(at(5)), Some(at(9))));
    local.declare_instance(web(vec![tcp("a")]), at(11)).unwrap();
    assert_eq!(pulse(&local, "a"), (Some(at(5)), Some(at(9))));
    local.renew(&"t".into(), passing(""), at(12)).unwrap();
    local.advance(at(22));
    assert_eq!(pulse(&local, "t"), (Some(at(22)), Some(at(12))));
}
