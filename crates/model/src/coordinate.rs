//! A coordinate: a place on the round-trip map (Vivaldi; Dabek et al., SIGCOMM 2004).

use minicbor::{Decode, Encode};

use crate::Text;

/// Dimensions of the map.
pub const DIMENSIONS: usize = 8;

/// A place on the round-trip map. Distances are seconds.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Coordinate {
    /// The place proper.
    #[n(0)]
    pub vector: [f64; DIMENSIONS],
    /// How far the place is to be believed: 0 is sure, 1.5 knows nothing.
    #[n(1)]
    pub error: f64,
    /// What the last samples say is missing, in seconds.
    #[n(2)]
    pub adjustment: f64,
    /// The way to the network's core, in seconds.
    #[n(3)]
    pub height: f64,
}

impl Default for Coordinate {
    /// The origin, of which nothing is known.
    fn default() -> Coordinate {
        Coordinate { vector: [0.0; DIMENSIONS], error: 1.5, adjustment: 0.0, height: 1.0e-5 }
    }
}

impl Coordinate {
    /// The estimated round-trip time to `other`, in seconds.
    pub fn distance(&self, other: &Coordinate) -> f64 {
        let sum: f64 = self.vector.iter().zip(&other.vector).map(|(a, b)| (a - b).powi(2)).sum();
        let raw = sum.sqrt() + self.height + other.height;
        let adjusted = raw + self.adjustment + other.adjustment;
        if adjusted > 0.0 { adjusted } else { raw }
    }

    /// Whether every number is one: others are never stored.
    pub fn is_finite(&self) -> bool {
        self.vector
            .iter()
            .chain([&self.error, &self.adjustment, &self.height])
            .all(|x| x.is_finite())
    }
}

/// The place of one node in one network segment.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub struct NodeCoordinate {
    /// The node.
    #[n(0)]
    pub node: Text,
    /// Empty for the usual segment.
    #[n(1)]
    pub segment: Text,
    /// Where it stands.
    #[n(2)]
    pub coordinate: Coordinate,
}
