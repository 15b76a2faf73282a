//! Telling the catalog where this agent's node stands on the round-trip map.
//!
//! Gossip moves the place a little with every probe. It is written down only when it has moved far
//! enough to matter, and the larger the pool the more seldom one looks, so that a calm cluster
//! writes nothing and a large one little.

use std::sync::{Arc, Weak};
use std::time::Duration;

use muster_gossip::coordinate::Coordinate;
use muster_model::coordinate::NodeCoordinate;
use muster_model::{Command, Text};
use muster_registry::{Call, Registry};
use tokio::time::sleep;

use crate::membership::Membership;
use crate::operator::to_model;

/// Between two looks in a small pool.
const LOOK_INTERVAL: Duration = Duration::from_secs(15);
/// Agents that may write in a second, all together.
const WRITES_PER_SECOND: usize = 64;
/// Moving by less than this, in seconds of round trip, is not worth a write.
const MOVED_MIN: f64 = 0.0005;
/// Nor is a change of certainty by less than this.
const ERROR_CHANGED_MIN: f64 = 0.2;

/// Looks and tells for as long as the agent runs.
pub(crate) async fn run(registry: Weak<dyn Registry>, lan: Weak<Membership>, node: Text) {
    let mut told: Option<Coordinate> = None;
    loop {
        let Some(members) = lan.upgrade() else { return };
        let n_members = members.members().borrow().len();
        let interval =
            LOOK_INTERVAL.max(Duration::from_secs((n_members / WRITES_PER_SECOND) as u64));
        drop(members);
        sleep(interval).await;
        let (Some(members), Some(registry)) = (lan.upgrade(), registry.upgrade()) else { return };
        if n_members < 2 {
            continue;
        }
        let Ok(places) = members.places().await else { return };
        let own = places.into_iter().find(|(name, _)| *name == *node).map(|(_, place)| place);
        let Some(own) = own.filter(|own| told.as_ref().is_none_or(|told| has_moved(told, own)))
        else {
            continue;
        };
        let coordinate = NodeCoordinate {
            node: node.clone(),
            segment: Text::default(),
            coordinate: to_model(&own),
        };
        let command = Command::PutCoordinates { coordinates: vec![coordinate] };
        match registry.submit(&Call::default(), command).await {
            Ok(_) => told = Some(own),
            // The next look tries again.
            Err(refusal) => tracing::debug!(%refusal, "the coordinate was not written"),
        }
    }
}

/// Whether two places are far enough apart, or known well enough, to be told apart.
fn has_moved(told: &Coordinate, now: &Coordinate) -> bool {
    let apart: f64 = told.vector.iter().zip(&now.vector).map(|(a, b)| (a - b).powi(2)).sum();
    apart.sqrt() + (told.height - now.height).abs() >= MOVED_MIN
        || (told.error - now.error).abs() >= ERROR_CHANGED_MIN
}

/// The registry of an agent, held so that it may go.
pub(crate) fn registry_of<R: Registry>(agent: &Arc<R>) -> Weak<dyn Registry> {
    let agent: Weak<R> = Arc::downgrade(agent);
    agent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_trembles_is_not_told_again() {
        let told = Coordinate::default();
        let mut now = told.clone();
        now.vector[0] += 0.0001;
        assert!(!has_moved(&told, &now));
        now.vector[0] += 0.001;
        assert!(has_moved(&told, &now));
        let surer = Coordinate { error: told.error / 2.0, ..told.clone() };
        assert!(has_moved(&told, &surer));
    }
}
