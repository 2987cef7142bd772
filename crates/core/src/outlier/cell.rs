//! What callers write about one endpoint and read of it, lock-free.
//!
//! Prevents calls from waiting for each other where all they do is count. Always holds: what the
//! evaluator takes was counted exactly once; a count that is full stops, and never wraps.
//!
//! One word counts `total:32 | failed:32` of the calls since the evaluator came by; the buckets
//! count the latencies of the good ones. The evaluator swaps each for zero: there is no window, and
//! nothing to move on as time passes. A call whose total is taken now may have its latency taken the
//! next time; nothing compares the two.

use core::array;
use core::time::Duration;

use super::config::Config;
use super::evidence::{BUCKETS, bucket};
use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::outcome::{Outcome, Reason};
use crate::random::Random;
use crate::time::{Instant, nanos};

/// Share of its calls that an endpoint takes as soon as it returns, 10 %.
pub const SHARE_MIN: f64 = 0.1;

const ONE_CALL: u64 = 1 << 32;
const FAILED_MASK: u64 = ONE_CALL - 1;

/// Counting stops here until the evaluator comes by; as many threads again may be on their way.
const TOTAL_MAX: u64 = 1 << 31;

/// The counters of one endpoint, and whether it is left out. Shared by reference between threads.
/// On cache lines of its own, so that calls to one endpoint do not slow those to the next.
#[derive(Debug)]
#[repr(align(128))]
pub struct Cell {
    calls: AtomicU64,
    /// Failures in a row; stops a little above the limit.
    streak: AtomicU32,
    /// The [`Reason`] of the last failure.
    reason: AtomicU32,
    /// The instant in nanoseconds at which the last ejection ends; 0 when there was none.
    ejected_until: AtomicU64,
    latencies: [AtomicU32; BUCKETS],
    /// Failures in a row that somebody should look at.
    consecutive: u32,
    ramp_nanos: u64,
}

impl Cell {
    /// An endpoint that nobody called yet. `config` is that of the evaluator.
    pub fn new(config: &Config) -> Self {
        Self {
            calls: AtomicU64::new(0),
            streak: AtomicU32::new(0),
            reason: AtomicU32::new(Reason::Error as u32),
            ejected_until: AtomicU64::new(0),
            latencies: array::from_fn(|_| AtomicU32::new(0)),
            consecutive: config
                .consecutive
                .map_or(u32::MAX, core::num::NonZeroU32::get),
            ramp_nanos: config.ramp.map_or(0, nanos),
        }
    }

    /// A call ended at `now`, after `rtt`. `true` for exactly one call of a streak: the one that
    /// makes it long enough, so that an evaluation now may eject the endpoint. What ends while the
    /// endpoint is out began before, and says nothing new.
    pub fn record(&self, outcome: Outcome, rtt: Duration, now: Instant) -> bool {
        if self.is_ejected(now) {
            return false;
        }
        match outcome.callee_worked() {
            Some(true) => {
                self.worked(rtt);
                false
            },
            Some(false) => self.failed(outcome.reason().unwrap_or(Reason::Error)),
            None => false,
        }
    }

    fn worked(&self, rtt: Duration) {
        // Where all is well nobody writes to the streak.
        if self.streak.load(Ordering::Relaxed) != 0 {
            self.streak.store(0, Ordering::Relaxed);
        }
        if self.count(ONE_CALL)
            && let Some(bucket) = self.latencies.get(bucket(rtt))
        {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn failed(&self, reason: Reason) -> bool {
        self.reason.store(reason as u32, Ordering::Relaxed);
        self.count(ONE_CALL + 1);
        if self.streak.load(Ordering::Relaxed) >= self.consecutive {
            return false;
        }
        self.streak.fetch_add(1, Ordering::Relaxed) + 1 == self.consecutive
    }

    /// Counts a call, while there is room.
    fn count(&self, call: u64) -> bool {
        let room = self.calls.load(Ordering::Relaxed) >> 32 < TOTAL_MAX;
        if room {
            self.calls.fetch_add(call, Ordering::Relaxed);
        }
        room
    }

    /// Whether the endpoint is left out at `now`.
    pub fn is_ejected(&self, now: Instant) -> bool {
        now.as_nanos() < self.ejected_until.load(Ordering::Relaxed)
    }

    /// The share of its calls that the endpoint should get at `now`: 0 while it is ejected, then
    /// rising from [`SHARE_MIN`] to 1 over [`Config::ramp`].
    pub fn share(&self, now: Instant) -> f64 {
        let until = self.ejected_until.load(Ordering::Relaxed);
        let Some(back) = now.as_nanos().checked_sub(until) else {
            return 0.0;
        };
        if until == 0 || back >= self.ramp_nanos {
            return 1.0;
        }
        SHARE_MIN + (1.0 - SHARE_MIN) * (back as f64 / self.ramp_nanos as f64)
    }

    /// Whether the endpoint should get this call: a draw by its [`share`](Self::share).
    pub fn takes(&self, now: Instant, random: &mut Random) -> bool {
        let share = self.share(now);
        share >= 1.0 || random.unit() < share
    }

    /// Failures in a row; above [`Config::consecutive`] they are no longer counted.
    pub fn streak(&self) -> u32 {
        self.streak.load(Ordering::Relaxed)
    }

    /// Why the last failed call failed.
    pub(super) fn last_reason(&self) -> Reason {
        let index = self.reason.load(Ordering::Relaxed) as usize;
        Reason::ALL.get(index).copied().unwrap_or(Reason::Error)
    }

    /// Calls and failed calls since the last time.
    pub(super) fn take_calls(&self) -> (u64, u64) {
        let calls = self.calls.swap(0, Ordering::Relaxed);
        (calls >> 32, calls & FAILED_MASK)
    }

    /// The latencies since the last time, by bucket.
    pub(super) fn take_latencies(&self) -> impl Iterator<Item = u32> {
        self.latencies.iter().map(|bucket| {
            // A load is cheaper than a swap, and most buckets are empty.
            match bucket.load(Ordering::Relaxed) {
                0 => 0,
                _ => bucket.swap(0, Ordering::Relaxed),
            }
        })
    }

    /// Throws away what was counted.
    fn discard(&self) {
        self.take_calls();
        self.take_latencies().for_each(drop);
        self.streak.store(0, Ordering::Relaxed);
    }

    /// From here on nothing is counted; what was, is thrown away.
    pub(super) fn eject(&self, until: Instant) {
        self.ejected_until
            .store(until.as_nanos(), Ordering::Relaxed);
        self.discard();
    }

    /// Ends an ejection before its time, without a ramp.
    pub(super) fn readmit(&self) {
        self.discard();
        self.ejected_until.store(0, Ordering::Relaxed);
    }
}
