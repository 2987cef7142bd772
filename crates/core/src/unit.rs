//! Typed strings: durations, percentages and sizes.
//!
//! Prevents the oldest mistake of configuration files: a number whose unit the reader guesses.
//!
//! ```
//! use mainstay_core::time::Duration;
//! use mainstay_core::unit;
//!
//! assert_eq!(unit::duration("1m30s"), Ok(Duration::from_secs(90)));
//! assert!(unit::duration("90").is_err(), "ninety what?");
//! assert!(unit::duration("0s").is_err(), "zero never means off");
//! ```

use core::time::Duration;

#[cfg(feature = "serde")]
pub mod text;

/// Why a typed string is wrong, in words that follow "expected".
pub type Expected = &'static str;

const DURATION: Expected = "a duration such as \"250ms\", \"5s\" or \"1m30s\"";
const PERCENT: Expected = "a percentage above \"0%\" and at most \"100%\"";
const SIZE: Expected = "a size such as \"512B\", \"64KiB\" or \"1MiB\"";

/// Reads `"1m30s"`: whole or decimal numbers with `us`, `ms`, `s`, `m` (minutes), `h` or `d`, above
/// zero in sum.
///
/// # Errors
///
/// [`Expected`]: the words that say what a duration is, for text that is none, zero, or too long.
pub fn duration(text: &str) -> Result<Duration, Expected> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or(DURATION)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let seconds = match unit {
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return Err(DURATION),
        };
        let number: f64 = number.parse().map_err(|_| DURATION)?;
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| DURATION)?;
        total = total.checked_add(part).ok_or(DURATION)?;
        rest = tail;
    }
    if total.is_zero() {
        Err(DURATION)
    } else {
        Ok(total)
    }
}

/// Reads `"20%"` as 0.2: above 0 %, at most 100 %.
///
/// # Errors
///
/// [`Expected`]: the words that say what a percentage is, for text that is none, or outside the
/// bounds.
pub fn percent(text: &str) -> Result<f64, Expected> {
    let number: f64 = text
        .strip_suffix('%')
        .and_then(|n| n.trim_end().parse().ok())
        .ok_or(PERCENT)?;
    if number > 0.0 && number <= 100.0 {
        Ok(number / 100.0)
    } else {
        Err(PERCENT)
    }
}

/// Reads `"64KiB"` as 65536 bytes: whole numbers above zero with `B`, `KiB`, `MiB`, `GiB`, or `kB`,
/// `MB`, `GB` by thousands.
///
/// # Errors
///
/// [`Expected`]: the words that say what a size is, for text that is none, zero, or too large.
pub fn size(text: &str) -> Result<usize, Expected> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or(SIZE)?;
    let (number, unit) = text.split_at(digits);
    let factor: usize = match unit.trim_start() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(SIZE),
    };
    let number: usize = number.parse().map_err(|_| SIZE)?;
    number
        .checked_mul(factor)
        .filter(|&bytes| bytes > 0)
        .ok_or(SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_add_up() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1_500)));
    }

    #[test]
    fn a_duration_needs_a_unit_and_is_never_zero() {
        for wrong in [
            "",
            "5",
            "s",
            "0s",
            "5 s",
            "-5s",
            "5sec",
            "1..5s",
            "9999999999999999d",
            "5é",
        ] {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_percentage_is_above_zero_and_at_most_a_hundred() {
        assert_eq!(percent("20%"), Ok(0.2));
        assert_eq!(percent("100%"), Ok(1.0));
        for wrong in ["20", "0%", "101%", "-1%", "NaN%", "%"] {
            assert!(percent(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn sizes_say_whether_they_are_binary() {
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("1MB"), Ok(1_000_000));
        for wrong in ["64", "KiB", "0B", "64K", "99999999999999999999B"] {
            assert!(size(wrong).is_err(), "{wrong:?}");
        }
    }
}
