//! The retry budget: how many retries a service may send, measured by its requests.
//!
//! Prevents a retry storm: without a budget, an upstream that fails under load gets that load times
//! the number of attempts. The semantics are Finagle's: over the last [`BudgetConfig::ttl`], a
//! share of the requests plus a floor per second. Nothing is saved up for longer.
//!
//! Always holds, with any number of threads: retries of any `ttl` are at most
//! `floor * ttl + ratio * requests of that ttl`.
//!
//! Time is cut into slots, [`HISTORY`] of them in a `ttl`. One word counts the current slot,
//! `closing:1 | slot:27 | requests:20 | retries:16`; a ring keeps the slots before it. The ring's
//! live slots do not change while the word names the current slot, so one compare-and-swap of
//! the word checks the whole balance and charges it. To move on to another slot, the word is first
//! marked as closing, which freezes its counts; then every thread that comes along files them in
//! the ring and puts the next slot in place. A thread that stops half-way holds nobody up.
//!
//! Requests count for at most `ttl` (the current slot and 14 before), retries for at least `ttl`
//! (15 before): both errors are on the careful side.

use core::fmt;
use core::time::Duration;

use crate::atomic::{AtomicU64, Ordering};
use crate::time::{Instant, nanos};

/// Slots that a `ttl` is cut into.
const HISTORY: u64 = 15;

/// Slots of the ring: a power of two, so that it has no seam where slot numbers wrap.
const RING: usize = 16;

/// Shortest time over which a budget can count.
pub const TTL_MIN: Duration = Duration::from_millis(100);

/// Longest time over which a budget can count: beyond, it stops being a limit on storms.
pub const TTL_MAX: Duration = Duration::from_hours(1);

/// Most retries per request that [`BudgetConfig::ratio`] may allow.
const RATIO_MAX: f64 = 10.0;

const RETRIES_BITS: u32 = 16;
const RETRIES_MAX: u64 = (1 << RETRIES_BITS) - 1;
const REQUESTS_BITS: u32 = 20;
/// Requests of a slot are counted up to here: 1.5 million per second with a `ttl` of 10 s.
const REQUESTS_MAX: u64 = (1 << REQUESTS_BITS) - 1;
const NUMBER_MASK: u64 = (1 << 27) - 1;
/// How far behind a slow thread may be and still be seen to be late: two months with a `ttl` of
/// 10 s. Slot numbers turn after almost three years; all the rest of that may pass between two
/// requests.
const LATE_MAX: u64 = NUMBER_MASK / 16;
const CLOSING: u64 = 1 << 63;

/// One token in the unit that the ratio is kept in, so that no fraction is lost.
const TOKEN: u64 = 1_000_000;

/// How many retries a service may send.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct BudgetConfig {
    /// Retries per request: 0.2 is 20 %.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::share")
    )]
    pub ratio: f64,
    /// Retries per second that are always allowed.
    pub floor: u32,
    /// The time over which both are counted.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration")
    )]
    pub ttl: Duration,
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self {
            ratio: 0.2,
            floor: 10,
            ttl: Duration::from_secs(10),
        }
    }
}

/// A value that no budget can work with.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum BudgetConfigError {
    /// `ratio` is not a number, below 0 or above 10.
    Ratio(f64),
    /// `ttl` is below [`TTL_MIN`] or above [`TTL_MAX`].
    Ttl(Duration),
    /// `ratio` and `floor` are both 0: that is no budget, but no retries.
    Nothing,
}

impl fmt::Display for BudgetConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ratio(ratio) => {
                write!(
                    f,
                    "budget ratio is {ratio}; set 0 to {RATIO_MAX} retries per request"
                )
            },
            Self::Ttl(ttl) => write!(
                f,
                "budget ttl is {ttl:?}; set at least {TTL_MIN:?} and at most {TTL_MAX:?}"
            ),
            Self::Nothing => {
                f.write_str("budget ratio and floor are both 0; switch retries off instead")
            },
        }
    }
}

impl core::error::Error for BudgetConfigError {}

/// The budget of one service. Shared by reference between threads.
#[derive(Debug)]
pub struct Budget {
    word: AtomicU64,
    ring: [AtomicU64; RING],
    slot_nanos: u64,
    /// `floor * ttl`, in millionths of a token.
    floor: u64,
    /// Per request, in millionths of a token.
    ratio: u64,
}

/// A slot, unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    number: u64,
    requests: u64,
    retries: u64,
}

impl Budget {
    /// A budget that has seen no request: the floor is there.
    ///
    /// # Errors
    ///
    /// A value of `config` that cannot work.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the ratio is checked to be between 0 and 10"
    )]
    pub fn new(config: &BudgetConfig) -> Result<Self, BudgetConfigError> {
        // Written so that NaN fails.
        if !(config.ratio >= 0.0 && config.ratio <= RATIO_MAX) {
            return Err(BudgetConfigError::Ratio(config.ratio));
        }
        if config.ttl < TTL_MIN || config.ttl > TTL_MAX {
            return Err(BudgetConfigError::Ttl(config.ttl));
        }
        let ratio = (config.ratio * TOKEN as f64 + 0.5) as u64;
        if ratio == 0 && config.floor == 0 {
            return Err(BudgetConfigError::Nothing);
        }
        let ttl_nanos = nanos(config.ttl);
        // Per second times nanoseconds, in millionths: 4 billion per second over an hour still fit.
        let floor = u128::from(config.floor) * u128::from(ttl_nanos) / 1_000;
        Ok(Self {
            word: AtomicU64::new(Slot::empty(0).encode()),
            // As if the ring had been round once with nothing in it.
            ring: core::array::from_fn(|i| {
                AtomicU64::new(Slot::empty((i as u64).wrapping_sub(RING as u64)).encode())
            }),
            slot_nanos: ttl_nanos.div_ceil(HISTORY),
            floor: u64::try_from(floor).unwrap_or(u64::MAX),
            ratio,
        })
    }

    /// Counts one request (its first attempt).
    pub fn deposit(&self, now: Instant) {
        let mut seen = self.open_slot(now);
        loop {
            let slot = Slot::decode(seen);
            if slot.requests == REQUESTS_MAX {
                return;
            }
            let next = Slot {
                requests: slot.requests + 1,
                ..slot
            };
            match self.swap(seen, next.encode()) {
                Ok(()) => return,
                Err(_) => seen = self.open_slot(now),
            }
        }
    }

    /// Charges one retry; `false`, and nothing charged, when the budget has no room for it.
    #[must_use = "without a budget there must be no retry"]
    pub fn withdraw(&self, now: Instant) -> bool {
        loop {
            let seen = self.open_slot(now);
            let slot = Slot::decode(seen);
            if slot.retries == RETRIES_MAX || self.balance(slot) < TOKEN {
                return false;
            }
            let next = Slot {
                retries: slot.retries + 1,
                ..slot
            };
            // Nothing that the balance was made of can have changed if the word did not.
            if self.swap(seen, next.encode()).is_ok() {
                return true;
            }
        }
    }

    /// How much of the budget is left: 1 when no retry is charged, 0 when none is possible.
    pub fn level(&self, now: Instant) -> f64 {
        let slot = Slot::decode(self.open_slot(now));
        let (allowed, used) = self.sums(slot);
        if allowed == 0 {
            return 0.0;
        }
        allowed.saturating_sub(used) as f64 / allowed as f64
    }

    /// Retries possible just now.
    pub fn tokens(&self, now: Instant) -> u64 {
        let slot = Slot::decode(self.open_slot(now));
        self.balance(slot) / TOKEN
    }

    /// What is left, in millionths of a token, when `slot` is the current one.
    fn balance(&self, slot: Slot) -> u64 {
        let (allowed, used) = self.sums(slot);
        allowed.saturating_sub(used)
    }

    /// Allowed and used, in millionths of a token, when `slot` is the current one.
    fn sums(&self, slot: Slot) -> (u64, u64) {
        let mut requests = slot.requests;
        let mut retries = slot.retries;
        for past in &self.ring {
            let past = Slot::decode(past.load(Ordering::Acquire));
            let age = slot.number.wrapping_sub(past.number) & NUMBER_MASK;
            if (1..HISTORY).contains(&age) {
                requests += past.requests;
            }
            if (1..=HISTORY).contains(&age) {
                retries += past.retries;
            }
        }
        let allowed = self
            .floor
            .saturating_add(requests.saturating_mul(self.ratio));
        (allowed, retries.saturating_mul(TOKEN))
    }

    /// The word, once it counts the slot of `now` or a newer one and is not closing.
    fn open_slot(&self, now: Instant) -> u64 {
        let number = (now.as_nanos() / self.slot_nanos) & NUMBER_MASK;
        let mut seen = self.word.load(Ordering::Acquire);
        loop {
            if seen & CLOSING != 0 {
                seen = self.move_on(seen, number);
                continue;
            }
            if !is_before(Slot::decode(seen).number, number) {
                return seen;
            }
            seen = match self.swap(seen, seen | CLOSING) {
                Ok(()) => seen | CLOSING,
                Err(current) => current,
            };
        }
    }

    /// Files the closing slot and puts the slot `number`, or the next one, in place; returns the
    /// word that is there then.
    fn move_on(&self, closing: u64, number: u64) -> u64 {
        let slot = Slot::decode(closing);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the remainder is below RING"
        )]
        let place = &self.ring[(slot.number % RING as u64) as usize];
        let filed = place.load(Ordering::Acquire);
        // Who comes late finds this slot, or one of a later round, and must not touch it.
        if is_before(Slot::decode(filed).number, slot.number) {
            let _filed_by_another =
                place.compare_exchange(filed, slot.encode(), Ordering::AcqRel, Ordering::Acquire);
        }
        // A thread with an older `now` helps as well; it cannot know how far time has come.
        let next = if is_before(slot.number, number) {
            number
        } else {
            slot.number.wrapping_add(1)
        };
        let next = Slot::empty(next).encode();
        match self.swap(closing, next) {
            Ok(()) => next,
            Err(current) => current,
        }
    }

    fn swap(&self, seen: u64, next: u64) -> Result<(), u64> {
        self.word
            .compare_exchange(seen, next, Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
    }
}

/// Whether slot number `a` is before `b`, and not just late.
const fn is_before(a: u64, b: u64) -> bool {
    let ahead = b.wrapping_sub(a) & NUMBER_MASK;
    ahead != 0 && ahead <= NUMBER_MASK - LATE_MAX
}

impl Slot {
    const fn empty(number: u64) -> Self {
        Self {
            number: number & NUMBER_MASK,
            requests: 0,
            retries: 0,
        }
    }

    const fn encode(self) -> u64 {
        self.number << (REQUESTS_BITS + RETRIES_BITS) | self.requests << RETRIES_BITS | self.retries
    }

    const fn decode(word: u64) -> Self {
        Self {
            number: word >> (REQUESTS_BITS + RETRIES_BITS) & NUMBER_MASK,
            requests: word >> RETRIES_BITS & REQUESTS_MAX,
            retries: word & RETRIES_MAX,
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
