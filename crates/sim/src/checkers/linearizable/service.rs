//! One service: the set of its instances, which are registered, deregistered and listed together.
//!
//! A list is judged as one look at all instances. Each registration carries a value of its own, so
//! a list that shows it proves that it took effect; one whose outcome is unknown and that no list
//! shows may as well not have been. Of a deregistration nothing is left to be found, so one whose
//! outcome is unknown stays open.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use foldhash::fast::FixedState;
use muster_model::Text;

use super::search::{Call, Model, Role, StateNumber};
use crate::history::{Action, Found, Freshness, Operation, OperationResult, Value};

/// Instances by their number, each with its value; sorted.
type Instances = Vec<(u32, Value)>;

#[derive(Clone, Debug)]
enum Effect {
    Put(u32, Value),
    Remove(u32),
    Find(StateNumber),
}

/// The history of one service, ready to be searched.
#[derive(Debug, Default)]
pub(super) struct Service {
    pub(super) calls: Vec<Call>,
    effects: Vec<Effect>,
    states: States,
}

#[derive(Debug, Default)]
struct States {
    by_number: Vec<Instances>,
    numbers: HashMap<Instances, StateNumber, FixedState>,
}

impl States {
    fn number(&mut self, instances: Instances) -> StateNumber {
        if let Some(number) = self.numbers.get(&instances) {
            return *number;
        }
        let number = self.by_number.len() as StateNumber;
        self.by_number.push(instances.clone());
        self.numbers.insert(instances, number);
        number
    }
}

impl Model for Service {
    fn start(&self) -> StateNumber {
        0
    }

    fn step(&mut self, state: StateNumber, call: usize) -> Option<StateNumber> {
        let effect = &self.effects[call];
        if let Effect::Find(found) = effect {
            return (*found == state).then_some(state);
        }
        let mut instances = self.states.by_number[state as usize].clone();
        let (Effect::Put(instance, _) | Effect::Remove(instance)) = effect else { return None };
        let place = instances.binary_search_by_key(instance, |(own, _)| *own);
        match (effect, place) {
            (Effect::Put(_, value), Ok(place)) => instances[place].1 = *value,
            (Effect::Put(_, value), Err(place)) => instances.insert(place, (*instance, *value)),
            (_, Ok(place)) => {
                instances.remove(place);
            }
            (_, Err(_)) => {}
        }
        Some(self.states.number(instances))
    }

    fn helps(&self, optional: usize, waiting: usize) -> bool {
        let (Effect::Remove(gone), Effect::Find(found)) =
            (&self.effects[optional], &self.effects[waiting])
        else {
            return false;
        };
        let found = &self.states.by_number[*found as usize];
        !found.iter().any(|(instance, _)| instance == gone)
    }
}

impl Service {
    /// Reads the operations on one service.
    pub(super) fn of(operations: &[&Operation]) -> Service {
        let mut service = Service::default();
        service.states.number(Vec::new());
        let mut numbers: HashMap<&Text, u32, FixedState> = HashMap::default();
        let shown = first_shown(operations);
        let mut last_of_client: HashMap<u32, usize, FixedState> = HashMap::default();
        for operation in operations {
            let mut number_of = |instance| {
                let n_known = numbers.len() as u32;
                *numbers.entry(instance).or_insert(n_known)
            };
            let Some(effect) = effect_of(operation, &mut number_of, &mut service.states) else {
                continue;
            };
            let shown_by = match &effect {
                Effect::Put(_, value) => shown.get(value).copied(),
                _ => None,
            };
            let heard_by = match operation.result {
                OperationResult::Unknown(_) => None,
                _ => Some(operation.returned_at),
            };
            let role = match (&effect, heard_by.or(shown_by)) {
                (Effect::Put(..), None) => continue,
                (Effect::Find(_), _) => Role::Look,
                (_, Some(_)) => Role::Write,
                (Effect::Remove(class), None) => Role::Optional { class: Some(*class) },
            };
            let follows = last_of_client.get(&operation.client).copied();
            if heard_by.is_some() {
                last_of_client.insert(operation.client, service.calls.len());
            }
            service.calls.push(Call {
                invoked_at: operation.invoked_at,
                returns_by: [heard_by, shown_by].into_iter().flatten().min(),
                follows: follows.filter(|_| heard_by.is_some()),
                role,
            });
            service.effects.push(effect);
        }
        service
    }
}

/// When a list first showed each value, at the latest.
fn first_shown(operations: &[&Operation]) -> HashMap<Value, Duration, FixedState> {
    let mut shown: HashMap<Value, Duration, FixedState> = HashMap::default();
    for operation in operations.iter().filter(|operation| is_fresh_list(operation)) {
        for (_, value, _) in listed(operation).unwrap_or_default() {
            let first = shown.entry(*value).or_insert(operation.returned_at);
            *first = operation.returned_at.min(*first);
        }
    }
    shown
}

fn is_fresh_list(operation: &Operation) -> bool {
    match &operation.action {
        Action::List { freshness, .. } => *freshness != Freshness::Stale,
        _ => false,
    }
}

fn listed(operation: &Operation) -> Option<&[(Text, Value, muster_model::Index)]> {
    match &operation.result {
        OperationResult::Done { found: Found::Instances(instances), .. } => Some(instances),
        _ => None,
    }
}

/// What an operation does or found; nothing if it says nothing.
fn effect_of<'a>(
    operation: &'a Operation,
    number_of: &mut impl FnMut(&'a Text) -> u32,
    states: &mut States,
) -> Option<Effect> {
    use OperationResult::{Failed, Unmet};
    match &operation.action {
        Action::List { .. } if is_fresh_list(operation) => {
            let mut found: Instances =
                listed(operation)?.iter().map(|(id, value, _)| (number_of(id), *value)).collect();
            found.sort_unstable();
            Some(Effect::Find(states.number(found)))
        }
        _ if matches!(operation.result, Failed(_) | Unmet { .. }) => None,
        Action::Register { instance, value, .. } => Some(Effect::Put(number_of(instance), *value)),
        Action::Deregister { instance, .. } => Some(Effect::Remove(number_of(instance))),
        _ => None,
    }
}

/// Takes those out of a range of a bad history that prove nothing against the rest, so that if
/// what is left has no order the whole has none: lists; registrations that no list left shows; and
/// deregistrations of what nobody left registers.
pub(super) fn without(operations: &[Operation], range: std::ops::Range<usize>) -> Vec<Operation> {
    let unlisted: Vec<(bool, &Operation)> = operations
        .iter()
        .enumerate()
        .map(|(number, operation)| (range.contains(&number), operation))
        .filter(|(is_within, operation)| !(*is_within && operation.action.is_read()))
        .collect();
    let shown = first_shown(&unlisted.iter().map(|(_, operation)| *operation).collect::<Vec<_>>());
    let is_unshown = |action: &Action| match action {
        Action::Register { value, .. } => !shown.contains_key(value),
        _ => false,
    };
    let shown_only: Vec<(bool, &Operation)> = unlisted
        .into_iter()
        .filter(|(is_within, operation)| !(*is_within && is_unshown(&operation.action)))
        .collect();
    let registered: HashSet<&Text, FixedState> = shown_only
        .iter()
        .filter_map(|(_, operation)| match &operation.action {
            Action::Register { instance, .. } => Some(instance),
            _ => None,
        })
        .collect();
    let is_idle = |action: &Action| match action {
        Action::Deregister { instance, .. } => !registered.contains(instance),
        _ => false,
    };
    let kept = shown_only
        .iter()
        .filter(|(is_within, operation)| !(*is_within && is_idle(&operation.action)));
    kept.map(|(_, operation)| (*operation).clone()).collect()
}
