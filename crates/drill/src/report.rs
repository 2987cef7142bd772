//! The result of a drill, for people, programs and browsers.
//!
//! Prevents three results that differ: text, JSON and page are made from this one value, and
//! nothing is computed after it.

pub(crate) mod html;
mod svg;
pub(crate) mod text;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::arm::Observed;
use crate::availability::{Availability, is_excused, restored_ms};
use crate::check::{Check, Measured, Verdict};
use crate::experiment::Outcome;
use crate::ledger::{self, Charges};
use crate::load::{End, Sample};
use crate::plan::{Ask, Kind, Plan, PlannedFault};
use crate::timeline::{self, Slot};

/// The result of a drill: the document `mainstay.drill/v1`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Always `mainstay.drill/v1`.
    pub schema: &'static str,
    /// The scenario.
    pub scenario: &'static str,
    /// What everything random derived from.
    pub seed: u64,
    /// The verdict on all checks.
    pub verdict: Verdict,
    /// The baseline, then the protected arm.
    pub arms: Vec<ArmReport>,
    /// The faults in the order of the plan.
    pub faults: Vec<FaultReport>,
    /// The checks.
    pub checks: Vec<Check>,
    /// The share of the baseline's outage that protection removed, 0 to 1.
    pub outage_cut: f64,
    /// Fingerprint of the plan: equal ones had the same load and the same faults.
    pub plan: String,
    /// How long the load lasted, milliseconds.
    pub length_ms: u64,
    /// The command that runs the same drill again.
    pub rerun: String,
    /// The version of Mainstay.
    pub version: &'static str,
}

/// What the users of one arm saw.
#[derive(Clone, Debug, Serialize)]
pub struct ArmReport {
    /// `baseline` or `protected`.
    pub name: &'static str,
    /// All requests of the plan.
    pub requests: u64,
    /// Good answers within a second of when they were due, stale ones included.
    pub good: u64,
    /// All others, the excused writes included.
    pub failed: u64,
    /// Good answers of all requests that are not excused, 0 to 1.
    pub availability: f64,
    /// Time in slots of 100 ms in which at least one read, or one write that is not excused, was
    /// due and then failed; seconds.
    pub outage_s: f64,
    /// Median latency of all requests from when they were due, milliseconds.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Attempts at replicas per request; `None` when the node did not say.
    pub attempts_per_request: Option<f64>,
    /// Writes that were acknowledged and never charged.
    pub writes_lost: u64,
    /// Writes that were charged more than once.
    pub writes_doubled: u64,
    /// 99.9th percentile of latency, milliseconds.
    pub p999_ms: f64,
    /// Good answers that were stale.
    pub stale: u64,
    /// All reads.
    pub reads: u64,
    /// Good answers of all reads, 0 to 1.
    pub read_availability: f64,
    /// All writes, the excused ones included.
    pub writes: u64,
    /// Good answers of all writes that are not excused, 0 to 1.
    pub write_availability: f64,
    /// Writes that failed while no replica lived.
    pub writes_excused: u64,
    /// Failed requests by the word why.
    pub failures: BTreeMap<String, u64>,
    /// The first failed requests that are not excused, at most [`MISSED_MAX`], as they were due.
    pub missed: Vec<Missed>,
    /// What users saw, slot by slot.
    #[serde(skip)]
    pub timeline: Vec<Slot>,
}

/// Failed requests that are listed one by one.
pub const MISSED_MAX: usize = 20;

/// A request that failed and is not excused.
#[derive(Clone, Debug, Serialize)]
pub struct Missed {
    /// When it was due, milliseconds after the first request.
    pub due_ms: f64,
    /// `read` or `write`.
    pub ask: &'static str,
    /// Why it failed, in a word.
    pub why: String,
    /// How long its user waited, milliseconds.
    pub waited_ms: f64,
}

/// What one fault did.
#[derive(Clone, Debug, Serialize)]
pub struct FaultReport {
    /// What was done.
    pub kind: Kind,
    /// The replica, or `all`.
    pub target: String,
    /// When it was planned to start, milliseconds after the first request.
    pub at_ms: u64,
    /// How long it lasted.
    pub for_ms: u64,
    /// The proof that it bit, in both arms; `None` when it is missing in one.
    pub evidence: Option<String>,
    /// From its start to the first sign that the node knew; `None` when there was none.
    pub detect_ms: Option<u64>,
    /// From its start to the end of the last failed request of the protected arm's users; 0 when
    /// none failed.
    pub restore_ms: u64,
    /// What showed that the node knew, or why nothing did.
    pub detected_by: String,
    /// From its start until all replicas were in rotation again; `None` when they were not before
    /// the next fault.
    pub whole_ms: Option<u64>,
    /// As `restore_ms`, for the baseline.
    pub baseline_restore_ms: u64,
    /// For how long no replica of the protected arm lived, milliseconds.
    pub dark_ms: u64,
    /// What is missing of the evidence.
    pub missing: Option<String>,
}

impl Report {
    /// The result of `outcome`, which was a run of `plan`.
    ///
    /// # Errors
    /// A histogram cannot be made, which does not happen.
    pub(crate) fn new(plan: &Plan, outcome: &Outcome) -> anyhow::Result<Self> {
        let baseline_attempts = outcome.baseline.samples.len() as u64;
        let baseline = ArmReport::new(
            plan,
            "baseline",
            &outcome.baseline,
            (Some(baseline_attempts), &outcome.baseline_charges),
        )?;
        let protected = ArmReport::new(
            plan,
            "protected",
            &outcome.protected,
            (outcome.attempts, &outcome.protected_charges),
        )?;
        let faults = plan.faults.iter().enumerate();
        let faults: Vec<_> = faults
            .map(|(index, fault)| fault_report(plan, index, fault, outcome))
            .collect();
        let measured = measured(plan, outcome, &baseline, &protected);
        let checks = measured.checks();
        Ok(Self {
            schema: "mainstay.drill/v1",
            scenario: plan.scenario,
            seed: plan.seed,
            verdict: Verdict::of(&checks),
            arms: vec![baseline, protected],
            faults,
            checks,
            outage_cut: rounded(measured.outage_cut(), 4),
            plan: plan.fingerprint(),
            length_ms: plan.length_ms,
            rerun: format!("mainstay drill {} --seed {}", plan.scenario, plan.seed),
            version: env!("CARGO_PKG_VERSION"),
        })
    }

    /// The document `mainstay.drill/v1`, with a line end.
    ///
    /// # Errors
    /// The report cannot be written as JSON, which does not happen.
    pub fn to_json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

impl ArmReport {
    fn new(
        plan: &Plan,
        name: &'static str,
        observed: &Observed,
        (attempts, charges): (Option<u64>, &Charges),
    ) -> anyhow::Result<Self> {
        let dark = observed.dark();
        let seen = Availability::of(&observed.samples, &dark)?;
        let acknowledged = observed.samples.iter().filter(|sample| sample.is_good());
        let acknowledged = acknowledged.filter_map(|sample| match sample.ask {
            Ask::Write { number } => Some(plan.write_id(number)),
            Ask::Read { .. } => None,
        });
        let writes = ledger::compare(acknowledged, charges);
        let requests = seen.requests();
        let per_request = |attempts: u64| rounded(attempts as f64 / requests.max(1) as f64, 4);
        Ok(Self {
            name,
            requests,
            good: seen.good(),
            failed: requests - seen.good(),
            availability: cut(seen.overall()),
            outage_s: seen.outage_us as f64 / 1_000_000.0,
            p50_ms: rounded(seen.latency_ms(0.5), 2),
            p99_ms: rounded(seen.latency_ms(0.99), 2),
            attempts_per_request: attempts.map(per_request),
            writes_lost: writes.lost,
            writes_doubled: writes.doubled,
            p999_ms: rounded(seen.latency_ms(0.999), 2),
            stale: seen.stale,
            reads: seen.reads.asked,
            read_availability: cut(seen.reads.ratio()),
            writes: seen.writes.asked + seen.excused,
            write_availability: cut(seen.writes.ratio()),
            writes_excused: seen.excused,
            failures: seen.failures,
            missed: missed(observed, &dark),
            timeline: timeline::slots(&observed.samples, &dark, plan.length_ms)?,
        })
    }
}

fn missed(observed: &Observed, dark: &[std::ops::Range<u64>]) -> Vec<Missed> {
    let failed = observed
        .samples
        .iter()
        .filter_map(|sample| match &sample.end {
            End::Failed(why) if !is_excused(sample, dark) => Some((sample, why)),
            End::Failed(_) | End::Good | End::Stale => None,
        });
    let mut failed: Vec<_> = failed.collect();
    failed.sort_by_key(|(sample, _)| sample.due_us);
    let missed = |(sample, why): (&Sample, &String)| Missed {
        due_ms: sample.due_us as f64 / 1_000.0,
        ask: match sample.ask {
            Ask::Read { .. } => "read",
            Ask::Write { .. } => "write",
        },
        why: why.clone(),
        waited_ms: rounded(sample.latency_us as f64 / 1_000.0, 1),
    };
    failed.into_iter().take(MISSED_MAX).map(missed).collect()
}

fn fault_report(plan: &Plan, index: usize, fault: &PlannedFault, outcome: &Outcome) -> FaultReport {
    let until_ms = plan.window_end_ms(index);
    let planned_us = fault.at_ms * 1_000;
    let began_us = |observed: &Observed| {
        observed
            .inflicted
            .get(index)
            .map_or(planned_us, |inflicted| inflicted.began_us)
    };
    let restored =
        |observed: &Observed| restored_ms(&observed.samples, began_us(observed), until_ms * 1_000);
    let began_ms = began_us(&outcome.protected) / 1_000;
    let detection = outcome.watched.detection(fault, began_ms);
    let dark = outcome
        .protected
        .inflicted
        .get(index)
        .and_then(|inflicted| inflicted.dark.as_ref());
    let (evidence, missing) = match evidence(index, outcome) {
        Ok(evidence) => (Some(evidence), None),
        Err(missing) => (None, Some(missing)),
    };
    FaultReport {
        kind: fault.kind,
        target: fault.target.to_string(),
        at_ms: fault.at_ms,
        for_ms: fault.for_ms,
        evidence,
        detect_ms: detection.after_ms,
        restore_ms: restored(&outcome.protected),
        detected_by: detection.by,
        whole_ms: outcome.watched.whole_ms(began_ms, until_ms),
        baseline_restore_ms: restored(&outcome.baseline),
        dark_ms: dark.map_or(0, |dark| (dark.end - dark.start) / 1_000),
        missing,
    }
}

/// The evidence of both arms for the fault at `index`, or what is missing in either.
fn evidence(index: usize, outcome: &Outcome) -> Result<String, String> {
    let arms = [
        ("baseline", &outcome.baseline),
        ("protected", &outcome.protected),
    ];
    let mut evidence = Vec::with_capacity(arms.len());
    for (name, observed) in arms {
        match observed
            .inflicted
            .get(index)
            .map(|inflicted| &inflicted.evidence)
        {
            Some(Ok(found)) => evidence.push(format!("{name}: {found}")),
            Some(Err(missing)) => return Err(format!("{name}: {missing}")),
            None => return Err(format!("{name}: the fault was never inflicted")),
        }
    }
    Ok(evidence.join("; "))
}

fn measured(
    plan: &Plan,
    outcome: &Outcome,
    baseline: &ArmReport,
    protected: &ArmReport,
) -> Measured {
    let arms = [&outcome.baseline, &outcome.protected];
    let evident = |observed: &&Observed| {
        let bit = observed
            .inflicted
            .iter()
            .filter(|inflicted| inflicted.evidence.is_ok());
        bit.count() as u64
    };
    let steady_us = plan.steady_ms() * 1_000;
    // A request still in flight when the first fault begins belongs to the fault.
    let steady_failed = arms
        .iter()
        .flat_map(|observed| &observed.samples)
        .filter(|sample| !sample.is_good() && sample.due_us + sample.latency_us < steady_us);
    Measured {
        faults: 2 * plan.faults.len() as u64,
        faults_evident: arms.iter().map(evident).sum(),
        steady_failed: steady_failed.count() as u64,
        baseline_reads: baseline.read_availability,
        baseline_outage_s: baseline.outage_s,
        reads: protected.read_availability,
        writes: protected.write_availability,
        outage_s: protected.outage_s,
        attempts_per_request: protected.attempts_per_request,
        writes_lost: protected.writes_lost,
        writes_doubled: protected.writes_doubled,
    }
}

/// A share with six digits. Cut, not rounded: a limit that was missed is never rounded up to.
fn cut(share: f64) -> f64 {
    const SCALE: f64 = 1_000_000.0;
    (share * SCALE).floor() / SCALE
}

/// Figures are rounded once, here, so that all forms of the report show the same.
fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests;
