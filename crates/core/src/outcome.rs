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
