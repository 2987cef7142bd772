//! What a suite found: one verdict per test and server, the counts, and every difference by name.
//!
//! Prevents a green run that ran less than it claims: a test that was listed and did not come to an
//! end is a failure, and whoever runs a suite says beforehand how many tests have to pass.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

use super::server::Subject;

/// How much of a failure's reason stands in the table.
const REASON_CHARS: usize = 160;

/// How one test ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", content = "reason", rename_all = "snake_case")]
pub(super) enum Verdict {
    /// It passed.
    Passed,
    /// It failed, or did not end.
    Failed(String),
    /// It did not apply.
    Skipped(String),
}

impl Verdict {
    const fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed(_) => "failed",
            Self::Skipped(_) => "skipped",
        }
    }

    /// The last line of the reason, which is where test programs name the error.
    fn reason(&self) -> String {
        match self {
            Self::Passed => String::new(),
            Self::Failed(reason) | Self::Skipped(reason) => {
                let line = reason.trim_end().lines().last().unwrap_or_default();
                line.trim().chars().take(REASON_CHARS).collect()
            },
        }
    }
}

/// How many tests have to pass and to be skipped; none may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed or did not end.
    pub failed: usize,
    /// Tests that did not apply.
    pub skipped: usize,
}

/// One suite against one server.
#[derive(Debug, Serialize)]
pub(super) struct Run {
    /// The server.
    pub subject: Subject,
    /// How long it took.
    pub seconds: f64,
    /// By the name that the suite gives to a test.
    pub tests: BTreeMap<String, Verdict>,
}

impl Run {
    /// The sums.
    pub(super) fn counts(&self) -> Counts {
        let of = |word| {
            self.tests
                .values()
                .filter(|verdict| verdict.word() == word)
                .count()
        };
        Counts {
            passed: of("passed"),
            failed: of("failed"),
            skipped: of("skipped"),
        }
    }
}

/// `mainstay.acceptance/v1`.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    schema: &'static str,
    suite: &'static str,
    expected: Counts,
    runs: Vec<Summed>,
    differences: Vec<Difference>,
}

#[derive(Debug, Serialize)]
struct Summed {
    counts: Counts,
    #[serde(flatten)]
    run: Run,
}

/// A test on which two servers differ.
#[derive(Debug, PartialEq, Serialize)]
struct Difference {
    test: String,
    /// By the server's name; a test that one run does not know is absent.
    verdicts: BTreeMap<&'static str, Verdict>,
}

impl Report {
    /// Sums up the runs of a suite.
    pub(super) fn new(suite: &'static str, expected: Counts, runs: Vec<Run>) -> Self {
        let differences = differences(&runs);
        let runs = runs
            .into_iter()
            .map(|run| Summed {
                counts: run.counts(),
                run,
            })
            .collect();
        Self {
            schema: "mainstay.acceptance/v1",
            suite,
            expected,
            runs,
            differences,
        }
    }

    /// Whether the server in question, ours where it ran, gave what the suite has to give.
    pub(super) fn passed(&self) -> bool {
        let ours = |summed: &&Summed| summed.run.subject == Subject::Mainstay;
        let judged = self.runs.iter().find(ours).or_else(|| self.runs.first());
        judged.is_some_and(|summed| summed.counts == self.expected)
    }

    /// Prints it and passes the judgement on.
    pub(super) fn conclude(&self, json: bool) -> Result<bool> {
        if json {
            println!("{}", serde_json::to_string_pretty(self)?);
        } else {
            print!("{}", self.table());
        }
        Ok(self.passed())
    }

    fn table(&self) -> String {
        let mut text = format!(
            "{:<12} {:>7} {:>7} {:>8} {:>8}\n",
            self.suite, "passed", "failed", "skipped", "seconds"
        );
        let mut row = |name: &str, counts: Counts, seconds: String| {
            let Counts {
                passed,
                failed,
                skipped,
            } = counts;
            let row = format!("{name:<12} {passed:>7} {failed:>7} {skipped:>8} {seconds:>8}");
            text.push_str(row.trim_end());
            text.push('\n');
        };
        for Summed { counts, run } in &self.runs {
            row(run.subject.name(), *counts, format!("{:.1}", run.seconds));
        }
        row("expected", self.expected, String::new());
        for Summed { run, .. } in &self.runs {
            let failed = |verdict: &Verdict| matches!(verdict, Verdict::Failed(_));
            for (test, verdict) in run.tests.iter().filter(|(_, verdict)| failed(verdict)) {
                let name = run.subject.name();
                let _infallible =
                    writeln!(text, "\nfailed on {name}: {test}\n    {}", verdict.reason());
            }
        }
        for Difference { test, verdicts } in &self.differences {
            let words: Vec<String> = verdicts
                .iter()
                .map(|(subject, verdict)| format!("{subject} {}", verdict.word()))
                .collect();
            let _infallible = writeln!(text, "\ndifferent: {test}\n    {}", words.join(", "));
        }
        text
    }
}

/// The tests that did not end alike everywhere, or that one run does not have.
fn differences(runs: &[Run]) -> Vec<Difference> {
    let names: BTreeSet<&String> = runs.iter().flat_map(|run| run.tests.keys()).collect();
    let verdicts = |name: &String| -> BTreeMap<&'static str, Verdict> {
        let known = runs.iter().filter_map(|run| {
            let verdict = run.tests.get(name)?;
            Some((run.subject.name(), verdict.clone()))
        });
        known.collect()
    };
    let differs = |verdicts: &BTreeMap<&'static str, Verdict>| {
        let words: BTreeSet<&str> = verdicts.values().map(Verdict::word).collect();
        words.len() > 1 || verdicts.len() != runs.len()
    };
    let all = names.into_iter().map(|name| Difference {
        test: name.clone(),
        verdicts: verdicts(name),
    });
    all.filter(|difference| differs(&difference.verdicts))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: Counts = Counts {
        passed: 1,
        failed: 0,
        skipped: 1,
    };

    fn run(subject: Subject, tests: &[(&str, Verdict)]) -> Run {
        let tests = tests
            .iter()
            .map(|(name, verdict)| ((*name).to_owned(), verdict.clone()));
        Run {
            subject,
            seconds: 1.0,
            tests: tests.collect(),
        }
    }

    fn failed() -> Verdict {
        Verdict::Failed("Traceback\nNoNodeError\n".to_owned())
    }

    fn skipped() -> Verdict {
        Verdict::Skipped("no KDC".to_owned())
    }

    #[test]
    fn a_run_passes_with_exactly_the_counts_that_were_announced() {
        let full = run(
            Subject::Mainstay,
            &[("a", Verdict::Passed), ("b", skipped())],
        );
        assert!(Report::new("s", EXPECTED, vec![full]).passed());
        let short = run(Subject::Mainstay, &[("a", Verdict::Passed)]);
        assert!(!Report::new("s", EXPECTED, vec![short]).passed());
        let broken = run(Subject::Mainstay, &[("a", failed()), ("b", skipped())]);
        assert!(!Report::new("s", EXPECTED, vec![broken]).passed());
        assert!(!Report::new("s", EXPECTED, Vec::new()).passed());
    }

    #[test]
    fn every_difference_is_named_and_nothing_else() {
        let theirs = [
            ("a", Verdict::Passed),
            ("b", skipped()),
            ("c", Verdict::Passed),
        ];
        let theirs = run(Subject::Zookeeper, &theirs);
        let ours = run(Subject::Mainstay, &[("a", failed()), ("b", skipped())]);
        let report = Report::new("s", EXPECTED, vec![theirs, ours]);
        let tests: Vec<&str> = report
            .differences
            .iter()
            .map(|one| one.test.as_str())
            .collect();
        assert_eq!(tests, ["a", "c"]);
        let table = report.table();
        assert!(
            table.contains("failed on mainstay: a\n    NoNodeError\n"),
            "{table}"
        );
        assert!(
            table.contains("different: a\n    mainstay failed, zookeeper passed\n"),
            "{table}"
        );
    }
}
