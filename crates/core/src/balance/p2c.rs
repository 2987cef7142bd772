//! The power of two choices.

use crate::random::Random;

/// Draws two of the `count` endpoints that are `eligible` and returns the one that costs less, or
/// the only one, or `None`.
///
/// Each endpoint, by its place from 0, is asked once whether it is eligible: a circuit may open in
/// between. A retry excludes the endpoints it has tried. Costs are compared with each other only,
/// so that their unit does not matter; one that is not a number loses.
pub fn pick(
    count: usize,
    random: &mut Random,
    eligible: impl Fn(usize) -> bool,
    cost: impl Fn(usize) -> f64,
) -> Option<usize> {
    // A reservoir of two: every pair is equally likely, in one pass and without a list.
    let mut drawn = [None; 2];
    let mut seen = 0_u64;
    for index in (0..count).filter(|&index| eligible(index)) {
        seen += 1;
        match seen {
            1 => drawn[0] = Some(index),
            2 => drawn[1] = Some(index),
            _ => match random.below(seen) {
                0 => drawn[0] = Some(index),
                1 => drawn[1] = Some(index),
                _ => {},
            },
        }
    }
    let (Some(first), Some(second)) = (drawn[0], drawn[1]) else {
        return drawn[0];
    };
    // Between equals a coin decides, or the earlier one would always win.
    let (first, second) = if random.below(2) == 0 {
        (first, second)
    } else {
        (second, first)
    };
    // Written so that a cost that is not a number loses.
    if cost(second) < cost(first) || cost(first).is_nan() {
        Some(second)
    } else {
        Some(first)
    }
}
