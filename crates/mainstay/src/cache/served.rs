//! An answer as a caller gets it: how old it is, and where it comes from.
//!
//! Prevents an old answer from passing for a new one.

use std::time::Duration;

use mainstay_core::freshness::Freshness;

/// An answer, and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served<T> {
    /// The answer.
    pub value: T,
    /// How long ago it arrived; zero for one that was loaded just now.
    pub age: Duration,
    /// Where it comes from.
    pub kind: Kind,
}

/// Where an answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// From the callee, just now.
    Loaded,
    /// From the cache, as good as new.
    Fresh,
    /// From the cache, while it is being refreshed.
    Stale,
    /// From the cache, because a refresh failed.
    InNeed,
}

impl Kind {
    /// The word in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::InNeed => "in need",
        }
    }

    /// Of something kept, which a caller does not wait to have refreshed.
    pub(super) const fn of(freshness: Freshness) -> Self {
        match freshness {
            Freshness::Fresh | Freshness::Early => Self::Fresh,
            Freshness::Revalidate | Freshness::IfError | Freshness::Expired => Self::Stale,
        }
    }
}
