//! Which index touched which scope last.
//!
//! The rule that every watch rests on: the index of a scope moves exactly when a change names the
//! scope, and it never falls. For scopes that come and go with their object (a service, a node) the
//! entry goes with the object, and from then on the scope answers with the *floor* of its family:
//! the index at which the last object of that family vanished. The floor is at least as high as any
//! entry that was dropped, so an index does not fall when its object vanishes, and a fleet that
//! makes and drops names for years leaves nothing behind.
//!
//! A family's floor is kept under its scope with the empty name, which no object has.

use foldhash::fast::FixedState;
use imbl::GenericHashMap;
use imbl::shared_ptr::DefaultSharedPtr;
use muster_model::{Index, Scope, Text};

/// The last index of every scope that is not derived from a single row.
///
/// Scopes of pairs are not kept here: a pair carries its own index, a deleted one its tombstone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Indexes {
    /// Of the scopes that are always there, at their [`place`].
    fixed: [Index; N_FIXED],
    /// Of those that come and go with a name, and the floors of their families.
    named: GenericHashMap<Scope, Index, FixedState, DefaultSharedPtr>,
}

/// How many scopes have a [`place`].
const N_FIXED: usize = 12;

/// The place of a scope that is always there.
fn place(scope: &Scope) -> Option<usize> {
    Some(match scope {
        Scope::Nodes => 0,
        Scope::Services => 1,
        Scope::Instances => 2,
        Scope::Checks(status) => 3 + *status as usize,
        Scope::Sessions => 6,
        Scope::PreparedQueries => 7,
        Scope::Coordinates => 8,
        Scope::Roots => 9,
        Scope::Usage => 10,
        Scope::Leases => 11,
        Scope::Node(_)
        | Scope::Service(_)
        | Scope::Pair(_)
        | Scope::PairsUnder(_)
        | Scope::Session(_)
        | Scope::SessionsOf(_)
        | Scope::Coordinate(_)
        | Scope::Settings(_) => return None,
    })
}

/// The scopes that have a place.
fn fixed_scopes() -> impl Iterator<Item = Scope> {
    let checks = muster_model::Status::ALL.map(Scope::Checks);
    [Scope::Nodes, Scope::Services, Scope::Instances, Scope::Sessions, Scope::PreparedQueries]
        .into_iter()
        .chain([Scope::Coordinates, Scope::Roots, Scope::Usage, Scope::Leases])
        .chain(checks)
}

impl Indexes {
    /// The last index that touched `scope`, 0 if none ever did.
    pub(crate) fn of(&self, scope: &Scope) -> Index {
        if let Some(at) = place(scope) {
            return self.fixed[at];
        }
        let known = self.named.get(scope).or_else(|| self.named.get(&family(scope)?));
        known.copied().unwrap_or(0)
    }

    /// Moves `scope` to `index`.
    pub(crate) fn touch(&mut self, scope: &Scope, index: Index) {
        if let Some(at) = place(scope) {
            self.fixed[at] = index;
        } else if family(scope).is_some() {
            self.named.insert(scope.clone(), index);
        }
    }

    /// Forgets a scope whose object vanished at `index`.
    pub(crate) fn vanish(&mut self, scope: &Scope, index: Index) {
        self.named.remove(scope);
        if let Some(floor) = family(scope) {
            self.named.insert(floor, index);
        }
    }

    /// All entries, floors included, in the order of the scopes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Scope, Index)> {
        let fixed = fixed_scopes().map(|scope| (self.of(&scope), scope));
        let fixed = fixed.filter(|(index, _)| *index > 0).map(|(index, scope)| (scope, index));
        // order-free: all of it is sorted below.
        let named = self.named.iter().map(|(scope, index)| (scope.clone(), *index));
        let mut all: Vec<(Scope, Index)> = fixed.chain(named).collect();
        all.sort_unstable();
        all.into_iter()
    }
}

/// The scope under which the floor of a family is kept.
fn family(scope: &Scope) -> Option<Scope> {
    let nameless = Text::default();
    Some(match scope {
        Scope::Node(_) => Scope::Node(nameless),
        Scope::Service(_) => Scope::Service(nameless),
        Scope::Session(_) => Scope::Session(nameless),
        Scope::SessionsOf(_) => Scope::SessionsOf(nameless),
        Scope::Coordinate(_) => Scope::Coordinate(nameless),
        Scope::Settings(_) => Scope::Settings(nameless),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_does_not_fall_when_its_object_vanishes() {
        let mut indexes = Indexes::default();
        let (web, other) = (Scope::Service("web".into()), Scope::Service("other".into()));
        indexes.touch(&web, 7);
        assert_eq!(indexes.of(&web), 7);
        assert_eq!(indexes.of(&other), 0);
        indexes.vanish(&web, 9);
        assert_eq!(indexes.of(&web), 9);
        assert_eq!(indexes.of(&other), 9);
    }
}
