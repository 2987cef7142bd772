//! Holders of a lock with fencing tokens: did an old holder act after a newer one?
//!
//! Prevents believing a lock without fencing. A holder that was paused cannot know that its lease
//! has ended, so two clients may both believe to hold the lock; what must never happen is that the
//! protected resource accepts the older token after the newer (Kleppmann, "How to do distributed
//! locking", 2016; Chubby's sequencers, OSDI 2006).
//!
//! What always holds in a correct run: no token is given twice, tokens grow in real time, and the
//! resource never goes back to a smaller one.

use std::collections::BTreeMap;
use std::fmt;

use crate::history::{Client, Time};
use crate::real_time::{Moment, overtaken};

/// A client that was told it has the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The client.
    pub client: Client,
    /// Its fencing token.
    pub token: u64,
    /// When it asked.
    pub invoked: Time,
    /// When it was told.
    pub acquired: Time,
    /// When it began to give the lock back; `None` if it never did.
    pub released: Option<Time>,
}

/// A use of the protected resource that the resource accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The client.
    pub client: Client,
    /// The token it showed.
    pub token: u64,
    /// When it asked.
    pub invoked: Time,
    /// When the resource had answered.
    pub returned: Time,
}

/// A broken promise. Numbers count [`Hold`]s and [`Use`]s as they were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Two holds have one token.
    TokenReused {
        /// The first hold.
        first: usize,
        /// The second.
        second: usize,
        /// Their token.
        token: u64,
    },
    /// A later hold has a smaller token.
    TokenWentBack {
        /// The hold that was acquired first.
        earlier: usize,
        /// The hold that was asked for afterwards.
        later: usize,
    },
    /// The resource accepted a smaller token after a greater one.
    StaleUse {
        /// The use with the greater token.
        newer: usize,
        /// The use with the smaller token, which came after.
        stale: usize,
    },
    /// The resource accepted a token that nobody was given.
    UnknownToken {
        /// The use.
        user: usize,
        /// Its token.
        token: u64,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TokenReused {
                first,
                second,
                token,
            } => write!(f, "holds {first} and {second} have the same token {token}"),
            Self::TokenWentBack { earlier, later } => write!(
                f,
                "hold {later} was asked for after hold {earlier} and has a smaller token"
            ),
            Self::StaleUse { newer, stale } => write!(
                f,
                "the resource accepted use {stale} after use {newer}, which had a greater token"
            ),
            Self::UnknownToken { user, token } => {
                write!(f, "use {user} shows token {token}, which nobody was given")
            },
        }
    }
}

/// What the lock checker says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Broken promises.
    pub violations: Vec<Violation>,
    /// Pairs of holds (smaller token first) whose clients both believed to have the lock. A lock
    /// that is a lease cannot prevent it; one that never expires must.
    pub overlaps: Vec<(usize, usize)>,
}

impl Report {
    /// Whether every promise of a lease with fencing was kept.
    pub const fn is_fenced(&self) -> bool {
        self.violations.is_empty()
    }

    /// Whether, besides, no two clients believed to hold the lock at once.
    pub const fn is_exclusive(&self) -> bool {
        self.is_fenced() && self.overlaps.is_empty()
    }
}

/// Checks the holds of one lock, and what its resource accepted. Violations are found for each
/// hold and use once, against the strongest witness, in `O(n log n)`.
pub fn check(holds: &[Hold], uses: &[Use]) -> Report {
    let mut report = Report::default();
    let mut by_token: BTreeMap<u64, usize> = BTreeMap::new();
    for (second, hold) in holds.iter().enumerate() {
        let token = hold.token;
        match by_token.get(&token) {
            Some(&first) => report.violations.push(Violation::TokenReused {
                first,
                second,
                token,
            }),
            None => {
                by_token.insert(token, second);
            },
        }
    }
    let spans = holds
        .iter()
        .map(|hold| (hold.invoked, hold.acquired, hold.token));
    let went_back = backward(&spans.collect::<Vec<_>>());
    let back = went_back.into_iter();
    let back = back.map(|(earlier, later)| Violation::TokenWentBack { earlier, later });
    report.violations.extend(back);

    for (user, used) in uses.iter().enumerate() {
        let token = used.token;
        if !by_token.contains_key(&token) {
            let unknown = Violation::UnknownToken { user, token };
            report.violations.push(unknown);
        }
    }
    let spans = uses
        .iter()
        .map(|used| (used.invoked, used.returned, used.token));
    let stale = backward(&spans.collect::<Vec<_>>()).into_iter();
    let stale = stale.map(|(newer, stale)| Violation::StaleUse { newer, stale });
    report.violations.extend(stale);

    report.overlaps = overlaps(holds, by_token.into_values());
    report
}

/// Pairs (a, b) in which b began after a had ended and yet has a smaller token.
fn backward(spans: &[(Time, Time, u64)]) -> Vec<(usize, usize)> {
    let moment = |who, at, number| Moment { at, number, who };
    let spans = || spans.iter().enumerate();
    let ends = spans().map(|(who, span)| moment(who, span.1, span.2));
    let begins = spans().map(|(who, span)| moment(who, span.0, span.2));
    overtaken(ends.collect(), begins.collect())
}

/// For each hold, in the order of tokens, the one with a smaller token that lasted longest, if
/// that had not ended when this one was acquired.
fn overlaps(holds: &[Hold], order: impl Iterator<Item = usize>) -> Vec<(usize, usize)> {
    let end = |at: usize| holds[at].released.unwrap_or(Time::MAX);
    let mut longest: Option<usize> = None;
    let mut found = Vec::new();
    for at in order {
        if let Some(before) = longest.filter(|before| end(*before) > holds[at].acquired) {
            found.push((before, at));
        }
        if longest.is_none_or(|before| end(at) > end(before)) {
            longest = Some(at);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(token: u64, invoked: Time, acquired: Time, released: Option<Time>) -> Hold {
        Hold {
            client: token,
            token,
            invoked,
            acquired,
            released,
        }
    }

    fn used(token: u64, invoked: Time) -> Use {
        Use {
            client: token,
            token,
            invoked,
            returned: invoked + 1,
        }
    }

    #[test]
    fn one_holder_after_the_other_is_fine() {
        let holds = [hold(1, 0, 1, Some(5)), hold(2, 3, 6, None)];
        let report = check(&holds, &[used(1, 2), used(2, 7)]);
        assert!(report.is_exclusive(), "{report:?}");
    }

    #[test]
    fn a_paused_holder_may_overlap_but_its_write_must_be_refused() {
        let holds = [hold(1, 0, 1, None), hold(2, 3, 6, None)];
        let fenced = check(&holds, &[used(1, 2), used(2, 7)]);
        assert!(fenced.is_fenced() && !fenced.is_exclusive());
        assert_eq!(fenced.overlaps, [(0, 1)]);

        let broken = check(&holds, &[used(2, 7), used(1, 9)]);
        assert_eq!(
            broken.violations,
            [Violation::StaleUse { newer: 0, stale: 1 }]
        );
    }

    #[test]
    fn tokens_grow_and_are_given_once() {
        let holds = [
            hold(5, 0, 1, Some(2)),
            hold(4, 3, 4, Some(5)),
            hold(5, 6, 7, Some(8)),
        ];
        let report = check(&holds, &[used(9, 1)]);
        let found: Vec<_> = report.violations.iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "holds 0 and 2 have the same token 5",
                "hold 1 was asked for after hold 0 and has a smaller token",
                "use 0 shows token 9, which nobody was given",
            ]
        );
    }

    #[test]
    fn uses_that_are_under_way_at_once_may_come_in_any_order() {
        let holds = [hold(1, 0, 1, None), hold(2, 3, 6, None)];
        let mut late = used(1, 7);
        late.returned = 12;
        assert!(check(&holds, &[late, used(2, 8)]).is_fenced());
    }
}
