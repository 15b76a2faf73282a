//! What the catalog has yet to be told.
//!
//! Every change of what an agent vouches for marks its target with a new number. One pusher takes
//! targets in the order of their numbers, tells the catalog how they are *then*, and either settles
//! them or marks them again. Because there is one pusher and it never looks at how a target was
//! when it was marked, an older word cannot overtake a newer one.

use std::collections::BTreeMap;

use muster_model::command::Target;

/// Targets whose present word the catalog has yet to hear, in the order of their marks.
#[derive(Debug, Default)]
pub struct Ledger {
    last: u64,
    by_number: BTreeMap<u64, Target>,
    numbers: BTreeMap<Target, u64>,
}

/// A target as it was taken from the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The target.
    pub target: Target,
    /// Its number. Whoever waits for a mark with this number or a smaller one waits for this.
    pub number: u64,
}

impl Ledger {
    /// The catalog has to hear of this target. Gives the number to wait for.
    pub fn mark(&mut self, target: Target) -> u64 {
        self.last += 1;
        if let Some(earlier) = self.numbers.insert(target.clone(), self.last) {
            self.by_number.remove(&earlier);
        }
        self.by_number.insert(self.last, target);
        self.last
    }

    /// Marks a target unless it is marked already.
    pub fn mark_once(&mut self, target: Target) {
        if !self.numbers.contains_key(&target) {
            self.mark(target);
        }
    }

    /// What was marked first.
    pub fn first(&self) -> Option<&Target> {
        self.by_number.values().next()
    }

    /// Takes out what was marked first.
    pub fn take_first(&mut self) -> Option<Taken> {
        let (number, target) = self.by_number.pop_first()?;
        self.numbers.remove(&target);
        Some(Taken { target, number })
    }

    /// Takes out one target, if it is marked: it travels with another one.
    pub fn take(&mut self, target: &Target) -> Option<Taken> {
        let number = self.numbers.remove(target)?;
        let target = self.by_number.remove(&number)?;
        Some(Taken { target, number })
    }

    /// The number under which a target is marked, if it is.
    pub fn number_of(&self, target: &Target) -> Option<u64> {
        self.numbers.get(target).copied()
    }

    /// Marked targets.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether the catalog has been told everything.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_marked_twice_is_told_once_under_the_later_number() {
        let mut ledger = Ledger::default();
        let web = Target::Instance("web".into());
        let first = ledger.mark(web.clone());
        ledger.mark(Target::Check("c".into()));
        let second = ledger.mark(web.clone());
        assert!(second > first);
        assert_eq!(ledger.take_first().unwrap().target, Target::Check("c".into()));
        assert_eq!(ledger.take_first(), Some(Taken { target: web, number: second }));
        assert!(ledger.is_empty());
    }
}
