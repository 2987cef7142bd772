//! The checks of a scenario, and the verdict.
//!
//! Prevents a green result that proves nothing: a fault that did not bite, a service that failed
//! before anything was broken, or a baseline that did not suffer is no pass.

use serde::Serialize;

/// A share of good answers below which a service is not called available.
const READ_AVAILABILITY_MIN: f64 = 0.999_9;

/// The same for writes, while any replica lives.
const WRITE_AVAILABILITY_MIN: f64 = 0.999;

/// The share of the baseline's outage that must be gone.
const OUTAGE_CUT_MIN: f64 = 0.99;

/// Retries may cost this much at most.
const ATTEMPTS_PER_REQUEST_MAX: f64 = 1.10;

/// What a check, or a whole drill, found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Verdict {
    /// It holds.
    #[serde(rename = "pass")]
    Pass,
    /// Nobody could tell in the time and memory that there was.
    #[serde(rename = "UNKNOWN")]
    Unknown,
    /// It does not hold.
    #[serde(rename = "fail")]
    Fail,
    /// Nothing can be said: the experiment itself did not work.
    #[serde(rename = "INVALID")]
    Invalid,
}

impl Verdict {
    /// The word in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unknown => "UNKNOWN",
            Self::Invalid => "INVALID",
        }
    }

    /// The exit code that stands for it: 0, 1, or 3.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Fail => 1,
            Self::Unknown | Self::Invalid => 3,
        }
    }

    /// The sign before a check's name.
    pub(crate) const fn mark(self) -> &'static str {
        match self {
            Self::Pass => "✓",
            Self::Fail => "✗",
            Self::Unknown | Self::Invalid => "?",
        }
    }

    /// The verdict on all of `checks`: the worst of theirs.
    pub(crate) fn of(checks: &[Check]) -> Self {
        checks
            .iter()
            .map(|check| check.verdict)
            .max()
            .unwrap_or(Self::Invalid)
    }
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// What it found.
    pub verdict: Verdict,
    /// What was measured.
    pub value: f64,
    /// What it is held against.
    pub limit: f64,
    /// How: `>=`, `<=` or `<`.
    pub relation: &'static str,
    /// What it means, in words.
    pub meaning: &'static str,
}

/// What the checks look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Faults in both arms: two for each of the plan.
    pub(crate) faults: u64,
    /// Faults with evidence that they bit.
    pub(crate) faults_evident: u64,
    /// Requests of both arms that failed before the first fault.
    pub(crate) steady_failed: u64,
    /// Share of good reads without protection.
    pub(crate) baseline_reads: f64,
    /// Outage without protection, seconds.
    pub(crate) baseline_outage_s: f64,
    /// Share of good reads with protection.
    pub(crate) reads: f64,
    /// Share of good writes with protection, while any replica lived.
    pub(crate) writes: f64,
    /// Outage with protection, seconds.
    pub(crate) outage_s: f64,
    /// Attempts at replicas per request with protection; `None` when the node did not say.
    pub(crate) attempts_per_request: Option<f64>,
    /// Writes that were acknowledged and never charged, with protection.
    pub(crate) writes_lost: u64,
    /// Writes that were charged more than once, with protection.
    pub(crate) writes_doubled: u64,
}

impl Measured {
    /// The share of the baseline's outage that protection removed; zero when there was none.
    pub(crate) fn outage_cut(&self) -> f64 {
        if self.baseline_outage_s <= 0.0 {
            return 0.0;
        }
        1.0 - self.outage_s / self.baseline_outage_s
    }

    /// The checks of `payment-outage`.
    pub(crate) fn checks(&self) -> Vec<Check> {
        vec![
            at_least(
                "fault_evidence",
                self.faults_evident as f64,
                self.faults as f64,
            )
            .or(Verdict::Invalid, "faults that provably bit, in both arms"),
            at_most("steady_state_failures", self.steady_failed as f64, 0.0).or(
                Verdict::Invalid,
                "requests that failed before anything was broken",
            ),
            below(
                "baseline_read_availability",
                self.baseline_reads,
                READ_AVAILABILITY_MIN,
            )
            .or(
                Verdict::Fail,
                "the baseline must fail, else the scenario is too weak",
            ),
            at_least("read_availability", self.reads, READ_AVAILABILITY_MIN)
                .or(Verdict::Fail, "reads answered well, stale answers included"),
            at_least("write_availability", self.writes, WRITE_AVAILABILITY_MIN).or(
                Verdict::Fail,
                "writes answered well while any replica lived",
            ),
            at_least("outage_cut", self.outage_cut(), OUTAGE_CUT_MIN)
                .or(Verdict::Fail, "share of the baseline's outage that is gone"),
            self.attempts(),
            at_most("writes_lost", self.writes_lost as f64, 0.0)
                .or(Verdict::Fail, "acknowledged writes that were never charged"),
            at_most("writes_doubled", self.writes_doubled as f64, 0.0)
                .or(Verdict::Fail, "writes that were charged more than once"),
        ]
    }

    fn attempts(&self) -> Check {
        let (value, worst) = match self.attempts_per_request {
            Some(attempts) => (attempts, Verdict::Fail),
            None => (-1.0, Verdict::Invalid),
        };
        let mut check = at_most("attempts_per_request", value, ATTEMPTS_PER_REQUEST_MAX)
            .or(worst, "attempts at replicas per request: what retries cost");
        if worst == Verdict::Invalid {
            check.verdict = worst;
        }
        check
    }
}

fn compared(holds: bool, name: &'static str, value: f64, relation: &'static str) -> Check {
    Check {
        name,
        verdict: if holds { Verdict::Pass } else { Verdict::Fail },
        value,
        limit: 0.0,
        relation,
        meaning: "",
    }
}

pub(crate) fn at_least(name: &'static str, value: f64, limit: f64) -> Check {
    let check = compared(value >= limit, name, value, ">=");
    Check { limit, ..check }
}

pub(crate) fn at_most(name: &'static str, value: f64, limit: f64) -> Check {
    let check = compared(value <= limit, name, value, "<=");
    Check { limit, ..check }
}

fn below(name: &'static str, value: f64, limit: f64) -> Check {
    let check = compared(value < limit, name, value, "<");
    Check { limit, ..check }
}

impl Check {
    /// What it means, and the verdict when it does not hold.
    pub(crate) fn or(mut self, otherwise: Verdict, meaning: &'static str) -> Self {
        if self.verdict != Verdict::Pass {
            self.verdict = otherwise;
        }
        self.meaning = meaning;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Measured = Measured {
        faults: 12,
        faults_evident: 12,
        steady_failed: 0,
        baseline_reads: 0.9,
        baseline_outage_s: 20.0,
        reads: 1.0,
        writes: 1.0,
        outage_s: 0.0,
        attempts_per_request: Some(1.02),
        writes_lost: 0,
        writes_doubled: 0,
    };

    fn verdict(measured: Measured) -> Verdict {
        Verdict::of(&measured.checks())
    }

    #[test]
    fn a_run_at_all_its_limits_passes() {
        let limits = Measured {
            baseline_reads: 0.999_8,
            reads: 0.999_9,
            writes: 0.999,
            outage_s: 0.2,
            attempts_per_request: Some(1.10),
            ..GOOD
        };
        assert_eq!(verdict(GOOD), Verdict::Pass);
        assert_eq!(verdict(limits), Verdict::Pass, "{:?}", limits.checks());
    }

    #[test]
    fn each_missed_limit_fails_the_run() {
        let missed = [
            Measured {
                reads: 0.999_89,
                ..GOOD
            },
            Measured {
                writes: 0.998_9,
                ..GOOD
            },
            Measured {
                outage_s: 0.3,
                ..GOOD
            },
            Measured {
                attempts_per_request: Some(1.11),
                ..GOOD
            },
            Measured {
                writes_lost: 1,
                ..GOOD
            },
            Measured {
                writes_doubled: 1,
                ..GOOD
            },
        ];
        for measured in missed {
            assert_eq!(verdict(measured), Verdict::Fail, "{measured:?}");
            let failed = measured
                .checks()
                .into_iter()
                .filter(|c| c.verdict == Verdict::Fail);
            assert_eq!(failed.count(), 1, "{measured:?}");
        }
    }

    #[test]
    fn a_baseline_that_does_not_suffer_fails_the_run() {
        let weak = Measured {
            baseline_reads: 1.0,
            baseline_outage_s: 0.0,
            ..GOOD
        };
        assert_eq!(verdict(weak), Verdict::Fail);
    }

    #[test]
    fn a_fault_without_evidence_makes_the_run_invalid_however_good_it_looks() {
        let unproven = Measured {
            faults_evident: 11,
            ..GOOD
        };
        assert_eq!(verdict(unproven), Verdict::Invalid);
        let failed_too = Measured {
            reads: 0.5,
            ..unproven
        };
        assert_eq!(verdict(failed_too), Verdict::Invalid);
    }

    #[test]
    fn a_service_that_fails_before_anything_is_broken_makes_the_run_invalid() {
        let unsteady = Measured {
            steady_failed: 1,
            ..GOOD
        };
        assert_eq!(verdict(unsteady), Verdict::Invalid);
    }

    #[test]
    fn attempts_that_nobody_counted_make_the_run_invalid() {
        let uncounted = Measured {
            attempts_per_request: None,
            ..GOOD
        };
        assert_eq!(verdict(uncounted), Verdict::Invalid);
    }

    #[test]
    fn verdicts_have_exit_codes_of_their_own() {
        let all = [
            Verdict::Pass,
            Verdict::Fail,
            Verdict::Unknown,
            Verdict::Invalid,
        ];
        assert_eq!(all.map(Verdict::exit_code), [0, 1, 3, 3]);
        let words = ["pass", "fail", "UNKNOWN", "INVALID"];
        assert_eq!(all.map(Verdict::as_str), words);
    }
}
