//! Counts of tests, read from what the test programs print.

use std::fmt;
use std::ops::AddAssign;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

/// How many tests passed, failed and did not run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed, and suites that could not be run.
    pub failed: u64,
    /// Tests that were left out.
    pub skipped: u64,
}

impl Tally {
    /// A suite, or a group of tests, that could not run and had to.
    pub(super) const FAILED: Self = Self {
        passed: 0,
        failed: 1,
        skipped: 0,
    };
    /// A group of tests that could not run.
    pub(super) const SKIPPED: Self = Self {
        passed: 0,
        failed: 0,
        skipped: 1,
    };

    /// Reads the line in which a Rust test program sums up, if this is one.
    pub(super) fn of_line(line: &str) -> Option<Self> {
        let counts = line
            .trim_end()
            .strip_prefix("test result: ")?
            .split_once(". ")?
            .1;
        let mut tally = Self::default();
        for count in counts
            .split(';')
            .map(str::trim)
            .filter(|count| !count.is_empty())
        {
            let (number, what) = count.split_once(' ')?;
            match what {
                "passed" => tally.passed = number.parse().ok()?,
                "failed" => tally.failed = number.parse().ok()?,
                "ignored" => tally.skipped = number.parse().ok()?,
                _ => {},
            }
        }
        Some(tally)
    }

    /// Reads a drill's report: each of its checks is a test.
    pub(super) fn of_drill(report: &[u8]) -> Result<Self> {
        let report: DrillReport = serde_json::from_slice(report).context("no drill report")?;
        let known = ["mainstay.drill/v1", "mainstay.drill-keeper/v1"];
        ensure!(
            known.contains(&&*report.schema),
            "unknown report {}",
            report.schema
        );
        ensure!(!report.checks.is_empty(), "the drill checked nothing");
        let passed = |verdict: &str| verdict.eq_ignore_ascii_case("pass");
        let checks = report
            .checks
            .iter()
            .filter(|check| passed(&check.verdict))
            .count() as u64;
        let failed = report.checks.len() as u64 - checks;
        // An invalid run may have checks that all hold.
        let failed = if passed(&report.verdict) {
            failed
        } else {
            failed.max(1)
        };
        Ok(Self {
            passed: checks,
            failed,
            skipped: report.skipped.len() as u64,
        })
    }

    /// Reads the report of a drill in which a promise was broken on purpose: a test of the drill,
    /// which fails unless the drill found out.
    pub(super) fn of_planted_drill(report: &[u8]) -> Result<Self> {
        let report: DrillReport = serde_json::from_slice(report).context("no drill report")?;
        if report.verdict != "fail" {
            return Ok(Self::FAILED);
        }
        Ok(Self {
            passed: 1,
            failed: 0,
            skipped: 0,
        })
    }
}

#[derive(Deserialize)]
struct DrillReport {
    schema: String,
    verdict: String,
    checks: Vec<DrillCheck>,
    /// What was left out, in words.
    #[serde(default)]
    skipped: Vec<String>,
}

#[derive(Deserialize)]
struct DrillCheck {
    verdict: String,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_test_program_is_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 2 ignored; 0 measured; \
            7 filtered out; finished in 0.04s\n";
        assert_eq!(
            Tally::of_line(line),
            Some(Tally {
                passed: 12,
                failed: 3,
                skipped: 2
            })
        );
    }

    #[test]
    fn other_lines_are_not_counted() {
        for line in [
            "running 3 tests",
            "test a ... ok",
            "test result: ",
            "x test result: ok. 1",
        ] {
            assert_eq!(Tally::of_line(line), None, "{line}");
        }
    }

    fn drill(verdict: &str, checks: &[&str]) -> Result<Tally> {
        let checks: Vec<_> = checks
            .iter()
            .map(|verdict| serde_json::json!({"name": "a", "verdict": verdict}))
            .collect();
        let report = serde_json::json!({
            "schema": "mainstay.drill/v1", "verdict": verdict, "checks": checks,
        });
        Tally::of_drill(report.to_string().as_bytes())
    }

    #[test]
    fn each_check_of_a_drill_is_a_test() {
        let tally = drill("FAIL", &["PASS", "FAIL", "pass"]).expect("a report");
        assert_eq!(
            tally,
            Tally {
                passed: 2,
                failed: 1,
                skipped: 0
            }
        );
    }

    #[test]
    fn a_drill_without_a_valid_verdict_has_failed() {
        assert_eq!(drill("INVALID", &["PASS"]).expect("a report").failed, 1);
        assert!(drill("PASS", &[]).is_err());
        assert!(Tally::of_drill(b"{}").is_err());
    }
}
