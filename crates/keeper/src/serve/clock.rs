//! Wall time, read in one place.

use std::time::SystemTime;

/// Milliseconds since 1970.
pub fn wall_ms() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the clock of this crate's edge: time goes into proposals from here"
    )]
    let now = SystemTime::now();
    let since = now.duration_since(SystemTime::UNIX_EPOCH);
    // Before 1970 there is no time.
    i64::try_from(since.map_or(0, |since| since.as_millis())).unwrap_or(i64::MAX)
}
