//! The result of a drill of an ensemble, for people, programs and browsers.
//!
//! Prevents three results that differ: text, JSON and page are made from this one value.

mod html;
mod text;

use serde::Serialize;

use super::judge::Judgement;
use super::plan::Kind;
use super::round::Seen;
use crate::check::{Check, Verdict, at_least, at_most};

/// Nobody may be kept from writing for longer than this when the leader is gone, as a median.
const GAP_MS_MAX: f64 = 500.0;

/// A median of fewer gaps says nothing.
const GAPS_MIN: usize = 50;

/// The result: the document `mainstay.drill-keeper/v1`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Always `mainstay.drill-keeper/v1`.
    pub schema: &'static str,
    /// Always `keeper`.
    pub scenario: &'static str,
    /// Who was broken: `mainstay` or `zookeeper`.
    pub subject: &'static str,
    /// What everything random derived from.
    pub seed: u64,
    /// Members of the ensemble.
    pub members: usize,
    /// Rounds that were run, and planned.
    pub rounds: [usize; 2],
    /// The verdict on all checks.
    pub verdict: Verdict,
    /// The checks.
    pub checks: Vec<Check>,
    /// What clients did.
    pub counts: Counts,
    /// How long nobody wrote when a leader was killed; `None` when none was.
    pub leader_kill_gap_ms: Option<Gap>,
    /// Faults by kind.
    pub faults: Vec<FaultReport>,
    /// What broke, in words.
    pub findings: Vec<String>,
    /// What was left out, and why.
    pub skipped: Vec<String>,
    /// The command that runs the same drill again.
    pub rerun: String,
    /// The version of Mainstay.
    pub version: &'static str,
}

/// What clients did.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Counts {
    /// Questions.
    pub asked: usize,
    /// Acknowledged writes.
    pub acknowledged: usize,
    /// Questions whose end nobody knows.
    pub unknown: usize,
    /// Reads behind a sync.
    pub synced_reads: usize,
    /// Events of watches.
    pub events: usize,
    /// Holds of the lock.
    pub holds: usize,
}

/// Times without writes, milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Gap {
    /// How many there were.
    pub count: usize,
    /// The median.
    pub median: f64,
    /// The longest.
    pub max: f64,
}

/// All faults of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct FaultReport {
    /// What was done.
    pub kind: Kind,
    /// How often.
    pub count: usize,
    /// How often with proof that it bit.
    pub evident: usize,
    /// Of the first one, or what is missing of one.
    pub evidence: String,
    /// The longest time without an acknowledged write, median over the faults, milliseconds.
    pub gap_ms: Option<f64>,
    /// How often writes went on while it lasted.
    pub went_on: usize,
    /// From its end until all members were together, median, milliseconds.
    pub whole_ms: f64,
    /// Connections to members that were not hit and ended all the same.
    pub lost_connections: usize,
}

/// What a report is made of.
#[derive(Debug)]
pub(crate) struct Material {
    /// The report without what follows from the rest.
    pub(crate) frame: Frame,
    /// Of all rounds together.
    pub(crate) judgement: Judgement,
    /// All faults.
    pub(crate) faults: Vec<Seen>,
    /// Times without writes when leaders were killed for that, milliseconds.
    pub(crate) gaps_ms: Vec<f64>,
    /// Why the drill ended early: the ensemble did not come back.
    pub(crate) stuck: Option<String>,
}

/// What is known before anything runs.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) subject: &'static str,
    /// Whether connections to others have to stay open when a member is killed.
    pub(crate) keeps_connections: bool,
    pub(crate) seed: u64,
    pub(crate) members: usize,
    pub(crate) rounds: [usize; 2],
    pub(crate) faults_planned: usize,
    pub(crate) skipped: Vec<String>,
    pub(crate) rerun: String,
}

impl Report {
    /// The result.
    pub(crate) fn new(material: Material) -> Self {
        let checks = checks(&material);
        let Material {
            frame,
            judgement,
            faults,
            gaps_ms,
            stuck,
        } = material;
        let kinds = Kind::ALL.into_iter();
        let kinds = kinds.filter_map(|kind| FaultReport::of(kind, &faults));
        let mut findings = judgement.words;
        findings.extend(stuck);
        let lost = faults.iter().filter(|seen| is_single_kill(seen));
        findings.extend(lost.flat_map(|seen| seen.lost.iter().take(1).cloned()));
        Self {
            schema: "mainstay.drill-keeper/v1",
            scenario: "keeper",
            subject: frame.subject,
            seed: frame.seed,
            members: frame.members,
            rounds: frame.rounds,
            verdict: Verdict::of(&checks),
            checks,
            counts: Counts {
                asked: judgement.asked,
                acknowledged: judgement.acknowledged,
                unknown: judgement.unknown,
                synced_reads: judgement.synced_reads,
                events: judgement.events,
                holds: judgement.holds,
            },
            leader_kill_gap_ms: Gap::of(gaps_ms),
            faults: kinds.collect(),
            findings,
            skipped: frame.skipped,
            rerun: frame.rerun,
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// The document, with a line end.
    ///
    /// # Errors
    /// The report cannot be written as JSON, which does not happen.
    pub fn to_json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

impl Gap {
    fn of(mut gaps_ms: Vec<f64>) -> Option<Self> {
        Some(Self {
            count: gaps_ms.len(),
            median: median(&mut gaps_ms)?,
            max: gaps_ms.last().copied()?,
        })
    }
}

/// The median; sorts.
fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let median = values.get(values.len() / 2).copied()?;
    Some((median * 10.0).round() / 10.0)
}

impl FaultReport {
    fn of(kind: Kind, faults: &[Seen]) -> Option<Self> {
        let of_kind: Vec<_> = faults
            .iter()
            .filter(|seen| seen.inflicted.kind == kind)
            .collect();
        let first = of_kind.first()?;
        let missing = of_kind
            .iter()
            .find_map(|seen| seen.inflicted.evidence.as_ref().err());
        let evidence = match (&first.inflicted.evidence, missing) {
            (_, Some(missing)) => format!("missing: {missing}"),
            (Ok(evidence) | Err(evidence), None) => evidence.clone(),
        };
        let evident = of_kind.iter();
        let evident = evident.filter(|seen| seen.inflicted.evidence.is_ok());
        let gaps = of_kind.iter().filter_map(|seen| seen.gap_us);
        let mut gaps: Vec<_> = gaps.map(|us| us as f64 / 1_000.0).collect();
        let whole = of_kind.iter().map(|seen| seen.whole_us as f64 / 1_000.0);
        Some(Self {
            kind,
            count: of_kind.len(),
            evident: evident.count(),
            evidence,
            gap_ms: median(&mut gaps),
            went_on: of_kind.iter().filter(|seen| seen.acknowledged > 0).count(),
            whole_ms: median(&mut whole.collect::<Vec<_>>()).unwrap_or_default(),
            lost_connections: of_kind.iter().map(|seen| seen.lost.len()).sum(),
        })
    }
}

/// Whether the fault killed one member and nothing else.
fn is_single_kill(seen: &Seen) -> bool {
    matches!(seen.inflicted.kind, Kind::KillOne | Kind::KillLeader)
}

fn checks(material: &Material) -> Vec<Check> {
    let mut checks = experiment(material).to_vec();
    checks.extend(promises(&material.judgement));
    checks.extend(availability(material));
    checks
}

fn none(name: &'static str, count: usize, meaning: &'static str) -> Check {
    at_most(name, count as f64, 0.0).or(Verdict::Fail, meaning)
}

/// Whether the drill shows anything.
fn experiment(material: &Material) -> [Check; 3] {
    let frame = &material.frame;
    let evident = |seen: &&Seen| seen.inflicted.evidence.is_ok();
    let evident = material.faults.iter().filter(evident).count();
    // Rounds that were not run are nobody's evidence; why they were not is a finding.
    let planned = if frame.rounds[0] < frame.rounds[1] {
        material.faults.len()
    } else {
        frame.faults_planned
    };
    let acknowledged = material.judgement.acknowledged;
    let unsearched = material.judgement.unsearched;
    [
        at_least("fault_evidence", evident as f64, planned as f64)
            .or(Verdict::Invalid, "faults that provably bit"),
        at_least("writes_acknowledged", acknowledged as f64, 1.0)
            .or(Verdict::Invalid, "writes that could have been lost"),
        at_most("unsearched", unsearched as f64, 0.0)
            .or(Verdict::Unknown, "searches for an order that gave up"),
    ]
}

/// What a store of this protocol promises.
fn promises(judgement: &Judgement) -> [Check; 8] {
    [
        none(
            "writes_lost",
            judgement.lost,
            "acknowledged writes that are gone",
        ),
        none(
            "linearizability",
            judgement.disorder,
            "writes and reads behind a sync that no order explains",
        ),
        none(
            "session_order",
            judgement.sessions,
            "replies that go back, or show what was never there",
        ),
        none(
            "watches",
            judgement.watches,
            "events that are missing, doubled, late or about nothing",
        ),
        none(
            "lock",
            judgement.locks,
            "locks with two holders, or with tokens that do not grow",
        ),
        none(
            "ephemerals",
            judgement.outlived,
            "ephemeral nodes that outlived their session",
        ),
        none(
            "members_agree",
            judgement.differing,
            "members that have something else than the first",
        ),
        none(
            "protocol",
            judgement.malformed,
            "messages that no server may send",
        ),
    ]
}

/// What its clients see of faults.
fn availability(material: &Material) -> Vec<Check> {
    let minority = || {
        let faults = material.faults.iter();
        faults.filter(|seen| seen.inflicted.kind.leaves_majority())
    };
    let went_on = minority().filter(|seen| seen.acknowledged > 0).count();
    let mut checks = vec![
        none(
            "came_back",
            usize::from(material.stuck.is_some()),
            "times that members or clients did not come back after a fault",
        ),
        at_least("writes_went_on", went_on as f64, minority().count() as f64).or(
            Verdict::Fail,
            "faults that left a majority, through which writes went on",
        ),
    ];
    if material.frame.keeps_connections {
        let kills = material.faults.iter().filter(|seen| is_single_kill(seen));
        let lost: usize = kills.map(|seen| seen.lost.len()).sum();
        checks.push(none(
            "connections_kept",
            lost,
            "connections to the other members that ended when one was killed",
        ));
    }
    let gap = Gap::of(material.gaps_ms.clone());
    if let Some(gap) = gap.filter(|gap| gap.count >= GAPS_MIN) {
        checks.push(at_most("leader_kill_gap_ms", gap.median, GAP_MS_MAX).or(
            Verdict::Fail,
            "median time without writes when the leader is killed",
        ));
    }
    checks
}
