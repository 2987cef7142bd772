//! A deadline between processes: the time that is left, as text.
//!
//! Prevents a callee that works on after its caller has given up. What travels is a duration, not
//! a point in time, for the clocks of two machines differ; what the network needs is therefore not
//! counted, and each side subtracts only its own time. The form is that of `grpc-timeout` (gRPC
//! over HTTP/2): at most eight digits and a unit.

use std::fmt;
use std::time::Duration;

/// Largest number of eight digits.
const DIGITS_MAX: u128 = 99_999_999;

/// The text of the time that is left. Write it with `to_string`, or into a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    number: u128,
    unit: char,
}

/// The text for `remaining`: in milliseconds, in microseconds below one, in seconds or hours above
/// 27 hours. Rounded down, so that the callee never has more time than the caller.
///
/// ```
/// use std::time::Duration;
/// use mainstay::deadline::{from_header, to_header};
///
/// let text = to_header(Duration::from_millis(250)).to_string();
/// assert_eq!(text, "250m");
/// assert_eq!(from_header(&text), Some(Duration::from_millis(250)));
/// ```
pub const fn to_header(remaining: Duration) -> Header {
    let micros = remaining.as_micros();
    let (number, unit) = if 0 < micros && micros < 1_000 {
        (micros, 'u')
    } else if remaining.as_millis() <= DIGITS_MAX {
        (remaining.as_millis(), 'm')
    } else if remaining.as_secs() as u128 <= DIGITS_MAX {
        (remaining.as_secs() as u128, 'S')
    } else {
        // Eight digits of hours are 11,000 years.
        let hours = remaining.as_secs() as u128 / 3_600;
        (
            if hours < DIGITS_MAX {
                hours
            } else {
                DIGITS_MAX
            },
            'H',
        )
    };
    Header { number, unit }
}

/// The time that is left according to `text`.
///
/// At most eight digits, and one of the units `H`, `M`, `S`, `m` (milliseconds), `u` and `n`.
/// Without a unit it is milliseconds. Negative is over, as zero is; what is neither is `None`,
/// which is no deadline, as if nothing had been sent.
pub fn from_header(text: &str) -> Option<Duration> {
    let text = text.trim_matches([' ', '\t']);
    let (text, is_negative) = match text.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let unit_nanos: u64 = match text.bytes().last()? {
        b'H' => 3_600_000_000_000,
        b'M' => 60_000_000_000,
        b'S' => 1_000_000_000,
        b'm' | b'0'..=b'9' => 1_000_000,
        b'u' => 1_000,
        b'n' => 1,
        _ => return None,
    };
    let digits = text.trim_end_matches(['H', 'M', 'S', 'm', 'u', 'n']);
    let has_one_unit = text.len() - digits.len() <= 1;
    let is_number = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if !(has_one_unit && is_number) {
        return None;
    }
    if is_negative {
        return Some(Duration::ZERO);
    }
    let number: u32 = digits.parse().ok()?;
    let nanos = u128::from(number) * u128::from(unit_nanos);
    // Eight digits of hours are more nanoseconds than 64 bits hold.
    let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
    let subsec = u32::try_from(nanos % 1_000_000_000).ok()?;
    Some(Duration::new(seconds, subsec))
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.number, self.unit)
    }
}
