//! Fencing tokens: who came later has the higher one.
//!
//! Prevents two writers after a pause: a holder that slept past the end of its session still
//! believes that it holds, and only what it writes to can tell it that it does not.

use std::fmt;

/// Grows with each holder of a lock or lead: the `czxid` of the node that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingToken(i64);

impl FencingToken {
    /// A token that was stored or sent as a number.
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// The number, to store or send.
    pub const fn number(self) -> i64 {
        self.0
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Stands before what a lock guards: remembers the highest token, and refuses lower ones.
///
/// It is as durable as its owner makes it: store [`highest`](Self::highest) with what it guards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fence {
    highest: Option<FencingToken>,
}

/// A token that is too old: another holder was here since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("token {given} is older than {highest}: another holder was here since; stop writing")]
pub struct Stale {
    /// The token that came.
    pub given: FencingToken,
    /// The highest that was here.
    pub highest: FencingToken,
}

impl Fence {
    /// A fence that has seen `highest`.
    pub const fn new(highest: Option<FencingToken>) -> Self {
        Self { highest }
    }

    /// Lets a holder through, and nobody older from now on.
    ///
    /// # Errors
    ///
    /// [`Stale`] when a later holder was here.
    pub fn admit(&mut self, given: FencingToken) -> Result<(), Stale> {
        match self.highest {
            Some(highest) if given < highest => Err(Stale { given, highest }),
            _ => {
                self.highest = Some(given);
                Ok(())
            },
        }
    }

    /// The highest token that was here.
    pub const fn highest(self) -> Option<FencingToken> {
        self.highest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_held_before_is_refused_once_the_next_one_was_here() {
        let (old, new) = (FencingToken::new(3), FencingToken::new(5));
        let mut fence = Fence::default();
        assert_eq!(fence.admit(old), Ok(()));
        assert_eq!(fence.admit(new), Ok(()));
        let stale = Stale {
            given: old,
            highest: new,
        };
        assert_eq!(fence.admit(old), Err(stale));
        assert_eq!(fence.admit(new), Ok(()), "the holder goes on");
    }
}
