//! Waiting for a condition, and the clock that bounds it.
//!
//! Prevents fixed sleeps: whoever waits says for what and how long at most. The one file of the
//! tool that reads the clock.
#![expect(
    clippy::disallowed_methods,
    reason = "a tool without a runtime: its clock is the system's, and waiting may block"
)]

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks until `condition` holds; its last error is the reason in ours once `limit` has passed.
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<T>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(error) if start.elapsed() >= limit => {
                return Err(error).context(format!("waited {} s for {what}", limit.as_secs()));
            },
            Err(_) => sleep(LOOK_EVERY),
        }
    }
}

/// Lets time pass, for a measurement over time; whoever waits for something uses [`until`].
pub(crate) fn pass(time: Duration) {
    sleep(time);
}

/// Runs `work` and says how many seconds it took.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let value = work();
    (value, start.elapsed().as_secs_f64())
}

/// Nanoseconds of the clock that all processes of a machine share.
pub(crate) fn shared_nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn waiting_ends_once_the_condition_holds() {
        let mut looks = 0;
        let seen = until("three looks", Duration::from_mins(1), || {
            looks += 1;
            if looks < 3 {
                bail!("not yet");
            }
            Ok(looks)
        });
        assert_eq!(seen.expect("the third look succeeds"), 3);
    }

    #[test]
    fn a_wait_that_runs_out_says_what_for_and_why() {
        let error = until::<()>("the impossible", Duration::ZERO, || bail!("it cannot be"))
            .expect_err("the condition never holds");
        assert_eq!(
            format!("{error:#}"),
            "waited 0 s for the impossible: it cannot be"
        );
    }
}
