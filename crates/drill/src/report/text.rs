//! The result on a terminal: both arms, one line per fault, the checks, the verdict.

use std::fmt::Write as _;
use std::path::Path;

use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::check::Check;
use crate::report::{ArmReport, FaultReport, Report};

impl Report {
    /// The result as text; names the page for the browser when there is one.
    pub fn to_text(&self, page: Option<&Path>) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        writeln!(text, "\n{}\n", arms(&self.arms)).ok();
        writeln!(text, "{}\n", faults(&self.faults)).ok();
        for fault in &self.faults {
            if let Some(dark) = dark(fault) {
                writeln!(text, "{}: {dark}\n", fault.kind.as_str()).ok();
            }
            if let Some(missing) = &fault.missing {
                writeln!(text, "no evidence for {}: {missing}", fault.kind.as_str()).ok();
            }
        }
        if let Some(protected) = self.arms.last() {
            missed(&mut text, protected);
        }
        for check in &self.checks {
            writeln!(text, "{}", line(check)).ok();
        }
        writeln!(text, "\n{}", self.summary()).ok();
        writeln!(text, "again:   {}", self.rerun).ok();
        if let Some(page) = page {
            writeln!(text, "report:  {}", page.display()).ok();
        }
        text
    }

    /// The verdict and what it rests on, in a sentence.
    pub(crate) fn summary(&self) -> String {
        let outage = |index: usize| self.arms.get(index).map_or(0.0, |arm| arm.outage_s);
        let seconds = self.length_ms as f64 / 1_000.0;
        let outages = format!(
            "outage {:.1} s without, {:.1} s with protection ({} cut) in {seconds:.1} s",
            outage(0),
            outage(1),
            percent(self.outage_cut, 1),
        );
        format!(
            "verdict: {} · {outages} · seed {} · plan {}",
            self.verdict.as_str(),
            self.seed,
            self.plan
        )
    }
}

/// The figures of an arm as the rows of a table: name and value.
pub(super) fn figures(arm: &ArmReport) -> [(&'static str, String); 14] {
    [
        ("requests", arm.requests.to_string()),
        ("good", arm.good.to_string()),
        ("  of them stale", arm.stale.to_string()),
        ("failed", arm.failed.to_string()),
        (
            "  of them writes while no replica lived",
            arm.writes_excused.to_string(),
        ),
        ("availability", percent(arm.availability, 3)),
        ("  of reads", percent(arm.read_availability, 3)),
        (
            "  of writes while a replica lived",
            percent(arm.write_availability, 3),
        ),
        ("outage", format!("{:.1} s", arm.outage_s)),
        ("latency p50", milliseconds(arm.p50_ms)),
        ("latency p99", milliseconds(arm.p99_ms)),
        ("latency p99.9", milliseconds(arm.p999_ms)),
        (
            "attempts per request",
            arm.attempts_per_request
                .map_or_else(|| "?".to_owned(), |n| format!("{n:.3}")),
        ),
        (
            "writes lost, doubled",
            format!("{}, {}", arm.writes_lost, arm.writes_doubled),
        ),
    ]
}

fn arms(arms: &[ArmReport]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    let names = arms.iter().map(|arm| Cell::new(arm.name));
    table.set_header(std::iter::once(Cell::new("")).chain(names));
    let columns: Vec<_> = arms.iter().map(figures).collect();
    let Some(first) = columns.first() else {
        return table;
    };
    for (row, (name, _)) in first.iter().enumerate() {
        let values = columns.iter().map(|column| &column[row].1);
        table.add_row(std::iter::once(Cell::new(name)).chain(values.map(right)));
    }
    table
}

/// The requests that protection did not save, one by one.
fn missed(text: &mut String, arm: &ArmReport) {
    for missed in &arm.missed {
        let (name, due_s) = (arm.name, missed.due_ms / 1_000.0);
        let (ask, why, waited_ms) = (missed.ask, &missed.why, missed.waited_ms);
        writeln!(
            text,
            "{name}: the {ask} due at {due_s:.3} s failed after {waited_ms} ms: {why}"
        )
        .ok();
    }
    if !arm.missed.is_empty() {
        text.push('\n');
    }
}

/// For how long nobody could have taken a write, when that happened.
pub(super) fn dark(fault: &FaultReport) -> Option<String> {
    let [dark, planned] = [fault.dark_ms, fault.for_ms];
    (dark > 0)
        .then(|| format!("no protected replica lived for {dark} ms; the fault lasted {planned} ms"))
}

/// The names of a fault's columns.
pub(super) const FAULT_COLUMNS: [&str; 8] = [
    "fault",
    "target",
    "at",
    "for",
    "detected",
    "users restored",
    "all replicas back",
    "without protection",
];

/// A fault as one line of a table.
pub(super) fn fault_cells(fault: &FaultReport) -> [String; 8] {
    let seconds = |ms: u64| format!("{:.2} s", ms as f64 / 1_000.0);
    let or = |ms: Option<u64>, otherwise: &str| {
        ms.map_or_else(|| otherwise.to_owned(), |ms| format!("{ms} ms"))
    };
    let seen = |ms: u64| {
        if ms == 0 {
            "nothing seen".to_owned()
        } else {
            format!("{ms} ms")
        }
    };
    [
        fault.kind.as_str().to_owned(),
        fault.target.clone(),
        seconds(fault.at_ms),
        seconds(fault.for_ms),
        or(fault.detect_ms, "never"),
        seen(fault.restore_ms),
        or(fault.whole_ms, "not in time"),
        seen(fault.baseline_restore_ms),
    ]
}

fn faults(faults: &[FaultReport]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(FAULT_COLUMNS);
    for fault in faults {
        let [kind, target, figures @ ..] = fault_cells(fault);
        let names = [kind, target].into_iter().map(Cell::new);
        table.add_row(names.chain(figures.iter().map(right)));
    }
    table
}

pub(crate) fn right(text: &String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

pub(crate) fn line(check: &Check) -> String {
    let mark = check.verdict.mark();
    let [value, limit] = [check.value, check.limit].map(|value| quantity(check, value));
    let relation = check.relation;
    format!(
        "{mark} {:<28} {value:>10} {relation:<2} {limit:<9} {}",
        check.name, check.meaning
    )
}

/// A checked value in its unit: shares in percent, the rest as they are.
pub(crate) fn quantity(check: &Check, value: f64) -> String {
    if check.name.ends_with("availability") || check.name == "outage_cut" {
        return percent(value, 3);
    }
    if value.fract().abs() < f64::EPSILON && check.limit.fract().abs() < f64::EPSILON {
        return format!("{value:.0}");
    }
    format!("{value:.3}")
}

/// A share in percent. Cut, not rounded, so that 99.9996 % never reads as 100 %.
pub(super) fn percent(share: f64, digits: usize) -> String {
    let scale = 10_f64.powi(i32::try_from(digits).unwrap_or_default());
    // The small addition undoes what the binary form of a decimal number takes away.
    let cut = (share * 100.0 * scale + 1e-6).floor() / scale;
    format!("{cut:.digits$} %")
}

pub(super) fn milliseconds(ms: f64) -> String {
    format!("{ms:.1} ms")
}
