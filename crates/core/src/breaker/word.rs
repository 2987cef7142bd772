//! The state of a circuit in one 64-bit word, so that each step is one compare-and-swap.
//!
//! Prevents torn decisions: state, generation, cooldown and the half-open counts change together
//! or not at all, so no thread sees an open circuit with another cooldown's end, and exactly one
//! thread makes each transition. Layout, most significant bits first:
//!
//! ```text
//! state:3 | generation:19 | cooldowns:4 | payload:38
//!   closed, ramp      payload = since, in milliseconds
//!   open              payload = until, in milliseconds (2^38 ms are 8.7 years)
//!   half-open         payload = admitted:8 | ok:8 | bad:8 | stamp:14, the last admission in lease
//!                     ticks
//!   forced, disabled  no payload
//! ```

use core::time::Duration;

use crate::time::{Instant, nanos};

/// Most probes of half-open: what the word can count.
pub const PROBES_MAX: u32 = 255;

/// Most cooldowns in a row that are told apart: 2^14 times the first is beyond any cap in use.
const COOLDOWNS_MAX: u32 = 15;

/// A permit is told from one of 524,288 transitions ago.
pub(super) const GENERATION_BITS: u32 = 19;
const COOLDOWNS_BITS: u32 = 4;
const PAYLOAD_BITS: u32 = 38;
const STAMP_BITS: u32 = 14;

pub(super) const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;
const COOLDOWNS_MASK: u64 = (1 << COOLDOWNS_BITS) - 1;
const PAYLOAD_MASK: u64 = (1 << PAYLOAD_BITS) - 1;
const STAMP_MASK: u64 = (1 << STAMP_BITS) - 1;
const COUNT_MASK: u64 = 0xff;
const STATE_SHIFT: u32 = GENERATION_BITS + COOLDOWNS_BITS + PAYLOAD_BITS;

/// The state of an open word.
const OPEN: u64 = 1;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// `instant` rounded up to what the word can say.
pub(super) fn ceil_milli(instant: Instant) -> Instant {
    let millis = instant.as_nanos().div_ceil(NANOS_PER_MILLI);
    Instant::from_nanos(millis.saturating_mul(NANOS_PER_MILLI))
}

/// One reading of the state word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Grows with every transition and every re-issue of probes; permits carry it.
    pub(super) generation: u32,
    /// Cooldowns in a row, without a stable time in between.
    pub(super) cooldowns: u32,
    pub(super) phase: Phase,
}

/// The state with the data that only it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Closed {
        since: Instant,
    },
    /// Closed, and calls come back little by little.
    Ramp {
        since: Instant,
    },
    Open {
        until: Instant,
    },
    HalfOpen(Probes),
    /// Open until somebody says otherwise.
    Forced,
    /// Calls pass uncounted until somebody says otherwise.
    Disabled,
}

impl Phase {
    /// Whether results are counted in the window.
    pub(super) const fn counts_calls(self) -> bool {
        match self {
            Self::Closed { .. } | Self::Ramp { .. } => true,
            Self::Open { .. } | Self::HalfOpen(_) | Self::Forced | Self::Disabled => false,
        }
    }
}

/// The probes of one half-open generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probes {
    /// Out or reported; an abandoned one gives its slot back.
    pub(super) admitted: u32,
    pub(super) ok: u32,
    pub(super) bad: u32,
    /// When the last one was admitted.
    pub(super) stamp: Stamp,
}

impl Word {
    pub(super) const fn new() -> Self {
        Self {
            generation: 0,
            cooldowns: 0,
            phase: Phase::Closed {
                since: Instant::ORIGIN,
            },
        }
    }

    /// The successor in another phase; results that belong to this word are stale from then on.
    pub(super) fn next(self, cooldowns: u32, phase: Phase) -> Self {
        Self {
            generation: (self.generation + 1) % (1 << GENERATION_BITS),
            cooldowns: cooldowns.min(COOLDOWNS_MAX),
            phase,
        }
    }

    /// The same generation in another form of its phase: its permits stay good.
    pub(super) const fn with(self, phase: Phase) -> Self {
        Self { phase, ..self }
    }

    /// The generation of a closed word, without decoding the rest: the way of every healthy call.
    pub(super) const fn closed_generation(bits: u64) -> Option<u32> {
        if bits >> STATE_SHIFT == 0 {
            Some((bits >> (COOLDOWNS_BITS + PAYLOAD_BITS) & GENERATION_MASK) as u32)
        } else {
            None
        }
    }

    /// The end of an open word, without decoding the rest: the way of every rejected call.
    pub(super) const fn open_until(bits: u64) -> Option<Instant> {
        if bits >> STATE_SHIFT == OPEN {
            Some(Instant::from_nanos((bits & PAYLOAD_MASK) * NANOS_PER_MILLI))
        } else {
            None
        }
    }

    pub(super) fn encode(self) -> u64 {
        let (state, payload) = match self.phase {
            Phase::Closed { since } => (0, since.as_nanos() / NANOS_PER_MILLI),
            Phase::Open { until } => (OPEN, until.as_nanos().div_ceil(NANOS_PER_MILLI)),
            Phase::HalfOpen(probes) => (2, probes.encode()),
            Phase::Ramp { since } => (3, since.as_nanos() / NANOS_PER_MILLI),
            Phase::Forced => (4, 0),
            Phase::Disabled => (5, 0),
        };
        state << STATE_SHIFT
            | u64::from(self.generation) << (COOLDOWNS_BITS + PAYLOAD_BITS)
            | u64::from(self.cooldowns) << PAYLOAD_BITS
            // Times beyond the field stay at its end: cooldowns then end at once, none lasts for
            // ever.
            | payload.min(PAYLOAD_MASK)
    }

    pub(super) fn decode(bits: u64) -> Self {
        let payload = bits & PAYLOAD_MASK;
        let at = Instant::from_nanos(payload * NANOS_PER_MILLI);
        Self {
            generation: (bits >> (COOLDOWNS_BITS + PAYLOAD_BITS) & GENERATION_MASK) as u32,
            cooldowns: (bits >> PAYLOAD_BITS & COOLDOWNS_MASK) as u32,
            phase: match bits >> STATE_SHIFT {
                0 => Phase::Closed { since: at },
                OPEN => Phase::Open { until: at },
                2 => Phase::HalfOpen(Probes::decode(payload)),
                3 => Phase::Ramp { since: at },
                4 => Phase::Forced,
                _ => Phase::Disabled,
            },
        }
    }
}

impl Probes {
    /// The first probe of a generation.
    pub(super) const fn first(stamp: Stamp) -> Self {
        Self {
            admitted: 1,
            ok: 0,
            bad: 0,
            stamp,
        }
    }

    fn encode(self) -> u64 {
        u64::from(self.admitted) << (2 * 8 + STAMP_BITS)
            | u64::from(self.ok) << (8 + STAMP_BITS)
            | u64::from(self.bad) << STAMP_BITS
            | self.stamp.0
    }

    const fn decode(payload: u64) -> Self {
        Self {
            admitted: (payload >> (2 * 8 + STAMP_BITS) & COUNT_MASK) as u32,
            ok: (payload >> (8 + STAMP_BITS) & COUNT_MASK) as u32,
            bad: (payload >> STAMP_BITS & COUNT_MASK) as u32,
            stamp: Stamp(payload & STAMP_MASK),
        }
    }
}

/// A point in time in ticks of a sixteenth of a lease, modulo 2^14 ticks (1,024 leases).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(u64);

/// The lease of the probes, and the clock that its stamps are read from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    pub(super) tick_nanos: u64,
}

impl Lease {
    /// Ticks of a lease.
    const TICKS: u64 = 16;

    /// Reading a tick cuts up to one off at each end: one more makes sure that none ends early.
    const TICKS_MAX: u64 = Self::TICKS + 1;

    pub(super) fn new(lease: Duration) -> Self {
        Self {
            tick_nanos: nanos(lease).div_ceil(Self::TICKS).max(1),
        }
    }

    pub(super) const fn stamp(self, now: Instant) -> Stamp {
        Stamp((now.as_nanos() / self.tick_nanos) & STAMP_MASK)
    }

    /// What is left at `now` of the lease that began at `stamp`; `None` once it ran out.
    ///
    /// A `now` that another thread read a little before `stamp` must not count as a full turn of
    /// the ticks. Together, a lease that ran out seems fresh for two leases in 1,024: a circuit
    /// that nobody used for hours may have to wait for these two, never more.
    pub(super) fn remaining(self, stamp: Stamp, now: Instant) -> Option<Duration> {
        let elapsed = self.stamp(now).0.wrapping_sub(stamp.0) & STAMP_MASK;
        let from_the_future = elapsed > STAMP_MASK - Self::TICKS;
        let ticks = if from_the_future {
            Self::TICKS_MAX
        } else {
            Self::TICKS_MAX.saturating_sub(elapsed)
        };
        (ticks > 0).then(|| Duration::from_nanos(ticks.saturating_mul(self.tick_nanos)))
    }
}
