//! How far a member's operations were applied.
//!
//! Prevents an operation that comes again, when leaders change, from being applied again; and a
//! member that lost its folder from being taken for its own past, because its clock is behind.

use crate::planted::{self, Bug};

/// How far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// Of which start of the member.
    pub(super) incarnation: i64,
    /// Up to which operation; all bits the other way round since the member left the ensemble.
    pub(super) sequence: i64,
}

impl Progress {
    pub(super) const fn new(incarnation: i64) -> Self {
        Self {
            incarnation,
            sequence: 0,
        }
    }

    /// The member left the ensemble: whoever comes back under its number may be another one.
    pub(super) const fn leave(&mut self) {
        self.sequence = !self.applied();
    }

    const fn has_left(self) -> bool {
        self.sequence < 0
    }

    /// The number of the last operation.
    pub(super) const fn applied(self) -> i64 {
        if self.has_left() {
            !self.sequence
        } else {
            self.sequence
        }
    }

    /// Whether an operation is the next one; it is applied from now on. One that was applied comes
    /// again when leaders change, and one whose predecessor was lost comes too early: its origin
    /// will send both again, in order. Those change nothing, for they are no transactions.
    pub(super) fn takes(&mut self, incarnation: i64, sequence: i64) -> bool {
        if self.incarnation > incarnation && !self.has_left() {
            return false;
        }
        let is_same = self.incarnation == incarnation;
        let applied = if is_same { self.applied() } else { 0 };
        let takes =
            sequence == applied + 1 || planted::is(Bug::DuplicateApply) && sequence <= applied;
        if takes {
            *self = Self {
                incarnation,
                sequence: applied.max(sequence),
            };
        }
        takes
    }
}
