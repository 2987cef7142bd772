//! The result on a terminal: one line per kind of fault, the checks, what broke, the verdict.

use std::fmt::Write as _;
use std::path::Path;

use comfy_table::{Cell, Table, presets};

use super::{FaultReport, Report};
use crate::report::text::{line, right};

/// The names of a fault's columns.
pub(super) const FAULT_COLUMNS: [&str; 7] = [
    "fault",
    "times",
    "with proof",
    "writes went on",
    "no writes for",
    "together after",
    "others' connections lost",
];

/// A kind of fault as one line of a table.
pub(super) fn fault_cells(fault: &FaultReport) -> [String; 7] {
    let gap = fault.gap_ms;
    [
        fault.kind.to_string(),
        fault.count.to_string(),
        fault.evident.to_string(),
        fault.went_on.to_string(),
        gap.map_or_else(|| "?".to_owned(), |ms| format!("{ms:.0} ms")),
        format!("{:.0} ms", fault.whole_ms),
        fault.lost_connections.to_string(),
    ]
}

impl Report {
    /// The result as text; names the page for the browser when there is one.
    pub fn to_text(&self, page: Option<&Path>) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        writeln!(text, "\n{}\n", faults(&self.faults)).ok();
        for check in &self.checks {
            writeln!(text, "{}", line(check)).ok();
        }
        if !self.findings.is_empty() {
            text.push('\n');
        }
        for finding in &self.findings {
            writeln!(text, "- {finding}").ok();
        }
        writeln!(text, "\n{}", self.summary()).ok();
        for skipped in &self.skipped {
            writeln!(text, "skipped: {skipped}").ok();
        }
        writeln!(text, "again:   {}", self.rerun).ok();
        if let Some(page) = page {
            writeln!(text, "report:  {}", page.display()).ok();
        }
        text
    }

    /// The verdict and what it rests on.
    pub(super) fn summary(&self) -> String {
        let [run, planned] = self.rounds;
        let counts = &self.counts;
        let faults: usize = self.faults.iter().map(|fault| fault.count).sum();
        let mut text = format!(
            "verdict: {} for {} with {} members, seed {}: {faults} faults in {run} of {planned} \
             rounds; {} questions, {} acknowledged writes, {} of unknown end, {} reads behind a \
             sync, {} events, {} holds of the lock",
            self.verdict.as_str(),
            self.subject,
            self.members,
            self.seed,
            counts.asked,
            counts.acknowledged,
            counts.unknown,
            counts.synced_reads,
            counts.events,
            counts.holds,
        );
        if let Some(gap) = self.leader_kill_gap_ms {
            write!(
                text,
                "; leader killed {} times: nobody wrote for {:.0} ms (median), {:.0} ms at most",
                gap.count, gap.median, gap.max
            )
            .ok();
        }
        text
    }
}

fn faults(faults: &[FaultReport]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(FAULT_COLUMNS);
    for fault in faults {
        let [kind, figures @ ..] = fault_cells(fault);
        let figures = figures.iter().map(right);
        table.add_row(std::iter::once(Cell::new(kind)).chain(figures));
    }
    table
}
