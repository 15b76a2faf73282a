//! Where nodes stand on the round-trip map, and sorting by it.
//!
//! Coordinates drift all the time, so they wake nobody but those who ask for coordinates: an answer
//! that was sorted by distance does not depend on them. That is also why such an answer must not be
//! given again later ([`muster_model::answer::Answer::is_lasting`]).

use std::sync::Arc;

use imbl::OrdMap;
use muster_model::answer::Row;
use muster_model::coordinate::NodeCoordinate;
use muster_model::scope::{ChangeKind, Object};
use muster_model::{Indexed, Scope, Text};

use crate::state::{State, Writing};

/// The coordinates of all nodes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// By the node's folded name and the network segment.
    pub(crate) rows: OrdMap<(Text, Text), Row<NodeCoordinate>>,
}

impl Places {
    /// The coordinates of the node with this folded name, one for each of its segments.
    pub(crate) fn of_node<'a, 'b>(
        &'a self,
        node: &'b Text,
    ) -> impl Iterator<Item = &'a Row<NodeCoordinate>> + use<'a, 'b> {
        let first = (node.clone(), Text::default());
        self.rows.range(first..).take_while(move |((own, _), _)| own == node).map(|(_, row)| row)
    }

    /// Puts a coordinate in its place.
    pub(crate) fn put(&mut self, row: Row<NodeCoordinate>) {
        self.rows.insert((row.node.folded(), row.segment.clone()), row);
    }
}

/// What a list is sorted from: the places of one node.
pub(crate) struct Origin<'a> {
    places: &'a Places,
    own: Vec<&'a NodeCoordinate>,
}

impl State {
    /// The places of the node that a list is sorted from; nothing where it has none, and then
    /// the order stays as it is.
    pub(crate) fn origin(&self, near: &Text) -> Option<Origin<'_>> {
        let name = near.folded();
        let own: Vec<_> = self.places.of_node(&name).map(|row| &row.value).collect();
        (!own.is_empty()).then_some(Origin { places: &self.places, own })
    }
}

impl Origin<'_> {
    /// Sorts by the round-trip time to the node of each item. Items of equal distance keep their
    /// order; those whose node stands nowhere come last.
    pub(crate) fn sort<T>(&self, items: &mut [T], node: impl Fn(&T) -> &Text) {
        items.sort_by_cached_key(|item| OrderedDistance(self.distance(&node(item).folded())));
    }

    /// The distance within the first segment that both nodes are in.
    fn distance(&self, node: &Text) -> f64 {
        let mut others = self.places.of_node(node);
        let shared = others.find_map(|other| {
            let own = self.own.iter().find(|own| own.segment == other.segment)?;
            Some(own.coordinate.distance(&other.coordinate))
        });
        shared.unwrap_or(f64::INFINITY)
    }
}

/// A distance that can be sorted by.
#[derive(PartialEq)]
struct OrderedDistance(f64);

impl Eq for OrderedDistance {}

impl PartialOrd for OrderedDistance {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OrderedDistance {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Writing<'_> {
    /// Notes where nodes stand. Unknown nodes, and places that are no numbers, are passed over.
    pub(crate) fn put_coordinates(&mut self, coordinates: &[NodeCoordinate]) {
        for wish in coordinates {
            let name = wish.node.folded();
            let is_known = self.state.catalog.node(&name).is_some();
            if is_known && wish.coordinate.is_finite() {
                self.put_coordinate(name, wish);
            }
        }
    }

    fn put_coordinate(&mut self, name: Text, wish: &NodeCoordinate) {
        let old = self.state.places.rows.get(&(name.clone(), wish.segment.clone())).cloned();
        if old.as_ref().is_some_and(|old| old.coordinate == wish.coordinate) {
            return;
        }
        let kind = if old.is_some() { ChangeKind::Changed } else { ChangeKind::Created };
        let create_index = old.map_or(self.index, |old| old.create_index);
        let row = Indexed { value: wish.clone(), create_index, modify_index: self.index };
        self.state.places.put(Arc::new(row));
        self.record_coordinate(name, wish.node.clone(), kind);
    }

    /// Forgets where a node stood.
    pub(crate) fn remove_coordinates_of(&mut self, name: &Text) {
        let rows: Vec<_> = self.state.places.of_node(name).cloned().collect();
        for row in &rows {
            self.state.places.rows.remove(&(name.clone(), row.segment.clone()));
            self.record_coordinate(name.clone(), row.node.clone(), ChangeKind::Removed);
        }
        if !rows.is_empty() {
            self.vanish(&Scope::Coordinate(name.clone()));
        }
    }

    fn record_coordinate(&mut self, name: Text, node: Text, kind: ChangeKind) {
        let scopes = vec![Scope::Coordinates, Scope::Coordinate(name)];
        self.record(Object::Coordinate(node), kind, scopes);
    }
}
