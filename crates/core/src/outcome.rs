//! What became of a call: the one word that breaker, budget, balancer and detector all read.
//!
//! Prevents policies that disagree on what a failure is.

/// The classified end of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The callee did its work.
    Success,
    /// The callee failed, or could not be reached, for this reason.
    Failure(Reason),
    /// Nothing can be said of the callee: the caller went away, or an inner policy refused.
    Ignored,
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
    /// Any other failure that the caller classified.
    Error,
}

impl Reason {
    /// All reasons, in the order of their declaration: `ALL[reason as usize] == reason`.
    pub const ALL: [Self; 10] = [
        Self::Timeout,
        Self::Connect,
        Self::Reset,
        Self::Protocol,
        Self::Status,
        Self::Abandoned,
        Self::Panic,
        Self::Probe,
        Self::Exited,
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
