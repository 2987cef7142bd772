//! How much a search may do.
//!
//! Prevents a checker that runs until the machine is out of memory or its user out of patience:
//! deciding linearizability is NP-complete (Gibbons and Korach, 1997), so every search must be
//! able to say "unknown".

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Steps that are granted at once. Between two grants nobody asks whether to go on.
const GRANT: u64 = 1_024;

/// A minute or more of one core, for models whose step is cheap.
const STEPS_DEFAULT: u64 = 500_000_000;

/// What the machine of a developer can spare.
const MEMORY_DEFAULT: usize = 1 << 30;

/// What a check may use. The caller's "still going" is asked besides, every 1,024 steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Steps of the model, over all parts together.
    pub steps_max: u64,
    /// Bytes of remembered configurations and states, over all threads together.
    pub memory_bytes_max: usize,
    /// Threads that check parts side by side. Which verdict comes out does not depend on it, as
    /// long as no other limit is met.
    pub threads: NonZeroUsize,
}

impl Default for Limits {
    /// 500 million steps, 1 GiB, one thread.
    fn default() -> Self {
        Self {
            steps_max: STEPS_DEFAULT,
            memory_bytes_max: MEMORY_DEFAULT,
            threads: NonZeroUsize::MIN,
        }
    }
}

/// Why a search gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It took [`Limits::steps_max`] steps.
    Steps {
        /// The limit.
        max: u64,
    },
    /// It would have needed more than [`Limits::memory_bytes_max`].
    Memory {
        /// The limit.
        max_bytes: usize,
    },
    /// The caller said stop.
    Stopped,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps { max } => write!(f, "the search took all of its {max} steps"),
            Self::Memory { max_bytes } => {
                write!(f, "the search needs more memory than {max_bytes} bytes")
            },
            Self::Stopped => write!(f, "the search was stopped"),
        }
    }
}

/// What is left of the limits, shared by all threads of one check.
pub(super) struct Budget<'a> {
    limits: Limits,
    steps_used: AtomicU64,
    bytes_used: AtomicUsize,
    going: &'a (dyn Fn() -> bool + Sync),
}

impl<'a> Budget<'a> {
    pub(super) const fn new(limits: Limits, going: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self {
            limits,
            steps_used: AtomicU64::new(0),
            bytes_used: AtomicUsize::new(0),
            going,
        }
    }

    fn grant(&self) -> Result<u64, Why> {
        if !(self.going)() {
            return Err(Why::Stopped);
        }
        let max = self.limits.steps_max;
        let take = |used: u64| (used < max).then(|| used + GRANT.min(max - used));
        let order = Ordering::Relaxed;
        let used = self.steps_used.fetch_update(order, order, take);
        used.map(|used| GRANT.min(max - used))
            .map_err(|_| Why::Steps { max })
    }

    fn take_bytes(&self, bytes: usize) -> Result<(), Why> {
        let max_bytes = self.limits.memory_bytes_max;
        let take = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= max_bytes);
        let order = Ordering::Relaxed;
        let taken = self.bytes_used.fetch_update(order, order, take);
        taken.map(drop).map_err(|_| Why::Memory { max_bytes })
    }
}

/// One search's share of a [`Budget`]. It gives its bytes back when it is dropped.
pub(super) struct Purse<'b> {
    budget: &'b Budget<'b>,
    /// Says that the result of this search no longer matters.
    needless: &'b (dyn Fn() -> bool + Sync),
    steps: u64,
    bytes: usize,
}

impl<'b> Purse<'b> {
    pub(super) fn new(budget: &'b Budget<'b>, needless: &'b (dyn Fn() -> bool + Sync)) -> Self {
        Self {
            budget,
            needless,
            steps: 0,
            bytes: 0,
        }
    }

    pub(super) fn step(&mut self) -> Result<(), Why> {
        if self.steps == 0 {
            if (self.needless)() {
                return Err(Why::Stopped);
            }
            self.steps = self.budget.grant()?;
        }
        self.steps -= 1;
        Ok(())
    }

    pub(super) fn bytes(&mut self, more: usize) -> Result<(), Why> {
        if more > 0 {
            self.budget.take_bytes(more)?;
            self.bytes += more;
        }
        Ok(())
    }

    /// Why a search that meets a limit of its own must end.
    pub(super) const fn refused(&self) -> Why {
        Why::Memory {
            max_bytes: self.budget.limits.memory_bytes_max,
        }
    }

    pub(super) fn give_back(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.budget.bytes_used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Purse<'_> {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}
