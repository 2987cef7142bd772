//! What a benchmark reports: medians, spreads, and ratios within rounds.
//!
//! Prevents flattering figures: the median of all rounds and not the best one, the spread beside
//! it, and a ratio that is the median of the ratios within each round, so that a slow minute of the
//! machine cancels out.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde::Serialize;

/// Which way a figure is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Better {
    /// Requests per second.
    Higher,
    /// Milliseconds, nanoseconds.
    Lower,
    /// A figure that explains the others; it has no ratio.
    Neither,
}

/// The figures of one subject in one case, one per round.
#[derive(Clone, Debug)]
pub(super) struct Series<'a> {
    /// For instance `rps_32`.
    pub case: &'a str,
    /// Who was measured.
    pub subject: &'a str,
    /// What the figures count.
    pub unit: &'a str,
    /// Which way they are good.
    pub better: Better,
    /// In the order of the rounds.
    pub values: Vec<f64>,
}

/// `mainstay.bench/v1`.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    schema: &'static str,
    suite: &'static str,
    rows: Vec<Row<'a>>,
    ratios: Vec<Ratio<'a>>,
    notes: Vec<String>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Row<'a> {
    case: &'a str,
    subject: &'a str,
    unit: &'a str,
    /// Median of the rounds.
    value: f64,
    /// (Highest − lowest) / median.
    spread: f64,
}

#[derive(Debug, PartialEq, Serialize)]
#[expect(clippy::struct_field_names, reason = "the names of the document")]
struct Ratio<'a> {
    case: &'a str,
    against: &'a str,
    /// Above 1, ours is better.
    ratio: f64,
}

impl<'a> Report<'a> {
    /// Sums up all series; `ours` is compared with every other subject.
    pub(super) fn new(
        suite: &'static str,
        ours: &str,
        series: &[Series<'a>],
        notes: Vec<String>,
    ) -> Result<Self> {
        let mut rows = Vec::new();
        let mut ratios = Vec::new();
        for one in series {
            rows.push(row(one)?);
            let same = |other: &&Series<'a>| other.case == one.case && other.subject == ours;
            if let Some(our) = series.iter().find(same).filter(|_| one.subject != ours) {
                ratios.extend(ratio(our, one));
            }
        }
        Ok(Self {
            schema: "mainstay.bench/v1",
            suite,
            rows,
            ratios,
            notes,
        })
    }

    /// The document.
    pub(super) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    /// The table, the ratios, and the notes.
    pub(super) fn table(&self) -> String {
        let longest = |name: fn(&Row<'a>) -> &'a str, title: &str| {
            let names = self.rows.iter().map(|row| name(row).len());
            names.max().unwrap_or_default().max(title.len())
        };
        let (case_width, subject_width) = (
            longest(|row| row.case, "case"),
            longest(|row| row.subject, "subject"),
        );
        let mut text = format!(
            "{:<case_width$} {:<subject_width$} {:>12} {:<11} {:>7}\n",
            "case", "subject", "median", "unit", "spread"
        );
        for Row {
            case,
            subject,
            unit,
            value,
            spread,
        } in &self.rows
        {
            let spread = spread * 100.0;
            let _infallible = writeln!(
                text,
                "{case:<case_width$} {subject:<subject_width$} {value:>12.2} {unit:<11} {spread:>6.1}%"
            );
        }
        let _infallible = write!(
            text,
            "\n{:<case_width$} {:<subject_width$} {:>7}\n",
            "case", "against", "ratio"
        );
        for Ratio {
            case,
            against,
            ratio,
        } in &self.ratios
        {
            let _infallible = writeln!(
                text,
                "{case:<case_width$} {against:<subject_width$} {ratio:>7.2}"
            );
        }
        text.push('\n');
        for note in &self.notes {
            let _infallible = writeln!(text, "- {note}");
        }
        text
    }
}

fn row<'a>(series: &Series<'a>) -> Result<Row<'a>> {
    let Series {
        case,
        subject,
        unit,
        better: _,
        values,
    } = series;
    let value = median(values).with_context(|| format!("{case} of {subject} has no figures"))?;
    let highest = values.iter().copied().fold(f64::MIN, f64::max);
    let lowest = values.iter().copied().fold(f64::MAX, f64::min);
    let spread = if value > 0.0 {
        (highest - lowest) / value
    } else {
        0.0
    };
    Ok(Row {
        case,
        subject,
        unit,
        value,
        spread,
    })
}

fn ratio<'a>(ours: &Series<'a>, peer: &Series<'a>) -> Option<Ratio<'a>> {
    let rounds = ours.values.iter().zip(&peer.values);
    let ratios: Vec<f64> = match ours.better {
        Better::Higher => rounds.map(|(ours, peer)| ours / peer).collect(),
        Better::Lower => rounds.map(|(ours, peer)| peer / ours).collect(),
        Better::Neither => return None,
    };
    Some(Ratio {
        case: peer.case,
        against: peer.subject,
        ratio: median(&ratios)?,
    })
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series<'a>(case: &'a str, subject: &'a str, better: Better, values: &[f64]) -> Series<'a> {
        Series {
            case,
            subject,
            unit: "x",
            better,
            values: values.to_vec(),
        }
    }

    fn report<'a>(series: &[Series<'a>]) -> Report<'a> {
        Report::new("gateway", "mainstay", series, vec![]).expect("all series have figures")
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_middles() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_row_has_the_median_and_the_spread_of_its_rounds() {
        let report = report(&[series(
            "rps_32",
            "nginx",
            Better::Higher,
            &[90.0, 110.0, 100.0],
        )]);
        let expected = Row {
            case: "rps_32",
            subject: "nginx",
            unit: "x",
            value: 100.0,
            spread: 0.2,
        };
        assert_eq!(report.rows, [expected]);
    }

    #[test]
    fn ratios_are_taken_within_rounds_and_above_one_is_better_for_us() {
        let report = report(&[
            series("rps_32", "mainstay", Better::Higher, &[200.0, 20.0, 200.0]),
            series("rps_32", "nginx", Better::Higher, &[100.0, 10.0, 400.0]),
            series("p99_32", "mainstay", Better::Lower, &[1.0, 1.0, 1.0]),
            series("p99_32", "nginx", Better::Lower, &[3.0, 3.0, 3.0]),
            series("busy_32", "mainstay", Better::Neither, &[99.0]),
            series("busy_32", "nginx", Better::Neither, &[99.0]),
        ]);
        let ratio = |case, ratio| Ratio {
            case,
            against: "nginx",
            ratio,
        };
        assert_eq!(report.ratios, [ratio("rps_32", 2.0), ratio("p99_32", 3.0)]);
    }

    #[test]
    fn the_document_has_the_form_of_the_contract() {
        let report = report(&[
            series("rps_32", "mainstay", Better::Higher, &[2.0]),
            series("rps_32", "haproxy", Better::Higher, &[1.0]),
        ]);
        let json = report.json().expect("plain data");
        let json: serde_json::Value = serde_json::from_str(&json).expect("json");
        let expected = serde_json::json!({
            "schema": "mainstay.bench/v1",
            "suite": "gateway",
            "rows": [
                {"case": "rps_32", "subject": "mainstay", "unit": "x", "value": 2.0, "spread": 0.0},
                {"case": "rps_32", "subject": "haproxy", "unit": "x", "value": 1.0, "spread": 0.0},
            ],
            "ratios": [{"case": "rps_32", "against": "haproxy", "ratio": 2.0}],
            "notes": [],
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn columns_are_as_wide_as_their_longest_name() {
        let long = "breaker_closed_success_2_threads";
        let report = report(&[
            series(long, "mainstay", Better::Lower, &[1.0]),
            series(long, "tower-resilience", Better::Lower, &[3.0]),
        ]);
        let table = report.table();
        let header = table.lines().next().expect("a header");
        let at = header.find("subject").expect("a column");
        assert_eq!(at, long.len() + 1, "{table}");
        for row in table.lines().filter(|line| line.starts_with(long)) {
            assert_eq!(&row[at - 1..at], " ", "{table}");
        }
    }

    #[test]
    fn a_series_without_figures_is_an_error() {
        let empty = [series("rps_32", "nginx", Better::Higher, &[])];
        assert!(Report::new("gateway", "mainstay", &empty, vec![]).is_err());
    }
}
