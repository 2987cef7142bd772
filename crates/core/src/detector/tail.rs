//! The upper tail of the normal distribution as a logarithm: exact where the tail itself is no
//! number any more.
//!
//! Prevents a suspicion that stops growing: the tail underflows at 38 standard deviations, and
//! from there on a textbook phi is infinite or not a number. Always holds: finite for finite
//! arguments, never negative, rising up to the last bits of an `f64`.

use core::f64::consts::{FRAC_1_SQRT_2, LN_10};

/// From here on the continued fraction is exact to the last bits with [`FRACTION_TERMS`] terms;
/// the error function does as well up to 37.
const FRACTION_FROM: f64 = 20.0;

/// Terms of the continued fraction: its error at [`FRACTION_FROM`] is below 1e-17.
const FRACTION_TERMS: u32 = 24;

/// −log10 of the probability that a standard normal variable is above `deviations`.
pub(super) fn minus_log10(deviations: f64) -> f64 {
    if deviations < 0.0 {
        // The tail is nearly 1: its complement keeps the digits.
        let below = 0.5 * libm::erfc(-deviations * FRAC_1_SQRT_2);
        return -libm::log1p(-below) / LN_10;
    }
    if deviations < FRACTION_FROM {
        return -libm::log10(0.5 * libm::erfc(deviations * FRAC_1_SQRT_2));
    }
    far(deviations)
}

/// Laplace's continued fraction, density / (x + 1/(x + 2/(x + 3/…))), from its far end.
fn far(x: f64) -> f64 {
    let fraction = (1..=FRACTION_TERMS)
        .rev()
        .fold(x, |below, term| x + f64::from(term) / below);
    let root_of_two_pi = 2.506_628_274_631_000_5;
    (x * x * 0.5 + libm::log(fraction * root_of_two_pi)) / LN_10
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's mpmath 1.3 at 60 digits, cut to 20:
    /// `-log10(erfc(x/sqrt(2))/2)`, for negative x `-log1p(-erfc(-x/sqrt(2))/2)/log(10)`.
    const TABLE: [(f64, f64); 38] = [
        (-20.0, 1.195_883_759_946_392_8e-89),
        (-10.0, 3.309_260_121_306_722_6e-24),
        (-5.0, 1.244_912_137_388_291_8e-7),
        (-3.0, 0.000_586_649_313_790_066_7),
        (-1.0, 0.075_026_012_957_818_02),
        (-0.5, 0.160_231_392_277_849_02),
        (0.0, core::f64::consts::LOG10_2),
        (0.1, 0.337_079_656_726_623_5),
        (0.5, 0.510_691_989_265_240_7),
        (1.0, 0.799_545_541_491_970_5),
        (1.5, 1.175_176_721_614_816_3),
        (2.0, 1.643_016_080_140_937),
        (3.0, 2.869_699_035_929_369),
        (4.0, 4.499_334_907_556_479),
        (5.0, 6.542_645_672_390_654_5),
        (6.0, 9.005_864_327_476_704),
        (8.0, 15.206_142_551_017_155),
        (10.0, 23.118_053_405_486_076),
        (12.5, 35.427_992_702_181_03),
        (15.0, 50.435_219_614_275_51),
        (19.999, 88.551_388_062_566_73),
        (20.0, 88.560_095_343_075_59),
        (20.001, 88.568_803_056_809_16),
        (25.0, 137.514_747_650_995_53),
        (30.0, 197.309_209_261_660_95),
        (36.6, 292.844_652_712_703_46),
        (37.1, 300.852_412_717_941_04),
        (38.0, 315.539_789_703_962_5),
        (38.5, 323.851_341_068_479_4),
        (40.0, 349.437_006_459_345_87),
        (50.0, 544.966_335_861_996_6),
        (75.0, 1_223.727_458_724_09),
        (100.0, 2_173.871_542_869_034_3),
        (1_000.0, 217_150.640_041_994_4),
        (12_345.678, 33_096_667.398_618_88),
        (1e6, 217_147_240_958.025),
        (1e9, 2.171_472_409_516_259_2e17),
        (1e12, 2.171_472_409_516_259e23),
    ];

    #[test]
    fn the_tail_agrees_with_sixty_digits_from_one_sample_to_a_million_million_deviations() {
        for (deviations, expected) in TABLE {
            let computed = minus_log10(deviations);
            let error = ((computed - expected) / expected).abs();
            // Far below the mean phi is next to nothing, and its digits matter as little.
            let tolerated = if deviations < 0.0 { 1e-13 } else { 4e-15 };
            assert!(
                error < tolerated,
                "{deviations}: {computed:e}, not {expected:e}"
            );
        }
    }

    #[test]
    fn the_tail_is_a_number_even_at_the_end_of_numbers() {
        // 584 years of silence, in deviations of a nanosecond.
        let longest = minus_log10(u64::MAX as f64);
        assert!(longest.is_finite() && longest > 1e37, "{longest}");
        assert!(minus_log10(-1e19) <= 0.0);
    }

    #[test]
    fn the_tail_rises_over_the_seams_of_its_formulas() {
        let seams = [
            -0.5,
            0.0,
            0.84375 / FRAC_1_SQRT_2,
            1.25 / FRAC_1_SQRT_2,
            20.0,
        ];
        for seam in seams {
            let steps = (-1_000..1_000).map(|step| minus_log10(seam + f64::from(step) * 1e-9));
            let values: alloc::vec::Vec<f64> = steps.collect();
            assert!(values.is_sorted(), "at {seam}");
        }
    }
}
