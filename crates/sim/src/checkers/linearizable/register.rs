//! One key: a register that is read, written, written on a term, appended to and deleted.
//!
//! Every write of a run carries a value of its own, so the contents of a key name the write that
//! made them, and a term on the index of a pair is a term on its contents. Contents are numbered;
//! a call then needs certain contents, or refuses certain contents, and leaves certain contents.
//!
//! That values are unique also tells what became of writes whose outcome the client never heard: if
//! a call that succeeded found what the write wrote, the write took effect, and not later than that
//! call returned. What nobody found can only have spoiled a term.
//!
//! Locks are judged elsewhere. Where a key has been locked, the end of a session changes the index
//! of the pair and not its contents; terms that were not met say nothing there.

use std::collections::{BTreeMap, HashMap, HashSet};

use foldhash::fast::FixedState;

use super::search::{Call, Model, Role, StateNumber};
use crate::history::{Action, Found, Freshness, Operation, OperationResult, Value};

/// There is no pair.
const ABSENT: StateNumber = 0;
/// A pair without a value: where all lists begin.
const EMPTY: StateNumber = 1;
/// Contents that nobody found and no unmet term names.
const UNSEEN: StateNumber = 2;

/// What a call needs, and what it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Effect {
    needs: Needs,
    leaves: Option<StateNumber>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Needs {
    Anything,
    Exactly(StateNumber),
    AnythingBut(StateNumber),
}

/// The history of one key, ready to be searched.
#[derive(Debug, Default)]
pub(super) struct Register {
    pub(super) calls: Vec<Call>,
    effects: Vec<Effect>,
}

impl Model for Register {
    fn start(&self) -> StateNumber {
        ABSENT
    }

    fn step(&mut self, state: StateNumber, call: usize) -> Option<StateNumber> {
        let Effect { needs, leaves } = self.effects[call];
        let fits = match needs {
            Needs::Anything => true,
            Needs::Exactly(contents) => state == contents,
            Needs::AnythingBut(contents) => state != contents,
        };
        fits.then(|| leaves.unwrap_or(state))
    }

    fn helps(&self, optional: usize, waiting: usize) -> bool {
        let left = self.effects[optional].leaves;
        match self.effects[waiting].needs {
            Needs::Anything => false,
            Needs::Exactly(contents) => left == Some(contents),
            Needs::AnythingBut(contents) => left != Some(contents),
        }
    }
}

impl Register {
    /// Reads the operations on one key.
    pub(super) fn of(operations: &[&Operation]) -> Register {
        let is_lock = operations.iter().any(|operation| {
            matches!(operation.action, Action::Acquire { .. } | Action::Release { .. })
        });
        let mut contents = Contents::default();
        let mut register = Register::default();
        let mut last_of_client: HashMap<u32, usize, FixedState> = HashMap::default();
        for operation in operations {
            let Some((role, effect)) = contents.read(operation, is_lock) else { continue };
            let is_known = !matches!(role, Role::Optional { .. });
            let number = register.calls.len();
            register.calls.push(Call {
                invoked_at: operation.invoked_at,
                returns_by: is_known.then_some(operation.returned_at),
                follows: last_of_client.get(&operation.client).copied().filter(|_| is_known),
                role,
            });
            register.effects.push(effect);
            if is_known {
                last_of_client.insert(operation.client, number);
            }
        }
        register.believe_what_was_found();
        register.merge_what_nobody_saw();
        register
    }

    /// A write whose contents were found took effect, before the finder returned.
    fn believe_what_was_found(&mut self) {
        let mut writers: HashMap<StateNumber, Vec<usize>, FixedState> = HashMap::default();
        for (number, effect) in self.effects.iter().enumerate() {
            if let Some(contents) = effect.leaves {
                writers.entry(contents).or_default().push(number);
            }
        }
        let is_known = |call: &Call| call.returns_by.is_some();
        let mut finders: Vec<usize> =
            (0..self.calls.len()).filter(|number| is_known(&self.calls[*number])).collect();
        while let Some(finder) = finders.pop() {
            let Needs::Exactly(contents) = self.effects[finder].needs else { continue };
            if contents == ABSENT {
                // Where everything begins: nobody need have written it.
                continue;
            }
            let found_by = self.calls[finder].returns_by.expect("only known calls find");
            let Some([writer]) = writers.get(&contents).map(Vec::as_slice) else { continue };
            let call = &mut self.calls[*writer];
            let by = call.returns_by.map_or(found_by, |by| by.min(found_by));
            if call.returns_by != Some(by) {
                call.returns_by = Some(by);
                call.role = Role::Write;
                finders.push(*writer);
            }
        }
    }

    /// Contents that nobody found and no unmet term names need no number of their own, and an
    /// optional write that leaves such is needed only to spoil a term.
    fn merge_what_nobody_saw(&mut self) {
        let mut sought: HashSet<StateNumber, FixedState> = HashSet::default();
        let mut named: HashSet<StateNumber, FixedState> = HashSet::default();
        for (call, effect) in self.calls.iter().zip(&self.effects) {
            match effect.needs {
                Needs::Exactly(contents) if call.returns_by.is_some() => {
                    sought.insert(contents);
                }
                Needs::AnythingBut(contents) => {
                    named.insert(contents);
                }
                _ => {}
            }
        }
        let mut classes: BTreeMap<Effect, u32> = BTreeMap::new();
        for (call, effect) in self.calls.iter_mut().zip(&mut self.effects) {
            let Some(contents) = effect.leaves else { continue };
            let is_seen =
                contents == ABSENT || sought.contains(&contents) || named.contains(&contents);
            if !is_seen {
                effect.leaves = Some(UNSEEN);
            }
            let Role::Optional { class } = &mut call.role else { continue };
            let may_spoil = match effect.needs {
                Needs::Exactly(contents) => named.contains(&contents),
                _ => !named.is_empty(),
            };
            let is_met_once = matches!(effect.needs, Needs::Exactly(met) if met > UNSEEN);
            if contents != ABSENT && !may_spoil {
                call.role = Role::Idle;
            } else if !is_met_once {
                // What a value leads to is met once, for a value is written once.
                let n_classes = classes.len() as u32;
                *class = Some(*classes.entry(*effect).or_insert(n_classes));
            }
        }
    }
}

/// Contents by number.
#[derive(Debug, Default)]
struct Contents {
    /// The contents that follow from others by one value more.
    longer: HashMap<(StateNumber, Value), StateNumber, FixedState>,
}

impl Contents {
    fn number(&mut self, values: &[Value]) -> StateNumber {
        values.iter().fold(EMPTY, |shorter, value| self.with(shorter, *value))
    }

    fn with(&mut self, shorter: StateNumber, value: Value) -> StateNumber {
        let n_known = self.longer.len() as StateNumber;
        *self.longer.entry((shorter, value)).or_insert(UNSEEN + 1 + n_known)
    }

    /// What an operation is to the search and what it does; nothing if it says nothing.
    fn read(&mut self, operation: &Operation, is_lock: bool) -> Option<(Role, Effect)> {
        let (needs, leaves) = self.effect_of(&operation.action)?;
        let optional = Role::Optional { class: None };
        match &operation.result {
            OperationResult::Failed(_) => None,
            OperationResult::Done { found: Found::Pair(pair), .. } if leaves.is_none() => {
                let contents = pair.as_ref().map_or(ABSENT, |pair| self.number(&pair.values));
                Some((Role::Look, Effect { needs: Needs::Exactly(contents), leaves: None }))
            }
            OperationResult::Done { .. } => leaves.map(|_| (Role::Write, Effect { needs, leaves })),
            OperationResult::Unknown(_) => leaves.map(|_| (optional, Effect { needs, leaves })),
            OperationResult::Unmet { .. } => match needs {
                Needs::Exactly(contents) if !is_lock => {
                    let needs = Needs::AnythingBut(contents);
                    Some((Role::Look, Effect { needs, leaves: None }))
                }
                _ => None,
            },
        }
    }

    /// What an action needs to take effect, and what it leaves; nothing of what is not about the
    /// contents of a key, or is not promised to be fresh.
    fn effect_of(&mut self, action: &Action) -> Option<(Needs, Option<StateNumber>)> {
        match action {
            Action::Read { freshness: Freshness::Stale, .. } => None,
            Action::Read { .. } => Some((Needs::Anything, None)),
            Action::Put { value, .. }
            | Action::Acquire { value, .. }
            | Action::Release { value, .. } => {
                Some((Needs::Anything, Some(self.with(EMPTY, *value))))
            }
            Action::PutIf { value, if_index, if_values, .. } => {
                let needs = self.term(*if_index, if_values);
                Some((Needs::Exactly(needs), Some(self.with(EMPTY, *value))))
            }
            Action::Append { value, if_index, if_values, .. } => {
                let needs = self.term(*if_index, if_values);
                let list = if needs == ABSENT { EMPTY } else { needs };
                Some((Needs::Exactly(needs), Some(self.with(list, *value))))
            }
            Action::Delete { .. } => Some((Needs::Anything, Some(ABSENT))),
            _ => None,
        }
    }

    fn term(&mut self, if_index: u64, if_values: &[Value]) -> StateNumber {
        if if_index == 0 { ABSENT } else { self.number(if_values) }
    }
}

/// Takes those out of a range of a bad history that prove nothing against the rest, so that if
/// what is left has no order the whole has none: looks, and writes that no call left found, where no
/// unmet term is left that may have needed them.
pub(super) fn without(operations: &[Operation], range: std::ops::Range<usize>) -> Vec<Operation> {
    let mut contents = Contents::default();
    let read: Vec<_> = operations.iter().map(|one| contents.read(one, false)).collect();
    let needs = |number: usize| match read[number] {
        Some((_, Effect { needs: Needs::Exactly(contents), .. })) => Some(contents),
        _ => None,
    };
    let mut n_finders: HashMap<StateNumber, usize, FixedState> = HashMap::default();
    for contents in (0..operations.len()).filter_map(needs) {
        *n_finders.entry(contents).or_default() += 1;
    }
    let is_unmet = |(_, effect): &(Role, Effect)| matches!(effect.needs, Needs::AnythingBut(_));
    let mut rest = read.iter().enumerate().filter(|(number, _)| !range.contains(number));
    let may_need_any = rest.any(|(_, read)| read.as_ref().is_some_and(is_unmet));
    let mut is_kept = vec![true; operations.len()];
    // Who found what a write left comes later, so the last go first.
    for number in range.rev() {
        if let Some((_, Effect { leaves: Some(written), .. })) = &read[number]
            && (may_need_any || n_finders.get(written).is_some_and(|n| *n > 0))
        {
            continue;
        }
        is_kept[number] = false;
        if let Some(n) = needs(number).and_then(|contents| n_finders.get_mut(&contents)) {
            *n -= 1;
        }
    }
    let kept = operations.iter().zip(is_kept).filter(|(_, is_kept)| *is_kept);
    kept.map(|(operation, _)| operation.clone()).collect()
}
