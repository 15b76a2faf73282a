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

use imbl::OrdMap;
use muster_model::{Index, Scope, Text};

/// The last index of every scope that is not derived from a single row.
///
/// Scopes of pairs are not kept here: a pair carries its own index, a deleted one its tombstone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Indexes {
    touched: OrdMap<Scope, Index>,
}

impl Indexes {
    /// The last index that touched `scope`, 0 if none ever did.
    pub(crate) fn of(&self, scope: &Scope) -> Index {
        let known = self.touched.get(scope).or_else(|| self.touched.get(&family(scope)?));
        known.copied().unwrap_or(0)
    }

    /// Moves `scope` to `index`.
    pub(crate) fn touch(&mut self, scope: &Scope, index: Index) {
        if !matches!(scope, Scope::Pair(_) | Scope::PairsUnder(_)) {
            self.touched.insert(scope.clone(), index);
        }
    }

    /// Forgets a scope whose object vanished at `index`.
    pub(crate) fn vanish(&mut self, scope: &Scope, index: Index) {
        self.touched.remove(scope);
        if let Some(floor) = family(scope) {
            self.touched.insert(floor, index);
        }
    }

    /// All entries, floors included, in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Scope, Index)> {
        self.touched.iter().map(|(scope, index)| (scope, *index))
    }

    /// Takes up an entry that [`Indexes::iter`] gave.
    pub(crate) fn restore(&mut self, scope: Scope, index: Index) {
        self.touched.insert(scope, index);
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
