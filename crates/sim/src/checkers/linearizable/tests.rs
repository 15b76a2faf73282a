//! The checker against a naive one, against known bad histories, and against long ones.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_model::Index;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::history::{Found as Seen, Freshness, OperationResult, PairSeen, Value};

fn micros(at: u64) -> Duration {
    Duration::from_micros(at)
}

fn pair(values: &[Value], modify_index: Index) -> Option<PairSeen> {
    let values = values.to_vec();
    let (create_index, lock_index, session) = (1, 0, Text::default());
    Some(PairSeen { values, create_index, modify_index, lock_index, session })
}

// ------------------------------------------------------------------------------------------------
// Known histories
// ------------------------------------------------------------------------------------------------

/// An operation of a client between two instants on the key `k`.
fn operation(client: u32, span: (u64, u64), action: Action, result: OperationResult) -> Operation {
    let (invoked_at, returned_at) = (micros(span.0), micros(span.1));
    Operation { client, server: 0, action, invoked_at, returned_at, result }
}

fn done(found: Seen) -> OperationResult {
    OperationResult::Done { index: 1, as_of: 1, found }
}

fn put(client: u32, span: (u64, u64), value: Value) -> Operation {
    operation(client, span, Action::Put { key: "k".into(), value }, done(Seen::Nothing))
}

fn put_unknown(client: u32, span: (u64, u64), value: Value) -> Operation {
    let result = OperationResult::Unknown("timed out".into());
    Operation { result, ..put(client, span, value) }
}

fn read(client: u32, span: (u64, u64), values: &[Value]) -> Operation {
    let found = if values.is_empty() { None } else { pair(values, 1) };
    let action = Action::Read { key: "k".into(), freshness: Freshness::Default };
    operation(client, span, action, done(Seen::Pair(found)))
}

fn put_if(client: u32, span: (u64, u64), value: Value, if_value: Value) -> Operation {
    let (key, if_index, if_values) = ("k".into(), 1, vec![if_value]);
    let action = Action::PutIf { key, value, if_index, if_values };
    operation(client, span, action, done(Seen::Nothing))
}

fn append(client: u32, span: (u64, u64), value: Value, list: &[Value]) -> Operation {
    let (if_index, if_values) = (u64::from(!list.is_empty()), list.to_vec());
    let action = Action::Append { key: "k".into(), value, if_index, if_values };
    operation(client, span, action, done(Seen::Nothing))
}

fn delete(client: u32, span: (u64, u64)) -> Operation {
    operation(client, span, Action::Delete { key: "k".into() }, done(Seen::Nothing))
}

fn unmet(operation: Operation) -> Operation {
    Operation { result: OperationResult::Unmet { index: 1 }, ..operation }
}

fn verdict(operations: &[Operation]) -> Verdict {
    let objects = by_object(operations);
    let [(object, operations)] = &objects.iter().collect::<Vec<_>>()[..] else {
        panic!("one object is judged at a time")
    };
    judge(object, operations, N_REMEMBERED_MAX)
}

fn is_well(operations: &[Operation]) -> bool {
    match verdict(operations) {
        Verdict::Linearizable => true,
        Verdict::Violated(_) => false,
        Verdict::GaveUp => panic!("gave up on {} operations", operations.len()),
    }
}

#[test]
fn what_overlaps_may_be_seen_in_either_order() {
    let writes = [put(1, (0, 10), 1), put(2, (0, 10), 2)];
    for seen in [1, 2] {
        let history = [writes.to_vec(), vec![read(3, (11, 12), &[seen])]].concat();
        assert!(is_well(&history));
    }
    let while_written = [put(1, (0, 10), 1), read(2, (2, 3), &[1]), read(3, (4, 5), &[1])];
    assert!(is_well(&while_written));
}

#[test]
fn a_stale_read_is_found() {
    let history = [put(1, (0, 1), 1), put(1, (2, 3), 2), read(2, (4, 5), &[1])];
    assert!(!is_well(&history));
    let turned_back = [put(1, (0, 10), 1), read(2, (2, 3), &[1]), read(3, (4, 5), &[])];
    assert!(!is_well(&turned_back), "what was seen once is not unseen later");
}

#[test]
fn stale_reads_that_were_asked_for_are_passed_over() {
    let mut history = vec![put(1, (0, 1), 1), put(1, (2, 3), 2), read(2, (4, 5), &[1])];
    history[2].action = Action::Read { key: "k".into(), freshness: Freshness::Stale };
    assert!(is_well(&history));
}

#[test]
fn a_lost_update_is_found() {
    // Two clients read 1, and both are told that they replaced it.
    let history = [put(1, (0, 1), 1), put_if(1, (2, 9), 2, 1), put_if(2, (2, 9), 3, 1)];
    assert!(!is_well(&history));
    let appended = [append(1, (0, 1), 1, &[]), append(1, (2, 3), 2, &[1]), read(2, (4, 5), &[1])];
    assert!(!is_well(&appended));
}

#[test]
fn a_split_brain_is_found() {
    // Two servers that both lead: each shows the writes that it took itself.
    let history = [
        put(1, (0, 1), 1),
        read(1, (2, 3), &[1]),
        put(2, (4, 5), 2),
        read(2, (6, 7), &[2]),
        read(1, (8, 9), &[1]),
        read(2, (10, 11), &[2]),
    ];
    assert!(!is_well(&history));
}

#[test]
fn a_write_of_unknown_outcome_may_come_late_or_never_but_not_twice() {
    let unknown = put_unknown(1, (0, 1), 1);
    let never = [unknown.clone(), read(2, (5, 6), &[]), read(2, (7, 8), &[])];
    let late = [unknown.clone(), read(2, (5, 6), &[]), read(2, (7, 8), &[1])];
    let twice = [unknown, read(2, (5, 6), &[1]), delete(2, (7, 8)), read(2, (9, 10), &[1])];
    assert!(is_well(&never) && is_well(&late) && !is_well(&twice));
}

#[test]
fn a_write_of_unknown_outcome_explains_why_a_term_was_not_met() {
    let refused = unmet(put_if(2, (4, 5), 2, 1));
    let with = [put(1, (0, 1), 1), put_unknown(3, (2, 3), 9), refused.clone()];
    let without = [put(1, (0, 1), 1), refused];
    assert!(is_well(&with) && !is_well(&without));
}

#[test]
fn a_write_that_certainly_failed_must_not_be_seen() {
    let mut failed = put(1, (0, 1), 1);
    failed.result = OperationResult::Failed("no leader".into());
    assert!(is_well(&[failed.clone(), read(2, (2, 3), &[])]));
    assert!(!is_well(&[failed, read(2, (2, 3), &[1])]));
}

#[test]
fn one_client_is_in_order_even_within_one_instant() {
    let history = [put(1, (0, 5), 1), put(1, (5, 5), 2), read(1, (5, 5), &[1])];
    assert!(!is_well(&history));
    let of_others = [put(1, (0, 5), 1), put(2, (5, 5), 2), read(3, (5, 5), &[1])];
    assert!(is_well(&of_others));
}

#[test]
fn a_list_of_a_service_is_one_look_at_all_its_instances() {
    let instance = |id: &str| Text::from(id);
    let register = |client, span, id: &str, value| {
        let (node, service) = ("n".into(), "web".into());
        let action = Action::Register { node, service, instance: instance(id), value };
        operation(client, span, action, done(Seen::Nothing))
    };
    let list = |client, span, found: &[(&str, Value)]| {
        let action = Action::List { service: "web".into(), freshness: Freshness::Consistent };
        let found = found.iter().map(|(id, value)| (instance(id), *value, 1)).collect();
        operation(client, span, action, done(Seen::Instances(found)))
    };
    let deregister = |client, span, id: &str| {
        let (node, service) = ("n".into(), "web".into());
        let action = Action::Deregister { node, service, instance: instance(id) };
        operation(client, span, action, done(Seen::Nothing))
    };
    let good = [
        register(1, (0, 1), "a", 1),
        register(2, (0, 9), "b", 2),
        list(3, (2, 3), &[("a", 1)]),
        list(3, (4, 5), &[("a", 1), ("b", 2)]),
        deregister(1, (6, 7), "a"),
        list(3, (8, 9), &[("b", 2)]),
    ];
    assert!(is_well(&good));
    let mut bad = good.to_vec();
    bad.push(list(4, (10, 11), &[("a", 1), ("b", 2)]));
    let Verdict::Violated(least) = verdict(&bad) else { panic!("a comes back from the dead") };
    assert!(least.len() <= 4, "{least:#?}");
    // Each instance alone would be well: one list shows b without a, another a without b.
    let torn = [
        register(1, (0, 20), "a", 1),
        register(2, (0, 20), "b", 2),
        list(3, (2, 3), &[("a", 1)]),
        list(4, (4, 5), &[("b", 2)]),
    ];
    assert!(!is_well(&torn));
}

#[test]
fn the_counterexample_is_told_in_words() {
    let mut operations = Vec::new();
    for value in 1..200 {
        let at = value * 10;
        operations.push(put(1, (at, at + 1), value));
        operations.push(read(2, (at + 2, at + 3), &[value]));
    }
    operations.push(read(3, (5_000, 5_001), &[50]));
    let history = History { operations, ..History::default() };
    let [violation] = &check(&history)[..] else { panic!("one key is bad") };
    assert_eq!(
        violation.to_string(),
        "linearizability: key k: no order of these gives every client what it heard\n  \
         0.000500 s .. 0.000501 s  client 1 on server 0: put k = 50 -> done at 1\n  \
         0.001990 s .. 0.001991 s  client 1 on server 0: put k = 199 -> done at 1\n  \
         0.005000 s .. 0.005001 s  client 3 on server 0: read k -> 50 at index 1"
    );
}

// ------------------------------------------------------------------------------------------------
// Random histories
// ------------------------------------------------------------------------------------------------

/// What a random history is made of.
#[derive(Clone, Copy)]
struct Shape {
    n_clients: u32,
    n_operations: usize,
    gap_max: u64,
    span_max: u64,
    /// Of a hundred operations, how many nobody hears of again.
    unknown_percent: u32,
}

/// An operation before it takes effect.
struct Plan {
    client: u32,
    invoked_at: u64,
    returned_at: u64,
    takes_effect_at: Option<u64>,
    is_unknown: bool,
    kind: u32,
}

/// Plays a real key: each operation takes effect at a moment of its own between its call and its
/// return, or later or never where its client hears nothing.
fn real_history(shape: Shape, chance: &mut SmallRng) -> Vec<Operation> {
    let plans = plans(shape, chance);
    let mut by_effect: Vec<usize> = (0..plans.len()).collect();
    by_effect.sort_by_key(|number| plans[*number].takes_effect_at.unwrap_or(u64::MAX));
    let mut key = Key::default();
    let mut operations: BTreeMap<usize, Operation> = BTreeMap::new();
    for number in by_effect {
        let plan = &plans[number];
        let value = number as Value + 1;
        let known = key.read_by.get(&plan.client).cloned().unwrap_or_default();
        let action = action_of(plan.kind, value, &known);
        let heard = match plan.takes_effect_at {
            Some(_) => key.take(plan.client, &action),
            None => OperationResult::Unknown(String::new()),
        };
        let is_unknown = plan.is_unknown || plan.takes_effect_at.is_none();
        let result = if is_unknown { OperationResult::Unknown(String::new()) } else { heard };
        let span = (plan.invoked_at, plan.returned_at);
        operations.insert(number, operation(plan.client, span, action, result));
    }
    operations.into_values().collect()
}

fn plans(shape: Shape, chance: &mut SmallRng) -> Vec<Plan> {
    let mut free_at: BTreeMap<u32, (u32, u64)> =
        (0..shape.n_clients).map(|seat| (seat, (seat, 0))).collect();
    let mut plans = Vec::new();
    for _ in 0..shape.n_operations {
        // Who is free first goes on, so that calls are in the order of their instants.
        let seat = *free_at.iter().min_by_key(|(_, (_, at))| *at).expect("there are clients").0;
        let (client, at) = free_at[&seat];
        let invoked_at = at;
        let returned_at = invoked_at + chance.random_range(0..=shape.span_max);
        let is_unknown = chance.random_range(0..100) < shape.unknown_percent;
        let latest = if is_unknown { returned_at + 3 * shape.span_max } else { returned_at };
        let never = is_unknown && chance.random_bool(0.5);
        let takes_effect_at = (!never).then(|| chance.random_range(invoked_at..=latest));
        let kind = chance.random_range(0..10);
        plans.push(Plan { client, invoked_at, returned_at, takes_effect_at, is_unknown, kind });
        // Who hears nothing is another client from then on: what it asked for may still happen.
        let client = if is_unknown { client + shape.n_clients } else { client };
        let pause = chance.random_range(0..=shape.gap_max);
        free_at.insert(seat, (client, returned_at + pause));
    }
    plans.sort_by_key(|plan| plan.invoked_at);
    plans
}

fn action_of(kind: u32, value: Value, known: &(Index, Vec<Value>)) -> Action {
    let key = Text::from("k");
    let (if_index, if_values) = known.clone();
    match kind {
        0..4 => Action::Read { key, freshness: Freshness::Default },
        4 | 5 => Action::Put { key, value },
        6 | 7 => Action::PutIf { key, value, if_index, if_values },
        8 => Action::Append { key, value, if_index, if_values },
        _ => Action::Delete { key },
    }
}

/// A real key.
#[derive(Default)]
struct Key {
    index: Index,
    pair: Option<(Index, Vec<Value>)>,
    /// What each client read last.
    read_by: BTreeMap<u32, (Index, Vec<Value>)>,
}

impl Key {
    fn take(&mut self, client: u32, action: &Action) -> OperationResult {
        self.index += 1;
        let unmet = OperationResult::Unmet { index: self.index };
        let is_as_read = |if_index: Index| self.pair.as_ref().map_or(0, |pair| pair.0) == if_index;
        match action {
            Action::Read { .. } => {
                self.read_by.insert(client, self.pair.clone().unwrap_or_default());
                let found = self.pair.as_ref().and_then(|(index, values)| pair(values, *index));
                return done(Seen::Pair(found));
            }
            Action::Put { value, .. } => self.pair = Some((self.index, vec![*value])),
            Action::PutIf { value, if_index, .. } => {
                if !is_as_read(*if_index) {
                    return unmet;
                }
                self.pair = Some((self.index, vec![*value]));
            }
            Action::Append { value, if_index, if_values, .. } => {
                if !is_as_read(*if_index) {
                    return unmet;
                }
                let values = [&if_values[..], &[*value]].concat();
                self.pair = Some((self.index, values));
            }
            Action::Delete { .. } => self.pair = None,
            _ => unreachable!("not about a key"),
        }
        done(Seen::Nothing)
    }
}

/// Lets one operation be told something else than what happened.
fn corrupt(operations: &mut [Operation], chance: &mut SmallRng) {
    let number = chance.random_range(0..operations.len());
    let other = chance.random_range(0..=operations.len()) as Value;
    let operation = &mut operations[number];
    operation.result = match &operation.result {
        OperationResult::Done { found: Seen::Pair(_), .. } => {
            done(Seen::Pair(if other == 0 { None } else { pair(&[other], 1) }))
        }
        OperationResult::Unmet { .. } => done(Seen::Nothing),
        OperationResult::Done { .. } if matches!(operation.action, Action::PutIf { .. }) => {
            OperationResult::Unmet { index: 1 }
        }
        same => same.clone(),
    };
}

/// Tries every order.
fn naive_is_well(operations: &[Operation]) -> bool {
    let kept: Vec<&Operation> = operations
        .iter()
        .filter(|one| !(one.action.is_read() && matches!(one.result, OperationResult::Unknown(_))))
        .collect();
    naive_goes_on(&kept, None)
}

fn naive_goes_on(left: &[&Operation], pair: Option<&[Value]>) -> bool {
    let is_known = |one: &Operation| !matches!(one.result, OperationResult::Unknown(_));
    if !left.iter().any(|one| is_known(one)) {
        return true;
    }
    (0..left.len()).any(|number| {
        let next = left[number];
        let comes_too_soon = left.iter().enumerate().any(|(other_number, other)| {
            let is_own = other.client == next.client && other_number < number && is_known(next);
            is_known(other) && (other.returned_at < next.invoked_at || is_own)
        });
        let rest: Vec<&Operation> = left
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != number)
            .map(|(_, o)| *o)
            .collect();
        !comes_too_soon
            && naive_effect(next, pair).is_some_and(|after| naive_goes_on(&rest, after.as_deref()))
    })
}

/// What an operation leaves, if it may have had its result.
fn naive_effect(operation: &Operation, pair: Option<&[Value]>) -> Option<Option<Vec<Value>>> {
    let is_unmet = matches!(operation.result, OperationResult::Unmet { .. });
    let on_term = |if_index: Index, if_values: &[Value], after: Vec<Value>| {
        let is_met = if if_index == 0 { pair.is_none() } else { pair == Some(if_values) };
        match is_unmet {
            true => (!is_met).then(|| pair.map(<[Value]>::to_vec)),
            false => is_met.then_some(Some(after)),
        }
    };
    match &operation.action {
        Action::Read { .. } => {
            let OperationResult::Done { found: Seen::Pair(found), .. } = &operation.result else {
                panic!("reads of unknown outcome were left out")
            };
            let found = found.as_ref().map(|found| &found.values[..]);
            (found == pair).then(|| pair.map(<[Value]>::to_vec))
        }
        Action::Put { value, .. } => Some(Some(vec![*value])),
        Action::PutIf { value, if_index, if_values, .. } => {
            on_term(*if_index, if_values, vec![*value])
        }
        Action::Append { value, if_index, if_values, .. } => {
            on_term(*if_index, if_values, [&if_values[..], &[*value]].concat())
        }
        Action::Delete { .. } => Some(None),
        _ => unreachable!("not about a key"),
    }
}

fn told(operations: &[Operation]) -> String {
    operations.iter().map(|one| crate::checkers::story::line(one) + "\n").collect()
}

#[test]
fn the_search_agrees_with_trying_every_order() {
    let (mut n_well, mut n_bad) = (0, 0);
    for seed in 0..6_000 {
        let mut chance = SmallRng::seed_from_u64(seed);
        let shape = Shape {
            n_clients: chance.random_range(1..4),
            n_operations: chance.random_range(2..8),
            gap_max: 4,
            span_max: chance.random_range(0..12),
            unknown_percent: 25,
        };
        let mut operations = real_history(shape, &mut chance);
        assert!(is_well(&operations), "seed {seed} is real:\n{}", told(&operations));
        for _ in 0..chance.random_range(0..3) {
            corrupt(&mut operations, &mut chance);
        }
        let expected = naive_is_well(&operations);
        assert_eq!(is_well(&operations), expected, "seed {seed}:\n{}", told(&operations));
        if expected {
            n_well += 1;
        } else {
            n_bad += 1;
        }
    }
    assert!(n_well > 1_000 && n_bad > 1_000, "{n_well} well, {n_bad} bad");
}

#[test]
fn what_is_left_as_the_counterexample_is_bad_by_itself() {
    for seed in 0..300 {
        let mut chance = SmallRng::seed_from_u64(seed);
        let (n_clients, n_operations, unknown_percent) = (3, 40, 10);
        let shape = Shape { n_clients, n_operations, gap_max: 4, span_max: 10, unknown_percent };
        let mut operations = real_history(shape, &mut chance);
        corrupt(&mut operations, &mut chance);
        if let Verdict::Violated(least) = verdict(&operations) {
            assert!(!is_well(&least), "seed {seed}:\n{}", told(&least));
        }
    }
}

/// Five clients, 1,000 operations each, on one key, with some hundred that nobody heard of again.
const LONG: Shape =
    Shape { n_clients: 5, n_operations: 10_000, gap_max: 40, span_max: 100, unknown_percent: 3 };

#[test]
fn long_histories_are_judged() {
    for seed in 0..3 {
        let mut chance = SmallRng::seed_from_u64(seed);
        let operations = real_history(LONG, &mut chance);
        assert!(is_well(&operations));
    }
}

#[test]
fn one_stale_read_in_a_long_history_is_found_and_cut_out() {
    for seed in 0..3 {
        let mut chance = SmallRng::seed_from_u64(seed);
        let mut operations = real_history(LONG, &mut chance);
        let seen_before = operations[..2_500].iter().rev().find_map(|one| match &one.result {
            OperationResult::Done { found: Seen::Pair(Some(pair)), .. } => Some(pair.clone()),
            _ => None,
        });
        let is_read = |one: &Operation| matches!(one.result, OperationResult::Done { .. });
        let late = operations[3_500..].iter_mut().find(|one| one.action.is_read() && is_read(one));
        late.expect("a third are reads").result = done(Seen::Pair(seen_before));
        let Verdict::Violated(least) = verdict(&operations) else { panic!("not found") };
        assert!(least.len() <= 12, "{} operations:\n{}", least.len(), told(&least));
    }
}

#[test]
fn a_search_that_may_remember_little_says_that_it_gave_up() {
    let mut operations: Vec<Operation> =
        (0..14).map(|client| put(client, (0, 100), Value::from(client) + 1)).collect();
    operations.push(read(20, (101, 102), &[99]));
    let objects = by_object(&operations);
    let (object, operations) = objects.iter().next().expect("one key");
    assert_eq!(judge(object, operations, 1_000), Verdict::GaveUp);
}
