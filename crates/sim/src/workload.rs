//! Workloads: what clients ask for, one thing after the other.
//!
//! A workload is the mind of one client. It draws the next action from what it has heard so far,
//! and knows nothing of servers and of time.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_model::{Index, Text};
use rand::Rng;
use rand::rngs::SmallRng;

use crate::history::{Action, Found, Freshness, OperationResult, PairSeen, Value};

/// Keys, services and instances of each kind.
const REGISTERS: u32 = 4;
const COUNTERS: u32 = 3;
const LISTS: u32 = 3;
const LOCKS: u32 = 2;
const SERVICES: u32 = 2;
const INSTANCES: u32 = 5;

/// Elements after which a list is deleted and begun anew.
const LIST_LENGTH_MAX: usize = 60;

/// The start of all keys that this crate's watchers watch.
pub const REGISTER_PREFIX: &str = "register/";

/// Hands out values: each is written once.
#[derive(Clone, Debug, Default)]
pub struct Values(Value);

impl Values {
    /// A value that nobody was given before.
    pub fn fresh(&mut self) -> Value {
        self.0 += 1;
        self.0
    }
}

/// What one client does.
pub enum Workload {
    /// Reads, writes and deletes pairs.
    Register,
    /// Reads pairs and replaces what it has read.
    Replace(BTreeMap<Text, PairKnown>),
    /// Reads lists and adds to what it has read.
    Append(BTreeMap<Text, PairKnown>),
    /// Takes locks for a while.
    Lock(Holder),
    /// Registers, deregisters and lists instances.
    Catalog,
}

/// What a client has read of a pair.
#[derive(Clone, Debug, Default)]
pub struct PairKnown {
    index: Index,
    values: Vec<Value>,
}

/// A client that takes locks, with what it believes of itself.
#[derive(Clone, Debug, Default)]
pub struct Holder {
    session: Option<Text>,
    held: Option<Text>,
}

impl Workload {
    /// The workload of a client: all kinds in turn.
    #[must_use]
    pub fn of_client(client: u32) -> Workload {
        match client % 5 {
            0 => Workload::Register,
            1 => Workload::Replace(BTreeMap::new()),
            2 => Workload::Append(BTreeMap::new()),
            3 => Workload::Lock(Holder::default()),
            _ => Workload::Catalog,
        }
    }

    /// What the client asks for next.
    pub fn next(&mut self, chance: &mut SmallRng, values: &mut Values) -> Action {
        match self {
            Workload::Register => next_of_register(chance, values),
            Workload::Replace(known) => {
                let key = name("counter/", COUNTERS, chance);
                match known.remove(&key) {
                    None => Action::Read { freshness: freshness(chance), key },
                    Some(PairKnown { index, values: read }) => Action::PutIf {
                        key,
                        value: values.fresh(),
                        if_index: index,
                        if_values: read,
                    },
                }
            }
            Workload::Append(known) => next_of_append(known, chance, values),
            Workload::Lock(holder) => holder.next(chance, values),
            Workload::Catalog => next_of_catalog(chance, values),
        }
    }

    /// What came of it.
    pub fn hear(&mut self, action: &Action, result: &OperationResult) {
        match self {
            Workload::Replace(known) | Workload::Append(known) => {
                if let (Action::Read { key, .. }, OperationResult::Done { found, .. }) =
                    (action, result)
                    && let Found::Pair(pair) = found
                {
                    known.insert(key.clone(), PairKnown::of(pair.as_ref()));
                }
            }
            Workload::Lock(holder) => holder.hear(action, result),
            Workload::Register | Workload::Catalog => {}
        }
    }
}

impl PairKnown {
    fn of(pair: Option<&PairSeen>) -> PairKnown {
        let Some(pair) = pair else { return PairKnown::default() };
        PairKnown { index: pair.modify_index, values: pair.values.clone() }
    }
}

fn name(prefix: &str, n: u32, chance: &mut SmallRng) -> Text {
    format!("{prefix}{}", chance.random_range(0..n)).into()
}

fn freshness(chance: &mut SmallRng) -> Freshness {
    match chance.random_range(0..10) {
        0 => Freshness::Stale,
        1 => Freshness::Consistent,
        _ => Freshness::Default,
    }
}

fn next_of_register(chance: &mut SmallRng, values: &mut Values) -> Action {
    let key = name(REGISTER_PREFIX, REGISTERS, chance);
    match chance.random_range(0..100) {
        0..50 => Action::Read { freshness: freshness(chance), key },
        50..92 => Action::Put { key, value: values.fresh() },
        _ => Action::Delete { key },
    }
}

fn next_of_append(
    known: &mut BTreeMap<Text, PairKnown>,
    chance: &mut SmallRng,
    values: &mut Values,
) -> Action {
    let key = name("list/", LISTS, chance);
    match known.remove(&key) {
        None => Action::Read { key, freshness: Freshness::Default },
        Some(list) if list.values.len() >= LIST_LENGTH_MAX => Action::Delete { key },
        Some(list) => Action::Append {
            key,
            value: values.fresh(),
            if_index: list.index,
            if_values: list.values,
        },
    }
}

fn next_of_catalog(chance: &mut SmallRng, values: &mut Values) -> Action {
    let service = name("service-", SERVICES, chance);
    let instance = name(&format!("{service}-"), INSTANCES, chance);
    let node = "elsewhere".into();
    match chance.random_range(0..100) {
        0..40 => Action::List { service, freshness: freshness(chance) },
        40..80 => Action::Register { node, service, instance, value: values.fresh() },
        _ => Action::Deregister { node, service, instance },
    }
}

impl Holder {
    fn next(&mut self, chance: &mut SmallRng, values: &mut Values) -> Action {
        let Some(session) = self.session.clone() else {
            let id: u128 = chance.random();
            let hex = format!("{id:032x}");
            let session = format!(
                "{}-{}-{}-{}-{}",
                &hex[..8],
                &hex[8..12],
                &hex[12..16],
                &hex[16..20],
                &hex[20..]
            );
            return Action::CreateSession {
                session: session.into(),
                ttl: Duration::from_secs(chance.random_range(2..8)),
                lock_delay: Duration::from_secs(chance.random_range(0..3)),
            };
        };
        match (&self.held, chance.random_range(0..100)) {
            (_, 0..25) => Action::Renew { session },
            (_, 25..35) => Action::LookUpSession { session, freshness: freshness(chance) },
            (_, 35..40) => Action::EndSession { session },
            (Some(key), 40..70) => {
                Action::Release { key: key.clone(), session, value: values.fresh() }
            }
            (Some(key), _) => Action::Read { key: key.clone(), freshness: Freshness::Default },
            (None, _) => {
                let key = name("lock/", LOCKS, chance);
                Action::Acquire { key, session, value: values.fresh() }
            }
        }
    }

    fn hear(&mut self, action: &Action, result: &OperationResult) {
        let is_done = matches!(result, OperationResult::Done { .. });
        let is_unmet = matches!(result, OperationResult::Unmet { .. });
        match action {
            Action::CreateSession { session, .. } if is_done => {
                self.session = Some(session.clone());
            }
            Action::EndSession { .. } => *self = Holder::default(),
            Action::Renew { .. } if is_unmet => *self = Holder::default(),
            Action::LookUpSession { freshness, .. }
                if *freshness != Freshness::Stale
                    && matches!(
                        result,
                        OperationResult::Done { found: Found::Session(false), .. }
                    ) =>
            {
                *self = Holder::default();
            }
            Action::Acquire { key, .. } if is_done => self.held = Some(key.clone()),
            Action::Release { .. } => self.held = None,
            _ => {}
        }
    }
}
