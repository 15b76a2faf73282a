//! The search for an order: Wing and Gong's, with Lowe's memory of where it has been.
//!
//! Sources: J. M. Wing, C. Gong, "Testing and verifying concurrent objects", 1993; G. Lowe, "Testing
//! for linearizability", 2017.
//!
//! Calls and returns stand in one list in the order of their instants. Every call that stands
//! before the first return may be the next to take effect. One is taken, it leaves the list with its
//! return, and the search goes on from the front; where the first return is met and nothing before
//! it can be taken, the last step is undone. A set of calls taken together with the state that they
//! led to is remembered and not entered twice.
//!
//! Four things keep the search short, and none of them loses an order:
//! - a look (a call that changes nothing) that fits the present state is taken at once and for good;
//! - a call that need not take effect ([`Role::Optional`]) is tried only after those that must, only
//!   if another call waits for what it leaves, and only if it is the first of its class, for those
//!   of a class do the same;
//! - to have taken fewer of a class is better than to have taken more: where that led nowhere, this
//!   will not lead anywhere;
//! - calls of one client follow each other even where their instants are the same.
//!
//! The memory is bounded; beyond its bound the search gives up and says so. It holds a 128-bit
//! fingerprint of each set instead of the set: two sets in the whole life of the house will not meet.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use super::list::List;

/// A state of what is judged, numbered by its model.
pub(super) type StateNumber = u32;

/// What calls do to what is judged.
pub(super) trait Model {
    /// Where it begins.
    fn start(&self) -> StateNumber;

    /// The state after a call took effect with the result that its client heard; nothing if it
    /// cannot have had that result.
    fn step(&mut self, state: StateNumber, call: usize) -> Option<StateNumber>;

    /// Whether a call that does not fit the present state may fit after this optional one.
    fn helps(&self, optional: usize, waiting: usize) -> bool;
}

/// A call, as the search sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    /// Not before this.
    pub(super) invoked_at: Duration,
    /// Not after this; nothing for one that may take effect at any time or never.
    pub(super) returns_by: Option<Duration>,
    /// An earlier call that took effect before this one: its client's last.
    pub(super) follows: Option<usize>,
    pub(super) role: Role,
}

/// What a call is to the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It changes nothing.
    Look,
    /// It took effect.
    Write,
    /// It took effect or did not.
    Optional {
        /// Those of a class do the same. Nothing for a call that fits one state only, leaves it,
        /// and never meets it again: whether it was taken follows from the state.
        class: Option<u32>,
    },
    /// It took effect or did not, and nothing depends on it: it is never taken.
    Idle,
}

/// What a search came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// An order in which all results are right.
    Order(Vec<usize>),
    /// There is none.
    Nothing {
        /// The return that no order of the calls before it gets past.
        stuck_at: Duration,
    },
    /// The memory was full after so many steps that were remembered.
    GaveUp(usize),
}

/// Looks for an order of `calls`, remembering at most `n_remembered_max` steps.
pub(super) fn search(calls: &[Call], model: &mut impl Model, n_remembered_max: usize) -> Found {
    let mut search = Search {
        list: List::of(calls),
        queues: queues(calls),
        calls,
        model,
        remembered: Memory::default(),
        stuck_at: Duration::ZERO,
        taken: vec![false; calls.len()],
        used: BTreeMap::new(),
        steps: Vec::new(),
        n_left: calls.iter().filter(|call| call.returns_by.is_some()).count(),
    };
    search.run(n_remembered_max)
}

struct Search<'a, M> {
    calls: &'a [Call],
    model: &'a mut M,
    /// Calls that must be taken and are not yet.
    list: List,
    n_left: usize,
    /// The others, by class.
    queues: Vec<Queue>,
    /// How many of each class with a number are taken.
    used: Used,
    taken: Vec<bool>,
    steps: Vec<Step>,
    remembered: Memory,
    /// The latest return that an order was stuck at.
    stuck_at: Duration,
}

type Used = BTreeMap<u32, u32>;

/// Optional calls of one class, in the order of their instants. They are taken in this order.
struct Queue {
    calls: Vec<usize>,
    n_taken: usize,
}

struct Step {
    choice: Choice,
    /// The state and the fingerprint before it.
    before: (StateNumber, u128),
    /// It was taken for good: there is no other choice at its place.
    is_forced: bool,
}

#[derive(Clone, Copy)]
enum Choice {
    /// A call.
    Known(usize),
    /// The next of a queue.
    Optional(usize),
}

/// Where the next choice is looked for: first among the calls that must be taken.
#[derive(Clone, Copy)]
enum Cursor {
    Front,
    /// From this place of the list on.
    Known(usize),
    /// From this queue on.
    Optional(usize),
}

impl<M: Model> Search<'_, M> {
    fn run(&mut self, n_remembered_max: usize) -> Found {
        let mut state = self.model.start();
        let mut taken: u128 = 0;
        let mut cursor = Cursor::Front;
        while self.n_left > 0 {
            if let Cursor::Front = cursor {
                if let Some(call) = self.fitting_look(state) {
                    let choice = Choice::Known(call);
                    self.take(Step { choice, before: (state, taken), is_forced: true });
                    taken ^= fingerprint(call);
                    continue;
                }
                cursor = Cursor::Known(self.list.first());
            }
            if let Some((choice, after)) = self.next_choice(cursor, state) {
                self.take(Step { choice, before: (state, taken), is_forced: false });
                if let Choice::Known(call) = choice {
                    taken ^= fingerprint(call);
                }
                (state, cursor) = (after, Cursor::Front);
                if self.remembered.is_new((taken, state), &self.used) {
                    if self.remembered.n > n_remembered_max {
                        return Found::GaveUp(self.remembered.n);
                    }
                    continue;
                }
            }
            self.stuck_at =
                self.list.first_return().map_or(self.stuck_at, |at| at.max(self.stuck_at));
            let Some(step) = self.undo() else {
                return Found::Nothing { stuck_at: self.stuck_at };
            };
            (state, taken) = step.before;
            cursor = match step.choice {
                Choice::Known(call) => Cursor::Known(self.list.after_call(call)),
                Choice::Optional(queue) => Cursor::Optional(queue + 1),
            };
        }
        Found::Order(self.order())
    }

    /// A look before the first return that fits the state.
    fn fitting_look(&mut self, state: StateNumber) -> Option<usize> {
        let mut place = self.list.first();
        while let Some(call) = self.list.call_at(place) {
            let is_look = self.calls[call].role == Role::Look;
            if is_look && self.may_follow(call) && self.model.step(state, call).is_some() {
                return Some(call);
            }
            place = self.list.after_call(call);
        }
        None
    }

    /// The next call from the cursor on, invoked before the first return, that may take effect now.
    fn next_choice(&mut self, cursor: Cursor, state: StateNumber) -> Option<(Choice, StateNumber)> {
        let mut place = match cursor {
            Cursor::Front => self.list.first(),
            Cursor::Known(place) => place,
            Cursor::Optional(queue) => return self.next_optional(queue, state),
        };
        while let Some(call) = self.list.call_at(place) {
            place = self.list.after_call(call);
            if self.calls[call].role == Role::Write
                && self.may_follow(call)
                && let Some(after) = self.model.step(state, call)
            {
                return Some((Choice::Known(call), after));
            }
        }
        self.next_optional(0, state)
    }

    fn next_optional(&mut self, from: usize, state: StateNumber) -> Option<(Choice, StateNumber)> {
        let first_return = self.list.first_return()?;
        for number in from..self.queues.len() {
            let queue = &self.queues[number];
            if let Some(call) = queue.calls.get(queue.n_taken).copied()
                && self.calls[call].invoked_at <= first_return
                && let Some(after) = self.model.step(state, call)
                && self.is_waited_for(call, state)
            {
                return Some((Choice::Optional(number), after));
            }
        }
        None
    }

    fn may_follow(&self, call: usize) -> bool {
        self.calls[call].follows.is_none_or(|earlier| self.taken[earlier])
    }

    /// Whether a call that must be taken and does not fit may fit after this one.
    fn is_waited_for(&mut self, optional: usize, state: StateNumber) -> bool {
        let mut place = self.list.first();
        while let Some(call) = self.list.call_at(place) {
            place = self.list.after_call(call);
            if self.model.helps(optional, call) && self.model.step(state, call).is_none() {
                return true;
            }
        }
        false
    }

    fn take(&mut self, step: Step) {
        match step.choice {
            Choice::Known(call) => {
                self.list.lift(call);
                self.taken[call] = true;
                self.n_left -= 1;
            }
            Choice::Optional(number) => {
                let queue = &mut self.queues[number];
                if let Role::Optional { class: Some(class) } = self.calls[queue.calls[0]].role {
                    *self.used.entry(class).or_default() += 1;
                }
                queue.n_taken += 1;
            }
        }
        self.steps.push(step);
    }

    /// Undoes the last step that was a choice, and everything after it.
    fn undo(&mut self) -> Option<Step> {
        loop {
            let step = self.steps.pop()?;
            match step.choice {
                Choice::Known(call) => {
                    self.list.put_back(call);
                    self.taken[call] = false;
                    self.n_left += 1;
                }
                Choice::Optional(number) => {
                    let queue = &mut self.queues[number];
                    queue.n_taken -= 1;
                    if let Role::Optional { class: Some(class) } = self.calls[queue.calls[0]].role {
                        self.used.insert(class, queue.n_taken as u32);
                        self.used.retain(|_, n_used| *n_used > 0);
                    }
                }
            }
            if !step.is_forced {
                return Some(step);
            }
        }
    }

    /// The calls that were taken, in their order.
    fn order(&self) -> Vec<usize> {
        let mut n_taken = vec![0; self.queues.len()];
        let calls = self.steps.iter().map(|step| match step.choice {
            Choice::Known(call) => call,
            Choice::Optional(queue) => {
                n_taken[queue] += 1;
                self.queues[queue].calls[n_taken[queue] - 1]
            }
        });
        calls.collect()
    }
}

/// Optional calls by class, those without a class one by one.
fn queues(calls: &[Call]) -> Vec<Queue> {
    let mut by_class: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    let mut queues = Vec::new();
    for (number, call) in calls.iter().enumerate() {
        match call.role {
            Role::Optional { class: Some(class) } => {
                by_class.entry(class).or_default().push(number);
            }
            Role::Optional { class: None } => {
                queues.push(Queue { calls: vec![number], n_taken: 0 });
            }
            _ => {}
        }
    }
    for (_, mut of_class) in by_class {
        of_class.sort_by_key(|call| calls[*call].invoked_at);
        queues.push(Queue { calls: of_class, n_taken: 0 });
    }
    queues
}

/// Where the search has been: the calls that must be taken and are, the state, and how many of
/// each class of the others were used to get there.
#[derive(Default)]
struct Memory {
    been: HashMap<(u128, StateNumber), Ways, FixedState>,
    n: usize,
}

/// The numbers used by class on each way to a place; none more than another in everything.
type Ways = SmallVec<[Box<[(u32, u32)]>; 1]>;

impl Memory {
    /// Remembers a place. Not new is also one that was reached before with no more used.
    fn is_new(&mut self, place: (u128, StateNumber), used: &Used) -> bool {
        let been = self.been.entry(place).or_default();
        let is_no_more = |before: &[(u32, u32)]| {
            before.iter().all(|(class, n)| used.get(class).is_some_and(|now| n <= now))
        };
        if been.iter().any(|before| is_no_more(before)) {
            return false;
        }
        been.push(used.iter().map(|(class, n)| (*class, *n)).collect());
        self.n += 1;
        true
    }
}

/// A number of 128 bits for each call, as if drawn by lot: two rounds of Steele's SplitMix64.
fn fingerprint(call: usize) -> u128 {
    let half = |salt: u64| {
        let mut z = (call as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ salt;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        u128::from(z ^ (z >> 31))
    };
    (half(0x243F_6A88_85A3_08D3) << 64) | half(0x1319_8A2E_0370_7344)
}
