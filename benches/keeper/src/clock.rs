//! The clock of the load, and what it has cost.
#![expect(
    clippy::disallowed_methods,
    reason = "a tool without a runtime: its clock is the system's"
)]

use std::time::{Duration, Instant};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Now.
pub fn now() -> Instant {
    Instant::now()
}

/// Nanoseconds of the clock that all processes of a machine share.
pub fn shared_nanos() -> u64 {
    nanos(clock_gettime(ClockId::Monotonic))
}

/// Processor time of this process so far.
pub fn spent() -> Duration {
    Duration::from_nanos(nanos(clock_gettime(ClockId::ProcessCPUTime)))
}

fn nanos(time: Timespec) -> u64 {
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}
