//! Numbers as people read them: a few digits, the unit, and nothing that is not known.
//!
//! Prevents figures that flatter: shares are cut off and never rounded up to 100 %.

/// What stands for a figure that does not exist.
pub(super) const NONE: &str = "–";
const THIN_SPACE: char = '\u{202f}';

/// A quantity with about three digits.
pub(super) fn quantity(value: f64) -> String {
    match value {
        v if !v.is_finite() => NONE.to_owned(),
        v if v >= 99.95 => grouped(&format!("{v:.0}")),
        v if v >= 9.995 => format!("{v:.1}"),
        v if v <= 0.0 => "0".to_owned(),
        v => format!("{v:.2}"),
    }
}

/// A count, with its thousands set apart.
pub(super) fn count(value: u64) -> String {
    grouped(&value.to_string())
}

fn grouped(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() * 2);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(THIN_SPACE);
        }
        out.push(c);
    }
    out
}

/// A share from 0 to 1 in percent, cut off after two places.
pub(super) fn percent(share: f64) -> String {
    if !share.is_finite() {
        return NONE.to_owned();
    }
    // The tiny addition undoes binary fractions: 0.29 is 28.999….
    let hundredths = (share.clamp(0.0, 1.0) * 1e4 + 1e-6).floor();
    if hundredths % 100.0 == 0.0 {
        format!("{:.0}", hundredths / 100.0)
    } else {
        format!("{:.2}", hundredths / 100.0)
    }
}

/// A latency in milliseconds: value and unit.
pub(super) fn latency(ms: f64) -> (String, &'static str) {
    match ms {
        v if !v.is_finite() => (NONE.to_owned(), ""),
        v if v >= 1e3 => (quantity(v / 1e3), "s"),
        v if v >= 9.95 => (format!("{v:.0}"), "ms"),
        v => (format!("{v:.1}"), "ms"),
    }
}

/// A span of time in its two largest units.
pub(super) fn span(ms: u64) -> String {
    let s = ms / 1_000;
    match s {
        0..60 => format!("{s} s"),
        60..3_600 => format!("{} m {} s", s / 60, s % 60),
        3_600..86_400 => format!("{} h {} m", s / 3_600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_about_three_digits() {
        let shown = [0.0, 0.126, 9.99, 41.26, 99.96, 1_234.5, 1_234_567.0].map(quantity);
        let expected = [
            "0",
            "0.13",
            "9.99",
            "41.3",
            "100",
            "1\u{202f}234",
            "1\u{202f}234\u{202f}567",
        ];
        assert_eq!(shown, expected);
        assert_eq!(quantity(f64::NAN), NONE);
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1\u{202f}000");
    }

    #[test]
    fn almost_all_is_not_shown_as_all() {
        let shown = [1.0, 0.999_99, 0.5, 0.29, 0.0, -1.0, 2.0].map(percent);
        assert_eq!(shown, ["100", "99.99", "50", "29", "0", "0", "100"]);
    }

    #[test]
    fn times_are_in_the_unit_that_suits_them() {
        let shown = [0.04, 1.26, 12.6, 999.0, 1_500.0].map(latency);
        let shown: Vec<String> = shown.iter().map(|(v, u)| format!("{v} {u}")).collect();
        assert_eq!(shown, ["0.0 ms", "1.3 ms", "13 ms", "999 ms", "1.50 s"]);
        let spans = [999, 61_000, 3_700_000, 90_000_000].map(span);
        assert_eq!(spans, ["0 s", "1 m 1 s", "1 h 1 m", "1 d 1 h"]);
    }
}
