//! The right to make one call.

use core::num::NonZeroU64;

use crate::time::Instant;

/// The generation of permits that belong to none; those of the word have fewer bits.
pub(super) const SHADOW: u32 = u32::MAX;

/// When a call started that nobody timed: it took no time, whenever it ends.
pub(super) const UNTIMED: Instant = Instant::from_nanos(u64::MAX);

const KIND_BITS: u32 = 3;

/// The right to make one call. Give it back with its result, exactly once.
///
/// A permit that is lost instead counts as nothing in a closed circuit, and costs one lease in a
/// half-open one.
#[must_use = "a permit is given back with the call's result"]
#[derive(Debug, PartialEq, Eq)]
pub struct Permit {
    started: Instant,
    /// `generation:32 | kind:3`. Two whole words travel in registers, where three fields took a
    /// detour through memory that cost as much as the rest of a call.
    tag: NonZeroU64,
}

/// What giving a permit back has to undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Plain = 1,
    /// The call is counted among those in flight.
    Tracked = 2,
    /// The circuit would have rejected the call, were it not in the shadow: nothing counts.
    Shadow = 3,
    /// The call succeeded and is counted; what the window says now is still to be judged.
    Counted = 4,
}

impl Permit {
    pub(super) const fn new(generation: u32, started: Instant, kind: Kind) -> Self {
        // A kind is not zero, so neither is the tag; the other arm costs nothing.
        let tag = match NonZeroU64::new((generation as u64) << KIND_BITS | kind as u64) {
            Some(tag) => tag,
            None => NonZeroU64::MIN,
        };
        Self { started, tag }
    }

    pub(super) const fn started(&self) -> Instant {
        self.started
    }

    #[expect(clippy::cast_possible_truncation, reason = "32 bits of a word")]
    pub(super) const fn generation(&self) -> u32 {
        (self.tag.get() >> KIND_BITS) as u32
    }

    pub(super) const fn kind(&self) -> Kind {
        match self.tag.get() & ((1 << KIND_BITS) - 1) {
            2 => Kind::Tracked,
            3 => Kind::Shadow,
            4 => Kind::Counted,
            _ => Kind::Plain,
        }
    }
}
