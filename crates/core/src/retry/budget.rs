//! The retry budget: how many retries a service may send, measured by its requests.
//!
//! Prevents a retry storm: without a budget, an upstream that fails under load gets that load times
//! the number of attempts. The semantics are Finagle's: over the last [`BudgetConfig::ttl`], a
//! share of the requests plus a floor per second. Nothing is saved up for longer.
//!
//! Always holds, with any number of threads: retries of any `ttl` are at most
//! `floor * ttl + ratio * requests of that ttl`.
//!
//! Time is cut into slots, [`HISTORY`] of them in a `ttl`. Requests are counted in stripes, one
//! per few threads, so that threads which only count do not wait for each other; a stripe has a
//! cell for each slot, `slot:32 | requests:31`, and a cell of an older round is taken over by its
//! first request. One word counts the retries of the current slot, `closing:1 | slot:32 |
//! retries:31`; a ring keeps the slots before it. The ring's live slots do not change while the
//! word names the current slot, and the requests of a live slot only grow: one compare-and-swap of
//! the word checks the whole balance and charges it. To move on to another slot, the word is first
//! marked as closing, which freezes its count; then every thread that comes along files it in
//! the ring and puts the next slot in place. A thread that stops half-way holds nobody up.
//!
//! Requests count for at most `ttl` (the current slot and 14 before), retries for at least `ttl`
//! (15 before): both errors are on the careful side.

use core::fmt;
use core::time::Duration;

use crate::atomic::{AtomicU64, Ordering};
use crate::lane::Lane;
use crate::time::{Instant, nanos};

/// Slots that a `ttl` is cut into.
const HISTORY: u64 = 15;

/// Slots of the ring: a power of two, so that it has no seam where slot numbers wrap.
const RING: usize = 16;

/// Shortest time over which a budget can count, 100 ms.
pub const TTL_MIN: Duration = Duration::from_millis(100);

/// Longest time over which a budget can count, an hour: beyond, it stops being a limit on storms.
pub const TTL_MAX: Duration = Duration::from_hours(1);

/// Most retries per request that [`BudgetConfig::ratio`] may allow.
const RATIO_MAX: f64 = 10.0;

/// Copies of the counters of requests: 1 KiB in all. More would make retries slow, which add all
/// of them up.
const STRIPES: usize = if cfg!(loom) { 2 } else { 8 };

const COUNT_BITS: u32 = 31;
/// Requests of a slot in one stripe, and retries of a slot, are counted up to here.
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
const NUMBER_MASK: u64 = u32::MAX as u64;
/// How far behind a slow thread may be and still be seen to be late: five years with a `ttl` of
/// 10 s. Slot numbers turn after ninety; all the rest of that may pass between two requests.
const LATE_MAX: u64 = NUMBER_MASK / 16;
const CLOSING: u64 = 1 << 63;

/// One token in the unit that the ratio is kept in, so that no fraction is lost.
const TOKEN: u64 = 1_000_000;

/// How many retries a service may send. The defaults are Finagle's.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct BudgetConfig {
    /// Retries per request: 0.2 is 20 %. 0 to 10, and not 0 where `floor` is; text says at most
    /// 100 %. Default: 0.2.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::share")
    )]
    pub ratio: f64,
    /// Retries per second that are always allowed; 0 for none. Default: 10.
    pub floor: u32,
    /// The time over which both are counted. [`TTL_MIN`] to [`TTL_MAX`]. Default: 10 s.
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
    /// So many tokens are more than [`TOKENS_MAX`](super::TOKENS_MAX).
    TokensMax(u32),
    /// A success gives no number of tokens from 0.001 to 1,000, but this.
    TokensRatio(f64),
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
            Self::TokensMax(max) => {
                write!(
                    f,
                    "budget tokens are {max}; set at most {}",
                    super::TOKENS_MAX
                )
            },
            Self::TokensRatio(ratio) => write!(
                f,
                "budget tokens per success are {ratio}; set 0.001 to 1000"
            ),
        }
    }
}

impl core::error::Error for BudgetConfigError {}

/// The budget of one service. Shared by reference between threads.
#[derive(Debug)]
pub struct Budget {
    word: AtomicU64,
    ring: [AtomicU64; RING],
    stripes: [Stripe; STRIPES],
    /// Slots per nanosecond, times 2^64.
    slot_rate: u64,
    /// `floor * ttl`, in millionths of a token.
    floor: u64,
    /// Per request, in millionths of a token.
    ratio: u64,
}

/// The requests that some of the threads counted, by slot. A cache line or two of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Stripe([AtomicU64; RING]);

/// A slot and what was counted in it: retries in the word and the ring, requests in a stripe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    number: u64,
    count: u64,
}

impl Budget {
    /// A budget that has seen no request: the floor is there.
    ///
    /// # Errors
    ///
    /// [`BudgetConfigError::Ratio`] and [`BudgetConfigError::Ttl`] outside their bounds,
    /// [`BudgetConfigError::Nothing`] for a budget that allows no retry.
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
            ring: empty_ring(),
            stripes: core::array::from_fn(|_| Stripe(empty_ring())),
            // A multiplication is a third of a division. Rounded up: a slot begins at its exact
            // time, and is shorter by less than a ten-millionth.
            slot_rate: u64::MAX / ttl_nanos.div_ceil(HISTORY) + 1,
            floor: u64::try_from(floor).unwrap_or(u64::MAX),
            ratio,
        })
    }

    /// Counts one request (its first attempt), for a caller with one thread.
    pub fn deposit(&self, now: Instant) {
        self.deposit_in(Lane::FIRST, now);
    }

    /// Counts one request (its first attempt) of the thread that has `lane`.
    pub fn deposit_in(&self, lane: Lane, now: Instant) {
        let number = self.number(now);
        let cell = &self.stripes[lane.among(STRIPES)].0[place(number)];
        let mut seen = cell.load(Ordering::Relaxed);
        loop {
            let slot = Slot::decode(seen);
            // A cell of a later round is left alone: this thread comes late by a whole `ttl`.
            let is_late = slot.number != number && !is_before(slot.number, number);
            if is_late || (slot.number == number && slot.count == COUNT_MAX) {
                return;
            }
            let next = if slot.number == number {
                seen + 1
            } else {
                Slot { number, count: 1 }.encode()
            };
            match cell.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(current) => seen = current,
            }
        }
    }

    /// Charges one retry; `false`, and nothing charged, when the budget has no room for it.
    #[must_use = "without a budget there must be no retry"]
    pub fn withdraw(&self, now: Instant) -> bool {
        loop {
            let seen = self.open_slot(now);
            let slot = Slot::decode(seen);
            if slot.count == COUNT_MAX || self.balance(slot) < TOKEN {
                return false;
            }
            // If the word did not change, nothing that the balance was made of can have become
            // less.
            if self.swap(seen, seen + 1).is_ok() {
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

    /// Whole retries that are possible just now.
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
        let age = |past: Slot| slot.number.wrapping_sub(past.number) & NUMBER_MASK;
        let cells = self.stripes.iter().flat_map(|stripe| &stripe.0);
        let requests: u64 = cells
            .map(|cell| Slot::decode(cell.load(Ordering::Relaxed)))
            .filter(|cell| age(*cell) < HISTORY)
            .map(|cell| cell.count)
            .sum();
        let past_retries: u64 = self
            .ring
            .iter()
            .map(|past| Slot::decode(past.load(Ordering::Acquire)))
            .filter(|past| (1..=HISTORY).contains(&age(*past)))
            .map(|past| past.count)
            .sum();
        let retries = slot.count + past_retries;
        let allowed = self
            .floor
            .saturating_add(requests.saturating_mul(self.ratio));
        (allowed, retries.saturating_mul(TOKEN))
    }

    /// The word, once it counts the slot of `now` or a newer one and is not closing.
    fn open_slot(&self, now: Instant) -> u64 {
        let number = self.number(now);
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
        let place = &self.ring[place(slot.number)];
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

    /// The number of the slot that `now` is in.
    const fn number(&self, now: Instant) -> u64 {
        let slots = now.as_nanos() as u128 * self.slot_rate as u128;
        (slots >> 64) as u64 & NUMBER_MASK
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

/// As if it had been round once with nothing in it.
fn empty_ring() -> [AtomicU64; RING] {
    core::array::from_fn(|i| {
        AtomicU64::new(Slot::empty((i as u64).wrapping_sub(RING as u64)).encode())
    })
}

/// Where a slot is in a ring.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the remainder is below RING"
)]
const fn place(number: u64) -> usize {
    (number % RING as u64) as usize
}

impl Slot {
    const fn empty(number: u64) -> Self {
        Self {
            number: number & NUMBER_MASK,
            count: 0,
        }
    }

    const fn encode(self) -> u64 {
        self.number << COUNT_BITS | self.count
    }

    const fn decode(word: u64) -> Self {
        Self {
            number: word >> COUNT_BITS & NUMBER_MASK,
            count: word & COUNT_MAX,
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
