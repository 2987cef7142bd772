//! Seeded randomness: the same seed gives the same decisions, byte for byte.
//!
//! Prevents runs that cannot be repeated, and (with one seed per instance) herds that jitter in
//! step. The generator is `SplitMix64` (Steele, Lea and Flood, "Fast Splittable Pseudorandom
//! Number Generators", OOPSLA 2014): one addition and two multiplications. Not for secrets.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use crate::time::nanos;

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// A seeded generator, owned by one user.
///
/// ```
/// use mainstay_core::random::Random;
///
/// let drawn = |seed| (0..10).map(|_| Random::seeded(seed).bits()).collect::<Vec<_>>();
/// assert_eq!(drawn(7), drawn(7), "a run can be repeated");
/// assert_ne!(drawn(7), drawn(8), "two instances do not jitter in step");
/// ```
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator that `seed` stands for; each is as good as any other, 0 too.
    pub const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN_GAMMA);
        mix(self.0)
    }

    /// A number in `0..bound`; 0 when `bound` is 0. The bias is below `bound` / 2^64.
    pub const fn below(&mut self, bound: u64) -> u64 {
        ((self.bits() as u128 * bound as u128) >> 64) as u64
    }

    /// A number in `0.0..1.0`, of 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A duration in `0..=max`, each nanosecond as likely: full jitter.
    pub const fn up_to(&mut self, max: Duration) -> Duration {
        Duration::from_nanos(self.below(nanos(max).saturating_add(1)))
    }

    /// A generator of its own for the user called `label`, so that adding one user does not
    /// change what the others draw.
    #[must_use]
    pub fn fork(&self, label: &str) -> Self {
        let mut state = self.0;
        for byte in label.bytes() {
            state = mix(state ^ u64::from(byte)).wrapping_add(GOLDEN_GAMMA);
        }
        Self(state)
    }
}

/// The same generator for many threads: one atomic addition a draw, no lock.
#[derive(Debug)]
pub struct SharedRandom(AtomicU64);

impl SharedRandom {
    /// The generator that `seed` stands for.
    pub const fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// A generator for one decision.
    pub fn draw(&self) -> Random {
        Random(mix(self.0.fetch_add(GOLDEN_GAMMA, Ordering::Relaxed)))
    }
}

const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_numbers() {
        let draw = |seed| {
            let mut random = Random::seeded(seed);
            [random.bits(), random.below(10), random.bits()]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn splitmix64_gives_the_published_sequence() {
        // Reference values of the public-domain implementation by Sebastiano Vigna, seed 1234567.
        let mut random = Random::seeded(1_234_567);
        assert_eq!(random.bits(), 6_457_827_717_110_365_317);
        assert_eq!(random.bits(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn full_jitter_stays_within_its_bound() {
        let mut random = Random::seeded(1);
        let max = Duration::from_millis(3);
        assert!((0..1_000).all(|_| random.up_to(max) <= max));
        assert_eq!(random.up_to(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn forks_with_different_labels_differ() {
        let root = Random::seeded(1);
        assert_ne!(root.fork("reads").bits(), root.fork("writes").bits());
    }
}
