//! What became of planted bugs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::Planted;

/// What became of one.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// All of its tests failed; what each said.
    Found(BTreeMap<String, String>),
    /// A test did not.
    Missed(String),
    /// It is no bug, but an error; what the compiler said.
    DoesNotCompile(String),
}

impl Outcome {
    const fn is_found(&self) -> bool {
        match self {
            Self::Found(_) => true,
            Self::Missed(_) | Self::DoesNotCompile(_) => false,
        }
    }
}

/// A bug that was planted.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Found {
    pitfall: usize,
    broken: String,
    file: String,
    outcome: Outcome,
    /// To build it and to run its tests.
    seconds: f64,
}

impl Found {
    pub(super) fn new(bug: Planted, outcome: Outcome, seconds: f64) -> Self {
        Self {
            pitfall: bug.pitfall,
            broken: bug.broken,
            file: bug.file,
            outcome,
            seconds,
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pitfall,
            broken,
            seconds,
            ..
        } = self;
        write!(f, "pitfall {pitfall:>2}, {seconds:>5.1} s, ")?;
        match &self.outcome {
            Outcome::Found(by) => {
                let tests: Vec<_> = by.keys().map(|test| &**test).collect();
                write!(f, "found: {broken} ({})", tests.join(", "))
            },
            Outcome::Missed(how) => write!(f, "NOT FOUND: {broken} ({how})"),
            Outcome::DoesNotCompile(text) => write!(f, "DOES NOT COMPILE: {broken}\n{text}"),
        }
    }
}

/// What became of all.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Of how many pitfalls bugs were planted.
    pitfalls: usize,
    /// Of how many all bugs were found.
    found: usize,
    planted: Vec<Found>,
}

impl Report {
    pub(super) fn new(mut planted: Vec<Found>) -> Self {
        planted.sort_by_key(|one| one.pitfall);
        let mut pitfalls = BTreeMap::new();
        for one in &planted {
            *pitfalls.entry(one.pitfall).or_insert(true) &= one.outcome.is_found();
        }
        Self {
            pitfalls: pitfalls.len(),
            found: pitfalls.into_values().filter(|found| *found).count(),
            planted,
        }
    }

    pub(super) const fn is_good(&self) -> bool {
        self.found == self.pitfalls
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for one in &self.planted {
            writeln!(f, "{one}")?;
        }
        let seconds: f64 = self.planted.iter().map(|one| one.seconds).sum();
        let each = if self.is_good() {
            "each found"
        } else {
            "found"
        };
        let Self {
            pitfalls, found, ..
        } = self;
        let bugs = self.planted.len();
        writeln!(
            f,
            "{found} of {pitfalls} pitfalls: {each} ({bugs} planted bugs, {seconds:.0} s)"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pitfall: usize, outcome: Outcome) -> Found {
        Found {
            pitfall,
            broken: "It leaks.".into(),
            file: "a.rs".into(),
            outcome,
            seconds: 1.5,
        }
    }

    #[test]
    fn a_pitfall_is_found_when_all_its_bugs_are() {
        let seen = || Outcome::Found([("it_holds".into(), "fails: 1 is not 2".into())].into());
        let all = Report::new(vec![found(2, seen()), found(1, seen()), found(2, seen())]);
        assert!(all.is_good());
        let text = all.to_string();
        assert!(text.starts_with("pitfall  1,   1.5 s, found: It leaks. (it_holds)\n"));
        assert!(text.ends_with("2 of 2 pitfalls: each found (3 planted bugs, 4 s)\n"));

        let missed = || Outcome::Missed("it_holds passes".into());
        let some = Report::new(vec![found(1, seen()), found(2, seen()), found(2, missed())]);
        assert!(!some.is_good());
        let text = some.to_string();
        assert!(
            text.contains("NOT FOUND: It leaks. (it_holds passes)"),
            "{text}"
        );
        assert!(text.contains("1 of 2 pitfalls: found"), "{text}");
        let broken = Outcome::DoesNotCompile("error: no such name".into());
        assert!(!Report::new(vec![found(1, broken)]).is_good());
    }
}
