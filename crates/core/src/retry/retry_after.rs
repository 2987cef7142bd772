//! When a callee wants to be asked again, read from the text it said it in.
//!
//! Prevents retries that come earlier than a callee asked for, and ones that it forbade. Pure
//! functions of text: no HTTP or gRPC type is needed to use them.

use core::time::Duration;

use crate::outcome::Outcome;

/// Seconds of the longest wish that is told apart from "for ever": 100 years.
const SECONDS_MAX: u64 = 100 * 366 * 86_400;

/// What a `Retry-After` field asks for (RFC 9110, section 10.2.3).
///
/// Delta-seconds, or a date in one of the three forms of section 5.6.7. `now_unix_seconds` is the
/// wall time, in seconds since 1970. A date in the past is zero; what is neither is `None`. No wish
/// is longer than 100 years.
///
/// ```
/// use core::time::Duration;
/// use mainstay_core::retry::retry_after;
///
/// assert_eq!(retry_after("120", 0), Some(Duration::from_secs(120)));
/// let date = "Sun, 06 Nov 1994 08:49:37 GMT";
/// assert_eq!(retry_after(date, 784_111_770), Some(Duration::from_secs(7)));
/// assert_eq!(retry_after(date, 784_111_999), Some(Duration::ZERO));
/// assert_eq!(retry_after("soon", 0), None);
/// ```
pub fn retry_after(text: &str, now_unix_seconds: u64) -> Option<Duration> {
    let text = text.trim_matches([' ', '\t']);
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Too many digits is a very long time, not no wish at all.
        let seconds = text.parse().unwrap_or(u64::MAX).min(SECONDS_MAX);
        return Some(Duration::from_secs(seconds));
    }
    let then = date(text, now_unix_seconds)?;
    let now = i64::try_from(now_unix_seconds).ok()?;
    let left = u64::try_from(then.saturating_sub(now)).unwrap_or(0);
    Some(Duration::from_secs(left.min(SECONDS_MAX)))
}

/// What a callee says about another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushback {
    /// Try again, but not before this time has passed; zero is at once.
    After(Duration),
    /// Do not try again.
    Never,
}

impl Pushback {
    /// The outcome that says so to all policies.
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::After(wish) => Outcome::Throttled {
                retry_after: Some(wish),
            },
            Self::Never => Outcome::Permanent,
        }
    }
}

/// What a `grpc-retry-pushback-ms` field asks for (gRFC A6): a negative number, and anything that
/// is no number of 32 bits, forbids another attempt.
///
/// ```
/// use core::time::Duration;
/// use mainstay_core::retry::{Pushback, pushback};
///
/// assert_eq!(pushback("250"), Pushback::After(Duration::from_millis(250)));
/// assert_eq!(pushback("-1"), Pushback::Never);
/// assert_eq!(pushback("soon"), Pushback::Never);
/// ```
pub fn pushback(text: &str) -> Pushback {
    let millis: Option<i32> = text.trim_matches([' ', '\t']).parse().ok();
    match millis.map(u64::try_from) {
        Some(Ok(millis)) => Pushback::After(Duration::from_millis(millis)),
        Some(Err(_)) | None => Pushback::Never,
    }
}

/// Seconds since 1970 of an HTTP date.
fn date(text: &str, now_unix_seconds: u64) -> Option<i64> {
    if let Some((day_name, rest)) = text.split_once(", ") {
        let rest = rest.strip_suffix(" GMT")?;
        let (date, time) = rest.rsplit_once(' ')?;
        // `Sun, 06 Nov 1994` has a short name of the day, `Sunday, 06-Nov-94` a long one.
        return if is_day(day_name, true) {
            let mut parts = date.split(' ');
            let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
            let year = digits(year, 4)?;
            parts.next().is_none().then_some(())?;
            seconds(year, month_number(month)?, digits(day, 2)?, time)
        } else if is_day(day_name, false) {
            let mut parts = date.split('-');
            let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
            let year = full_year(digits(year, 2)?, now_unix_seconds);
            parts.next().is_none().then_some(())?;
            seconds(year, month_number(month)?, digits(day, 2)?, time)
        } else {
            None
        };
    }
    asctime(text)
}

/// `Sun Nov  6 08:49:37 1994`.
fn asctime(text: &str) -> Option<i64> {
    let mut parts = text.split_ascii_whitespace();
    let (day_name, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let (time, year) = (parts.next()?, parts.next()?);
    if parts.next().is_some() || !is_day(day_name, true) {
        return None;
    }
    let day = digits(day, day.len().clamp(1, 2))?;
    seconds(digits(year, 4)?, month_number(month)?, day, time)
}

/// A number of exactly `count` digits.
fn digits(text: &str, count: usize) -> Option<i64> {
    let all_digits = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| text.parse().ok())?
}

const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

fn is_day(name: &str, is_short: bool) -> bool {
    DAYS.iter()
        .any(|day| name == if is_short { &day[..3] } else { day })
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

fn month_number(name: &str) -> Option<i64> {
    let index = MONTHS.iter().position(|month| *month == name)?;
    i64::try_from(index + 1).ok()
}

/// The year that two digits mean: one that seems more than 50 years ahead is the last one that
/// ended so (RFC 9110, section 5.6.7).
fn full_year(two_digits: i64, now_unix_seconds: u64) -> i64 {
    const SECONDS_OF_A_YEAR: u64 = 31_556_952;
    let this_year = 1970 + i64::try_from(now_unix_seconds / SECONDS_OF_A_YEAR).unwrap_or(0);
    let year = this_year - this_year.rem_euclid(100) + two_digits;
    if year > this_year + 50 {
        year - 100
    } else {
        year
    }
}

/// Seconds since 1970 of a date of the Gregorian calendar with a time `08:49:37`.
fn seconds(year: i64, month: i64, day: i64, time: &str) -> Option<i64> {
    let mut parts = time.split(':');
    let hour = digits(parts.next()?, 2)?;
    let minute = digits(parts.next()?, 2)?;
    let second = digits(parts.next()?, 2)?;
    // 60 is a leap second.
    let is_time = hour < 24 && minute < 60 && second <= 60 && parts.next().is_none();
    let is_date = (1..=days_of(year, month)).contains(&day);
    (is_time && is_date)
        .then(|| days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

const fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Counts in years that begin with March, so that the leap day is the last of its year.
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 719,468 days lie between March 1 of year 0 and 1970.
    year * 365 + leap_days + day_of_year - 719_468
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
