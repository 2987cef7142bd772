//! Which of several copies of a counter a thread writes.
//!
//! Prevents threads that count the same thing from waiting for each other's cache line.

/// A thread's own number: small, and stable for the thread's life. Two threads may share one; that
/// costs speed, never correctness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lane(pub u32);

impl Lane {
    /// The only lane of a caller with one thread.
    pub const FIRST: Self = Self(0);

    /// The place of this lane among `copies`, which are at least one.
    pub(crate) const fn among(self, copies: usize) -> usize {
        self.0 as usize % copies
    }
}
