//! Network coordinates: each member's place on a map of round-trip times.
//!
//! Vivaldi with a height (Dabek, Cox, Kaashoek, Morris: "Vivaldi: A Decentralized Network
//! Coordinate System", SIGCOMM 2004), an adjustment by the last samples (Lee, Guha, Zhang et al.:
//! "On Suitability of Euclidean Embedding for Host-Based Network Coordinate Systems", 2010), a
//! latency filter and a gravity that keeps the map from drifting (Ledlie, Gardner, Seltzer:
//! "Network Coordinates in the Wild", NSDI 2007). The constants are those that Serf published, so
//! that figures compare.
//!
//! A sample is the round trip of one direct probe and the coordinate that came with the answer.

use std::time::Duration;

use minicbor::{Decode, Encode};
use rand::Rng;
use rand::rngs::StdRng;

/// Dimensions of the map, the height not counted.
pub const DIMENSIONS: usize = 8;

/// The error of one who knows nothing; no error is larger.
const ERROR_MAX: f64 = 1.5;
/// How much one sample may move the error.
const ERROR_STEP: f64 = 0.25;
/// How much one sample may move the place.
const PLACE_STEP: f64 = 0.25;
/// Samples that the adjustment remembers.
const ADJUSTMENT_WINDOW: usize = 20;
/// The least height: nobody is the network's core.
const HEIGHT_MIN: f64 = 1.0e-5;
/// Samples of a member of which the median is taken.
const LATENCY_WINDOW: usize = 3;
/// The larger, the weaker the pull to the origin.
const GRAVITY_RHO: f64 = 150.0;
/// Distances below this, in seconds, are none.
const TINY: f64 = 1.0e-6;
/// A round trip beyond this says nothing of the network.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(10);

/// A place on the round-trip map. Distances are seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Coordinate {
    /// The place proper.
    pub vector: [f64; DIMENSIONS],
    /// How far the place is to be believed: 0 is sure, 1.5 knows nothing.
    pub error: f64,
    /// What the last samples say is missing, in seconds.
    pub adjustment: f64,
    /// The way to the network's core, in seconds.
    pub height: f64,
}

impl Default for Coordinate {
    /// The origin, of which nothing is known.
    fn default() -> Coordinate {
        Coordinate {
            vector: [0.0; DIMENSIONS],
            error: ERROR_MAX,
            adjustment: 0.0,
            height: HEIGHT_MIN,
        }
    }
}

impl Coordinate {
    /// The estimated round trip to `other`, in seconds.
    pub fn distance(&self, other: &Coordinate) -> f64 {
        let raw = self.raw_distance(other);
        let adjusted = raw + self.adjustment + other.adjustment;
        if adjusted > 0.0 { adjusted } else { raw }
    }

    /// Whether it is a place that could be: others are never used.
    pub fn is_sound(&self) -> bool {
        let numbers = self.vector.iter().chain([&self.error, &self.adjustment, &self.height]);
        numbers.into_iter().all(|number| number.is_finite() && number.abs() < 1.0e6)
            && self.error >= 0.0
            && self.height >= 0.0
    }

    fn raw_distance(&self, other: &Coordinate) -> f64 {
        magnitude(&difference(&self.vector, &other.vector)) + self.height + other.height
    }

    /// Moves by `force` seconds away from `other`.
    fn push(&mut self, force: f64, other: &Coordinate, rng: &mut StdRng) {
        let between = difference(&self.vector, &other.vector);
        let apart = magnitude(&between);
        let direction = if apart > TINY { scaled(&between, 1.0 / apart) } else { anywhere(rng) };
        for (place, step) in self.vector.iter_mut().zip(direction) {
            *place += step * force;
        }
        if apart > TINY {
            let pushed = (self.height + other.height) * force / apart + self.height;
            self.height = pushed.max(HEIGHT_MIN);
        }
    }
}

/// This member's own place, moved by each sample.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vivaldi {
    place: Coordinate,
    shortfalls: [f64; ADJUSTMENT_WINDOW],
    n_samples: usize,
}

impl Vivaldi {
    /// Where this member stands.
    pub(crate) fn place(&self) -> &Coordinate {
        &self.place
    }

    /// Learns from a round trip, already filtered, to who stands at `other`.
    pub(crate) fn sample(&mut self, other: &Coordinate, round_trip: Duration, rng: &mut StdRng) {
        if !other.is_sound() || round_trip > ROUND_TRIP_MAX {
            return;
        }
        let seconds = round_trip.as_secs_f64().max(TINY);
        self.attract(other, seconds, rng);
        self.adjust(other, seconds);
        self.gravitate(rng);
        if !self.place.is_sound() {
            *self = Vivaldi::default();
        }
    }

    fn attract(&mut self, other: &Coordinate, seconds: f64, rng: &mut StdRng) {
        let wrong = (self.place.distance(other) - seconds).abs() / seconds;
        let weight = self.place.error / (self.place.error + other.error).max(TINY);
        let step = ERROR_STEP * weight;
        self.place.error = (step * wrong + self.place.error * (1.0 - step)).min(ERROR_MAX);
        let force = PLACE_STEP * weight * (seconds - self.place.distance(other));
        self.place.push(force, other, rng);
    }

    fn adjust(&mut self, other: &Coordinate, seconds: f64) {
        self.shortfalls[self.n_samples % ADJUSTMENT_WINDOW] =
            seconds - self.place.raw_distance(other);
        self.n_samples = self.n_samples.wrapping_add(1);
        self.place.adjustment =
            self.shortfalls.iter().sum::<f64>() / (2.0 * ADJUSTMENT_WINDOW as f64);
    }

    fn gravitate(&mut self, rng: &mut StdRng) {
        let origin = Coordinate::default();
        let pull = (origin.distance(&self.place) / GRAVITY_RHO).powi(2);
        self.place.push(-pull, &origin, rng);
    }
}

/// The last round trips to one member, of which the median counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct LatencyFilter {
    last: [Duration; LATENCY_WINDOW],
    n_samples: usize,
}

impl LatencyFilter {
    /// Takes a round trip and gives the one that is typical now.
    pub(crate) fn median(&mut self, round_trip: Duration) -> Duration {
        self.last[self.n_samples % LATENCY_WINDOW] = round_trip;
        self.n_samples = self.n_samples.wrapping_add(1);
        let mut sorted = self.last;
        let known = &mut sorted[..self.n_samples.min(LATENCY_WINDOW)];
        known.sort_unstable();
        known[known.len() / 2]
    }
}

fn difference(a: &[f64; DIMENSIONS], b: &[f64; DIMENSIONS]) -> [f64; DIMENSIONS] {
    std::array::from_fn(|at| a[at] - b[at])
}

fn scaled(vector: &[f64; DIMENSIONS], by: f64) -> [f64; DIMENSIONS] {
    vector.map(|number| number * by)
}

fn magnitude(vector: &[f64; DIMENSIONS]) -> f64 {
    vector.iter().map(|number| number * number).sum::<f64>().sqrt()
}

/// A direction by chance: two members at one place have to part somehow.
fn anywhere(rng: &mut StdRng) -> [f64; DIMENSIONS] {
    let vector: [f64; DIMENSIONS] = std::array::from_fn(|_| rng.random_range(-0.5..0.5));
    let length = magnitude(&vector);
    if length > TINY {
        return scaled(&vector, 1.0 / length);
    }
    let mut first = [0.0; DIMENSIONS];
    first[0] = 1.0;
    first
}

/// Eleven numbers of single precision: a microsecond in ten seconds, in half the bytes.
impl<C> Encode<C> for Coordinate {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.array(DIMENSIONS as u64 + 3)?;
        for number in self.vector.iter().chain([&self.error, &self.adjustment, &self.height]) {
            encoder.f32(*number as f32)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Coordinate {
    fn decode(
        decoder: &mut minicbor::Decoder<'b>,
        _: &mut C,
    ) -> Result<Coordinate, minicbor::decode::Error> {
        let mut numbers = [0.0; DIMENSIONS + 3];
        if decoder.array()? != Some(numbers.len() as u64) {
            return Err(minicbor::decode::Error::message("a coordinate has eleven numbers"));
        }
        for number in &mut numbers {
            *number = f64::from(decoder.f32()?);
        }
        let [vector @ .., error, adjustment, height] = numbers;
        Ok(Coordinate { vector, error, adjustment, height })
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const MS: f64 = 1.0e-3;

    /// Places `n` members on a map by samples of `round_trip`, in seconds.
    fn settle(n: usize, round_trip: impl Fn(usize, usize) -> f64) -> Vec<Vivaldi> {
        let mut rng = StdRng::seed_from_u64(1);
        let mut members = vec![Vivaldi::default(); n];
        for _ in 0..1_000 {
            for from in 0..n {
                let to = (from + rng.random_range(1..n)) % n;
                let other = members[to].place().clone();
                let took = Duration::from_secs_f64(round_trip(from, to));
                members[from].sample(&other, took, &mut rng);
            }
        }
        members
    }

    /// The mean error of all distances, as a share of the true ones.
    fn error_of(members: &[Vivaldi], round_trip: impl Fn(usize, usize) -> f64) -> f64 {
        let mut errors = Vec::new();
        for from in 0..members.len() {
            for to in (0..members.len()).filter(|to| *to != from) {
                let told = members[from].place().distance(members[to].place());
                let truth = round_trip(from, to);
                errors.push((told - truth).abs() / truth);
            }
        }
        errors.iter().sum::<f64>() / errors.len() as f64
    }

    #[test]
    fn members_on_a_line_are_placed_as_they_stand() {
        let line = |from: usize, to: usize| 10.0 * MS * from.abs_diff(to) as f64;
        let error = error_of(&settle(10, line), line);
        assert!(error < 0.05, "{error}");
    }

    #[test]
    fn two_datacenters_are_told_apart() {
        let split = |from: usize, to: usize| if (from < 5) == (to < 5) { MS } else { 100.0 * MS };
        let members = settle(10, split);
        let error = error_of(&members, split);
        assert!(error < 0.15, "{error}");
        let (near, far) = (members[0].place(), members[1].place());
        assert!(near.distance(far) * 20.0 < near.distance(members[7].place()));
    }

    #[test]
    fn a_hub_that_all_paths_cross_becomes_height() {
        let star = |from: usize, to: usize| MS * (from + to + 2) as f64;
        let error = error_of(&settle(10, star), star);
        assert!(error < 0.15, "{error}");
    }

    #[test]
    fn nonsense_moves_nobody() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut member = Vivaldi::default();
        let broken = Coordinate { height: f64::NAN, ..Coordinate::default() };
        member.sample(&broken, Duration::from_millis(1), &mut rng);
        let far = Coordinate { error: -1.0, ..Coordinate::default() };
        member.sample(&far, Duration::from_millis(1), &mut rng);
        member.sample(&Coordinate::default(), Duration::from_secs(3_600), &mut rng);
        assert_eq!(member.place(), &Coordinate::default());
    }

    #[test]
    fn one_late_answer_is_no_trend() {
        let ms = Duration::from_millis;
        let mut filter = LatencyFilter::default();
        assert_eq!(filter.median(ms(1)), ms(1));
        assert_eq!(filter.median(ms(2)), ms(2));
        assert_eq!(filter.median(ms(500)), ms(2));
        assert_eq!(filter.median(ms(1)), ms(2));
        assert_eq!(filter.median(ms(1)), ms(1));
    }

    #[test]
    fn the_wire_keeps_microseconds() {
        let place = Coordinate { vector: [0.1234567; DIMENSIONS], ..Coordinate::default() };
        let bytes = minicbor::to_vec(&place).unwrap();
        assert!(bytes.len() <= 60, "{}", bytes.len());
        let read: Coordinate = minicbor::decode(&bytes).unwrap();
        assert!((read.vector[0] - place.vector[0]).abs() < 1.0e-7);
    }
}
