//! What became of a call: the one word that breaker, budget, balancer and detector all read.
//!
//! Prevents policies that disagree on what a failure is.

use core::time::Duration;

/// The classified end of one call.
///
/// | outcome | breaker, detector, balancer | retry | adaptive limit |
/// |---|---|---|---|
/// | [`Success`](Self::Success) | success | – | success |
/// | [`Failure`](Self::Failure) | failure | yes | drop when it timed out, else nothing |
/// | [`Throttled`](Self::Throttled) | failure; an open circuit honours the wish | not before the wish | drop |
/// | [`Permanent`](Self::Permanent) | success: the callee did its work | no | success |
/// | [`Ignored`](Self::Ignored) | nothing | no | nothing |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The callee did its work.
    Success,
    /// The callee failed, or could not be reached, for this reason. Another attempt may do better.
    Failure(Reason),
    /// The callee has too much to do, and may have said when to come back.
    Throttled {
        /// How long it asked to be left alone (`Retry-After`, RFC 9110, section 10.2.3;
        /// `grpc-retry-pushback-ms`, gRFC A6); `None` when it did not say.
        retry_after: Option<Duration>,
    },
    /// The callee refused this one call for good: not found, bad request. It works, and would
    /// answer the same again.
    Permanent,
    /// Nothing can be said of the callee: the caller went away, or an inner policy refused.
    Ignored,
}

impl Outcome {
    /// Whether the callee did its work; `None` when nothing can be said.
    pub const fn callee_worked(self) -> Option<bool> {
        match self {
            Self::Success | Self::Permanent => Some(true),
            Self::Failure(_) | Self::Throttled { .. } => Some(false),
            Self::Ignored => None,
        }
    }

    /// Why the callee failed, if it did.
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Failure(reason) => Some(reason),
            Self::Throttled { .. } => Some(Reason::Throttled),
            Self::Success | Self::Permanent | Self::Ignored => None,
        }
    }
}

/// Why something failed or was refused: a short, closed list, fit for a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Reason {
    /// No answer within the time allowed.
    Timeout,
    /// No connection could be made.
    Connect,
    /// The connection broke before the answer was complete.
    Reset,
    /// An answer that is not valid in its protocol.
    Protocol,
    /// An answer that says the callee failed (5xx).
    Status,
    /// The call was dropped before its end.
    Abandoned,
    /// The call panicked.
    Panic,
    /// A probe failed.
    Probe,
    /// The process ended.
    Exited,
    /// Calls took longer than they may.
    Slow,
    /// The callee asked for less.
    Throttled,
    /// Somebody decided so.
    Forced,
    /// Any other failure that the caller classified.
    Error,
}

impl Reason {
    /// All reasons, in the order of their declaration: `ALL[reason as usize] == reason`.
    pub const ALL: [Self; 13] = [
        Self::Timeout,
        Self::Connect,
        Self::Reset,
        Self::Protocol,
        Self::Status,
        Self::Abandoned,
        Self::Panic,
        Self::Probe,
        Self::Exited,
        Self::Slow,
        Self::Throttled,
        Self::Forced,
        Self::Error,
    ];

    /// The word in logs, metrics and headers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
            Self::Status => "status",
            Self::Abandoned => "abandoned",
            Self::Panic => "panic",
            Self::Probe => "probe",
            Self::Exited => "exited",
            Self::Slow => "slow",
            Self::Throttled => "throttled",
            Self::Forced => "forced",
            Self::Error => "error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_at_its_own_place_in_the_list() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{reason:?}");
        }
        // The last variant: one added after it makes the list too short.
        assert_eq!(Reason::Error as usize + 1, Reason::ALL.len());
    }
}
