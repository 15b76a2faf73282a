//! All chance of a run, drawn from its one seed.
//!
//! Every part draws from a generator of its own, named by its purpose, so that a part that draws
//! once more or less does not shift what the others draw.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::FixedState;
use rand::SeedableRng;
use rand::rngs::SmallRng;

/// The generator of one purpose.
#[must_use]
pub fn chance_for(seed: u64, purpose: &str) -> SmallRng {
    SmallRng::seed_from_u64(seed_for(seed, purpose))
}

/// The seed of one purpose.
#[must_use]
pub fn seed_for(seed: u64, purpose: &str) -> u64 {
    let mut hasher = FixedState::with_seed(seed).build_hasher();
    hasher.write(purpose.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn purposes_draw_apart_and_each_the_same_again() {
        let draw = |seed, purpose| chance_for(seed, purpose).random::<u64>();
        assert_eq!(draw(1, "network"), draw(1, "network"));
        assert_ne!(draw(1, "network"), draw(1, "disk"));
        assert_ne!(draw(1, "network"), draw(2, "network"));
    }
}
