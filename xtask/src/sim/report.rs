//! What seeds found, and what they met.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What two hundred seeds must have met at least once: a batch that never saw one of these has
/// proved nothing about it.
const SOMETIMES: &[&str] = &[
    "leader changed",
    "snapshot seen",
    "snapshot installed",
    "purge seen",
    "session expired",
    "follower knew before its leader",
    "session went on elsewhere",
    "client heard that its session is over",
    "watch fired",
    "watches set again",
    "lock acquired",
    "two believed to hold the lock",
    "torn write",
    "member failed with its disk",
    "write refused for a full disk",
    "fault: power cut",
    "fault: power cut of all",
    "fault: kill",
    "fault: slow disk",
    "fault: hung disk",
    "fault: failing disk",
    "fault: full disk",
    "fault: lost disk",
    "disk lost",
    "lost disk made up for",
    "member taken in by a later leader",
    "fault: isolation",
    "fault: one-way cut",
    "fault: bridge",
    "fault: split",
    "fault: client cut",
    "fault: delay",
    "fault: reset",
    "fault: pause",
    "fault: wall clock",
    "fault: hand over",
];

/// What became of one seed.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Report {
    pub(super) seed: u64,
    pub(super) violations: Vec<Violation>,
    pub(super) virtual_ms: u64,
    pub(super) events: u64,
    pub(super) hash: String,
    pub(super) checkpoints: Vec<String>,
    pub(super) replies: u64,
    pub(super) met: BTreeMap<String, u64>,
}

/// A broken promise.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Violation {
    property: String,
    detail: String,
    at_ms: u64,
}

impl Report {
    /// A run that ended without a report.
    pub(super) fn of_a_crash(seed: u64, text: String) -> Self {
        Self {
            seed,
            violations: vec![Violation {
                property: "the simulation does not panic".to_owned(),
                detail: text,
                at_ms: 0,
            }],
            ..Self::default()
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "at {} ms: {}: {}",
            self.at_ms, self.property, self.detail
        )
    }
}

/// What a batch found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    /// Seeds that broke nothing.
    pub(crate) passed: u64,
    /// Seeds that broke something.
    pub(crate) failed: Vec<u64>,
    /// What must have been met and was not.
    pub(crate) missing: Vec<&'static str>,
    pub(super) virtual_hours: f64,
    pub(super) seconds: f64,
    pub(super) times_real_time: f64,
    pub(super) events: u64,
    pub(super) replies: u64,
    /// In how many seeds it was met.
    pub(super) met: BTreeMap<String, u64>,
}

impl Summary {
    pub(super) fn of(reports: &[Report], seconds: f64) -> Self {
        let mut summary = Self {
            seconds,
            ..Self::default()
        };
        let mut virtual_ms = 0;
        for report in reports {
            if report.violations.is_empty() {
                summary.passed += 1;
            } else {
                summary.failed.push(report.seed);
            }
            virtual_ms += report.virtual_ms;
            summary.events += report.events;
            summary.replies += report.replies;
            for met in report.met.keys() {
                *summary.met.entry(met.clone()).or_default() += 1;
            }
        }
        let virtual_seconds = virtual_ms as f64 / 1_000.0;
        summary.virtual_hours = virtual_seconds / 3_600.0;
        summary.times_real_time = virtual_seconds / seconds.max(f64::MIN_POSITIVE);
        summary
    }

    /// Whether nothing was broken, and everything met.
    pub(crate) const fn is_good(&self) -> bool {
        self.failed.is_empty() && self.missing.is_empty()
    }
}

/// What was never met.
pub(super) fn missing(met: &BTreeMap<String, u64>) -> Vec<&'static str> {
    let all = SOMETIMES.iter().copied();
    all.filter(|what| !met.contains_key(*what)).collect()
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, seeds) in &self.met {
            writeln!(f, "{seeds:>6} seeds met: {what}")?;
        }
        for what in &self.missing {
            writeln!(f, "no seed met: {what}")?;
        }
        for seed in &self.failed {
            writeln!(f, "broken: cargo xtask sim --seed {seed}")?;
        }
        writeln!(
            f,
            "{} seeds passed, {} failed: {:.2} virtual hours in {:.0} s, {:.0} times real time; {} \
             events, {} replies",
            self.passed,
            self.failed.len(),
            self.virtual_hours,
            self.seconds,
            self.times_real_time,
            self.events,
            self.replies,
        )
    }
}

/// What became of a planted bug.
#[derive(Debug, Serialize)]
pub(super) struct Planted {
    bug: String,
    /// How many seeds it took; `None` when it was not found.
    pub(super) seeds: Option<u64>,
    found_by: String,
}

impl Planted {
    pub(super) fn of(bug: &str, caught: Option<&Report>) -> Self {
        let first = caught.and_then(|report| report.violations.first());
        Self {
            bug: bug.to_owned(),
            seeds: caught.map(|report| report.seed),
            found_by: first.map_or_else(String::new, |violation| violation.property.clone()),
        }
    }
}

impl fmt::Display for Planted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seeds {
            Some(seeds) => write!(
                f,
                "{:<26} found after {seeds:>3} seeds by: {}",
                self.bug, self.found_by
            ),
            None => write!(f, "{:<26} NOT FOUND", self.bug),
        }
    }
}

/// The median of the seeds that it took; those that were not found took the longest.
pub(super) fn median(found: &[Planted]) -> u64 {
    let mut seeds: Vec<u64> = found
        .iter()
        .map(|planted| planted.seeds.unwrap_or(u64::MAX))
        .collect();
    seeds.sort_unstable();
    seeds.get(seeds.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(seed: u64, broken: bool) -> Report {
        Report {
            virtual_ms: 3_600_000,
            met: [("leader changed".to_owned(), 2)].into(),
            ..if broken {
                Report::of_a_crash(seed, String::new())
            } else {
                Report {
                    seed,
                    ..Report::default()
                }
            }
        }
    }

    #[test]
    fn a_batch_is_good_when_nothing_was_broken_and_nothing_was_missed() {
        let mut summary = Summary::of(&[report(1, false), report(2, false)], 72.0);
        assert!(summary.is_good());
        assert_eq!((summary.passed, summary.virtual_hours), (2, 2.0));
        assert!((summary.times_real_time - 100.0).abs() < 1e-9);
        summary.missing = missing(&summary.met);
        assert!(!summary.is_good() && !summary.missing.contains(&"leader changed"));

        let broken = Summary::of(&[report(1, false), report(2, true)], 1.0);
        assert_eq!(broken.failed, [2]);
        let text = broken.to_string();
        assert!(text.contains("broken: cargo xtask sim --seed 2"), "{text}");
    }

    #[test]
    fn the_median_counts_what_was_not_found_as_the_longest() {
        let planted = |seeds| Planted {
            bug: String::new(),
            seeds,
            found_by: String::new(),
        };
        let found = [planted(Some(3)), planted(None), planted(Some(9))];
        assert_eq!(median(&found), 9);
    }
}
