//! Claims about the result, on planted observations.

use serde_json::Value;

use super::*;
use crate::availability::tests::{failed, sample};
use crate::detection::{EndpointState, Heard, Look, Watched};
use crate::fault::Inflicted;
use crate::load::{End, Sample};
use crate::plan::{REPLICAS, Target, replica_name};

const SEED: u64 = 7;

fn plan() -> Plan {
    Plan::new("payment-outage", SEED).expect("built in")
}

fn inflicted(plan: &Plan) -> Vec<Inflicted> {
    let inflicted = |fault: &PlannedFault| Inflicted {
        began_us: fault.at_ms * 1_000 + 1_000,
        evidence: Ok(format!("{} <bit>", fault.kind.as_str())),
        dark: (fault.kind == Kind::Outage)
            .then(|| fault.at_ms * 1_000..(fault.ends_ms() + 500) * 1_000),
    };
    plan.faults.iter().map(inflicted).collect()
}

/// All requests of the plan, ended as `end` says.
fn observed(plan: &Plan, end: impl Fn(&crate::plan::Arrival) -> End) -> Observed {
    let samples: Vec<Sample> = plan
        .arrivals
        .iter()
        .map(|arrival| Sample {
            due_us: arrival.due_us,
            ..sample(0, arrival.ask, end(arrival))
        })
        .collect();
    Observed {
        samples,
        inflicted: inflicted(plan),
    }
}

fn during(plan: &Plan, kind: Kind, due_us: u64) -> bool {
    let mut faults = plan.faults.iter().filter(|fault| fault.kind == kind);
    faults.any(|fault| (fault.at_ms * 1_000..fault.ends_ms() * 1_000).contains(&due_us))
}

fn all_charged(plan: &Plan) -> Charges {
    let writes = plan
        .arrivals
        .iter()
        .filter_map(|arrival| match arrival.ask {
            Ask::Write { number } => Some((plan.write_id(number), 1)),
            Ask::Read { .. } => None,
        });
    writes.collect()
}

/// Each target's exit is heard 30 ms after its fault began, and all are seen back after two
/// seconds.
fn watched(plan: &Plan) -> Watched {
    let heard = plan.faults.iter().map(|fault| Heard {
        at_ms: fault.at_ms + 31,
        event: "replica_exited".to_owned(),
        subject: match fault.target {
            Target::Replica(index) => replica_name(index),
            Target::All => replica_name(0),
        },
    });
    let look = |at_ms: u64, in_rotation: bool| Look {
        at_ms,
        endpoints: (0..REPLICAS)
            .map(|index| EndpointState {
                name: replica_name(index),
                in_rotation,
                attempts: 0,
            })
            .collect(),
    };
    let looks = plan.faults.iter().flat_map(|fault| {
        [
            look(fault.at_ms + 100, false),
            look(fault.at_ms + 2_001, true),
        ]
    });
    Watched {
        heard: heard.collect(),
        looks: looks.collect(),
    }
}

/// A run as it should be: the baseline suffers, the protected arm serves stale reads in the
/// outage and fails only the writes that nobody could take.
fn good_run(plan: &Plan) -> Outcome {
    let baseline = observed(plan, |arrival| {
        let hit = plan
            .faults
            .iter()
            .any(|fault| during(plan, fault.kind, arrival.due_us));
        if hit { failed() } else { End::Good }
    });
    let protected = observed(plan, |arrival| {
        match (during(plan, Kind::Outage, arrival.due_us), arrival.ask) {
            (true, Ask::Read { .. }) => End::Stale,
            (true, Ask::Write { .. }) => End::Failed("503 no_endpoint".to_owned()),
            (false, _) => End::Good,
        }
    });
    Outcome {
        attempts: Some(protected.samples.len() as u64),
        baseline,
        protected,
        baseline_charges: all_charged(plan),
        protected_charges: all_charged(plan),
        watched: watched(plan),
    }
}

fn report(change: impl Fn(&mut Outcome, &Plan)) -> Report {
    let plan = plan();
    let mut outcome = good_run(&plan);
    change(&mut outcome, &plan);
    Report::new(&plan, &outcome).expect("valid bounds")
}

fn verdict_of(report: &Report, name: &str) -> Verdict {
    let check = report.checks.iter().find(|check| check.name == name);
    check.expect("there is such a check").verdict
}

#[test]
fn a_good_run_passes_all_checks() {
    let report = report(|_, _| {});
    assert_eq!(report.verdict, Verdict::Pass, "{}", report.to_text(None));
    let protected = &report.arms[1];
    assert!(protected.writes_excused > 100 && protected.stale > 500);
    assert!(protected.outage_s.abs() < f64::EPSILON);
    assert_eq!(protected.failed, protected.writes_excused);
    assert!(report.arms[0].outage_s > 20.0);
}

#[test]
fn a_planted_lost_write_fails_the_run() {
    let report = report(|outcome, plan| {
        outcome.protected_charges.remove(&plan.write_id(3));
    });
    assert_eq!(report.arms[1].writes_lost, 1);
    assert_eq!(verdict_of(&report, "writes_lost"), Verdict::Fail);
    assert_eq!(report.verdict, Verdict::Fail);
}

#[test]
fn a_planted_doubled_write_fails_the_run() {
    let report = report(|outcome, plan| {
        outcome.protected_charges.insert(plan.write_id(3), 2);
    });
    assert_eq!(report.arms[1].writes_doubled, 1);
    assert_eq!(verdict_of(&report, "writes_doubled"), Verdict::Fail);
}

#[test]
fn a_fault_without_evidence_in_either_arm_makes_the_run_invalid() {
    for arm in [0, 1] {
        let report = report(|outcome, _| {
            let observed = [&mut outcome.baseline, &mut outcome.protected];
            let missing = Err("process 7 was not stopped".to_owned());
            observed.into_iter().nth(arm).expect("two arms").inflicted[1].evidence = missing;
        });
        assert_eq!(report.verdict, Verdict::Invalid);
        assert_eq!(report.faults[1].evidence, None);
        let missing = report.faults[1].missing.as_deref().unwrap_or_default();
        assert!(missing.contains("not stopped"), "{missing}");
        assert!(report.to_text(None).contains("no evidence for pause"));
    }
}

#[test]
fn a_fault_that_was_never_inflicted_has_no_evidence() {
    let report = report(|outcome, _| outcome.protected.inflicted.truncate(5));
    assert_eq!(
        (report.verdict, &report.faults[5].evidence),
        (Verdict::Invalid, &None)
    );
}

#[test]
fn a_baseline_that_never_fails_makes_the_scenario_too_weak() {
    let report = report(|outcome, plan| outcome.baseline = observed(plan, |_| End::Good));
    assert_eq!(
        verdict_of(&report, "baseline_read_availability"),
        Verdict::Fail
    );
}

#[test]
fn a_failure_before_anything_was_broken_makes_the_run_invalid() {
    let report = report(|outcome, _| outcome.protected.samples[10].end = failed());
    assert_eq!(report.verdict, Verdict::Invalid);
}

#[test]
fn faults_are_timed_from_their_start_in_the_arm() {
    let report = report(|_, _| {});
    let kill = &report.faults[0];
    assert_eq!((kill.detect_ms, kill.whole_ms), (Some(30), Some(2_000)));
    assert_eq!((kill.restore_ms, kill.dark_ms), (0, 0));
    // The last request due in the four seconds of the fault ended 5 ms after it was due.
    assert!(
        (3_990..=4_010).contains(&kill.baseline_restore_ms),
        "{kill:?}"
    );
    let outage = &report.faults[5];
    assert!(
        outage.restore_ms > 2_900 && outage.dark_ms == 3_500,
        "{outage:?}"
    );
}

#[test]
fn the_document_has_the_promised_fields_in_order() {
    let json = report(|_, _| {}).to_json().expect("plain data");
    let value: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(value["schema"], "mainstay.drill/v1");
    assert_eq!(value["verdict"], "pass");
    let has = |value: &Value, fields: &str| {
        for field in fields.split(' ') {
            assert!(value.get(field).is_some(), "{field} is missing in {value}");
        }
    };
    has(&value, "scenario seed verdict arms faults checks");
    for arm in value["arms"].as_array().expect("a list") {
        let fields = "name requests good failed availability outage_s p50_ms p99_ms \
                      attempts_per_request writes_lost writes_doubled";
        has(arm, fields);
        assert!(arm.get("timeline").is_none());
    }
    for fault in value["faults"].as_array().expect("a list") {
        has(
            fault,
            "kind target at_ms for_ms evidence detect_ms restore_ms",
        );
    }
    for check in value["checks"].as_array().expect("a list") {
        has(check, "name verdict value limit");
    }
    let [scenario, seed, arms] = ["\"scenario\"", "\"seed\"", "\"arms\""].map(|f| json.find(f));
    assert!(scenario < seed && seed < arms);
}

#[test]
fn the_text_has_both_arms_every_fault_the_verdict_and_the_way_to_run_it_again() {
    let text = report(|_, _| {}).to_text(Some(std::path::Path::new("r.html")));
    for word in [
        "baseline",
        "protected",
        "kill",
        "pause",
        "error",
        "hang",
        "slow",
        "outage",
    ] {
        assert!(text.contains(word), "{word} is missing in {text}");
    }
    assert!(text.contains("verdict: pass"));
    assert!(text.contains("mainstay drill payment-outage --seed 7"));
    assert!(text.contains("r.html"));
    assert!(
        text.lines().all(|line| line.chars().count() <= 120),
        "{text}"
    );
}

#[test]
fn what_protection_did_not_save_is_listed_without_what_is_excused() {
    let report = report(|outcome, _| outcome.protected.samples[2_000].end = failed());
    let missed = &report.arms[1].missed;
    assert_eq!((missed.len(), missed[0].why.as_str()), (1, "timeout"));
    assert_eq!(report.arms[0].missed.len(), MISSED_MAX);
    let text = report.to_text(None);
    let lines = text
        .lines()
        .filter(|line| line.starts_with("protected: the "));
    assert_eq!(lines.count(), 1);
}

#[test]
fn the_page_is_self_contained_and_escapes_what_is_not_ours() {
    let page = report(|outcome, _| {
        let why = End::Failed("503 <script>".to_owned());
        outcome.protected.samples[2_000].end = why;
    })
    .to_html();
    for outside in ["http:", "https:", "src=", "<script", "@import", "<bit>"] {
        assert!(!page.contains(outside), "{outside} in the page");
    }
    assert!(page.contains("503 &lt;script&gt;"));
    assert!(page.contains("&lt;bit&gt;"));
    assert!(page.contains("prefers-color-scheme: dark"));
    let opened = page.matches("<g>").count();
    assert_eq!(opened, page.matches("</g>").count());
    assert!(opened > 2 * 200, "one for each slot of both arms");
}

#[test]
fn shares_are_cut_so_that_no_limit_is_rounded_up_to() {
    assert_eq!(text::percent(0.999_999_6, 3), "99.999 %");
    assert_eq!(text::percent(0.999_9, 2), "99.99 %");
    assert_eq!(text::percent(1.0, 3), "100.000 %");
    assert!((cut(0.999_899_9) - 0.999_899).abs() < 1e-9);
}
