//! The test suite of kazoo, the Python client, as its wheel carries it.
//!
//! It starts a cluster of three servers itself, by `java`, and stops, restarts and reconfigures
//! them. All of its tests run: what is deselected proves nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use super::outcome::{Counts, Report, Run, Verdict};
use super::sandbox::{self, Sandboxed};
use super::server::{Choice, Installed, Subject};
use super::{java, python};
use crate::process::Scratch;
use crate::wait;

/// Newer releases of the two libraries lack what kazoo makes its certificates with.
const REQUIREMENTS: &[&str] = &[
    "kazoo[test,sasl]==2.11.0",
    "pyOpenSSL==24.0.0",
    "cryptography<43",
    "pytest==9.2.0",
];
/// The version that the suite takes the server for: it leaves out tests of what came later.
const ZOOKEEPER_VERSION: &str = "3.8.0";
/// Debian's ZooKeeper 3.8 passes all but what needs a Kerberos server or kazoo's own CI.
const EXPECTED: Counts = Counts {
    passed: 490,
    failed: 0,
    skipped: 3,
};
/// ZooKeeper takes five minutes on a quiet machine.
const LIMIT: Duration = Duration::from_mins(20);

/// How many tests end between two words of progress.
const TELL_EVERY: usize = 50;

const PLUGIN: &str = include_str!("pytest_report.py");
const PLUGIN_NAME: &str = "pytest_report";

/// Runs the suite against ours and gives its counts; prints why tests failed.
///
/// An error means that the suite did not run, or not all of it: nothing is left out silently.
pub(super) fn ours() -> Result<Counts> {
    let run = against(&Choice::ours(), Subject::Mainstay)?;
    for (test, verdict) in &run.tests {
        if let Verdict::Failed(reason) = verdict {
            eprintln!("\n== {test}\n{reason}");
        }
    }
    let counts = run.counts();
    let all = EXPECTED.passed + EXPECTED.skipped;
    ensure!(
        run.tests.len() == all && counts.skipped == EXPECTED.skipped,
        "kazoo has {all} tests, of which {} are skipped: it gave {counts:?}",
        EXPECTED.skipped
    );
    Ok(counts)
}

/// Runs the suite against the chosen servers and prints the report.
pub(super) fn run(choice: &Choice) -> Result<bool> {
    let runs = choice
        .subjects()
        .iter()
        .map(|subject| against(choice, *subject));
    Report::new("kazoo", EXPECTED, runs.collect::<Result<_>>()?).conclude(choice.json)
}

fn against(choice: &Choice, subject: Subject) -> Result<Run> {
    let folder = Scratch::new(&format!("kazoo-{}", subject.name()))?;
    let installed = choice.servers(subject, &folder)?;
    let environment = python::environment("kazoo", REQUIREMENTS)?;
    eprintln!("kazoo on {}: running", subject.name());
    let (tests, seconds) =
        wait::timed(|| execute(subject, folder.path(), &installed, &environment));
    Ok(Run {
        subject,
        seconds,
        tests: tests?,
    })
}

fn execute(
    subject: Subject,
    folder: &Path,
    installed: &Installed,
    environment: &Path,
) -> Result<BTreeMap<String, Verdict>> {
    java::install(folder, installed)?;
    fs::write(folder.join(PLUGIN_NAME).with_extension("py"), PLUGIN)?;
    let report = folder.join("report.jsonl");
    let temporary = folder.join("tmp");
    fs::create_dir(&temporary)?;
    let mut command = sandbox::command(&temporary)?;
    command
        .arg(python::interpreter(environment))
        .args(["-m", "pytest", "-p", PLUGIN_NAME, "-p", "no:cacheprovider"])
        .args(["--pyargs", "kazoo.tests"])
        .current_dir(folder)
        .env("PATH", java::first_in_path(folder)?)
        .env("PYTHONPATH", folder)
        .env("MAINSTAY_REPORT", &report)
        .env("ZOOKEEPER_VERSION", ZOOKEEPER_VERSION)
        // It has to be set; our `java` knows better.
        .env("ZOOKEEPER_CLASSPATH", "debian")
        // One of its tests asks whether the build chose the right server, by other variables.
        .env_remove("CI");
    let log = folder.join("pytest.log");
    let mut suite = Sandboxed::start(command, &log)?;
    let mut progress = Progress::of(subject);
    let ended = suite.ended("kazoo to end", LIMIT, || progress.look(&report));
    drop(suite);
    if let Err(error) = ended {
        eprintln!("kazoo on {}: {error:#}", subject.name());
    }
    let tests = verdicts(&fs::read_to_string(&report).unwrap_or_default())?;
    if tests.is_empty() {
        bail!(
            "kazoo ran no test:\n{}",
            fs::read_to_string(&log).unwrap_or_default()
        );
    }
    Ok(tests)
}

/// One line of the report that the plugin writes.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line {
    Collected {
        tests: Vec<String>,
    },
    Started {
        test: String,
    },
    /// A test is set up, called and torn down; this is one of the three.
    Ran {
        test: String,
        outcome: Outcome,
        reason: String,
    },
    Ended {
        test: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Passed,
    Failed,
    Skipped,
}

/// What is known of a test so far.
#[derive(Debug)]
enum Known {
    Collected,
    Started(Verdict),
    Ended(Verdict),
}

/// The first part of a test that did not pass decides; a test that never ended has failed.
fn verdicts(report: &str) -> Result<BTreeMap<String, Verdict>> {
    let mut tests = BTreeMap::new();
    for line in report.lines() {
        let line = serde_json::from_str(line).context("the plugin wrote something else")?;
        learn(&mut tests, line);
    }
    let judged = |known| match known {
        Known::Collected => Verdict::Failed("it never began".to_owned()),
        Known::Started(Verdict::Passed) => Verdict::Failed("it did not end".to_owned()),
        Known::Started(verdict) | Known::Ended(verdict) => verdict,
    };
    let tests = tests.into_iter().map(|(test, known)| (test, judged(known)));
    Ok(tests.collect())
}

fn learn(tests: &mut BTreeMap<String, Known>, line: Line) {
    match line {
        Line::Collected { tests: names } => {
            tests.extend(names.into_iter().map(|name| (name, Known::Collected)));
        },
        Line::Started { test } => {
            tests.insert(test, Known::Started(Verdict::Passed));
        },
        Line::Ran {
            test,
            outcome,
            reason,
        } => {
            if let Some(Known::Started(verdict)) = tests.get_mut(&test)
                && *verdict == Verdict::Passed
            {
                *verdict = match outcome {
                    Outcome::Passed => Verdict::Passed,
                    Outcome::Failed => Verdict::Failed(reason),
                    Outcome::Skipped => Verdict::Skipped(reason),
                };
            }
        },
        Line::Ended { test } => {
            if let Some(Known::Started(verdict)) = tests.remove(&test) {
                tests.insert(test, Known::Ended(verdict));
            }
        },
    }
}

/// Tells how far a run is, once per [`TELL_EVERY`] tests, and each failure as it happens.
#[derive(Debug)]
struct Progress {
    subject: Subject,
    told: usize,
    /// How much of the report was read.
    read: usize,
    tests: BTreeMap<String, Known>,
}

impl Progress {
    const fn of(subject: Subject) -> Self {
        Self {
            subject,
            told: 0,
            read: 0,
            tests: BTreeMap::new(),
        }
    }

    fn look(&mut self, report: &Path) {
        let text = fs::read_to_string(report).unwrap_or_default();
        // The last line may be half written.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let fresh = text.get(self.read..whole).unwrap_or_default();
        for line in fresh
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
        {
            learn(&mut self.tests, line);
        }
        self.read = whole;
        let ended = |known: &&Known| matches!(known, Known::Ended(_));
        let failed = |known: &&Known| matches!(known, Known::Ended(Verdict::Failed(_)));
        let done = self.tests.values().filter(ended).count();
        if done >= self.told + TELL_EVERY {
            self.told = done;
            eprintln!(
                "kazoo on {}: {done} of {}, {} failed",
                self.subject.name(),
                self.tests.len(),
                self.tests.values().filter(failed).count()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLLECTED: &str = r#"{"kind":"collected","tests":["a","b","c","d","e"]}"#;

    fn ran(test: &str, outcome: &str) -> String {
        format!(r#"{{"kind":"ran","test":"{test}","outcome":"{outcome}","reason":"why"}}"#)
    }

    fn mark(kind: &str, test: &str) -> String {
        format!(r#"{{"kind":"{kind}","test":"{test}"}}"#)
    }

    #[test]
    fn a_test_passes_when_all_its_parts_did_and_it_came_to_an_end() {
        let lines = [
            COLLECTED.to_owned(),
            mark("started", "a"),
            ran("a", "passed"),
            ran("a", "passed"),
            mark("ended", "a"),
            mark("started", "b"),
            ran("b", "passed"),
            ran("b", "failed"),
            ran("b", "passed"),
            mark("ended", "b"),
            mark("started", "c"),
            ran("c", "skipped"),
            ran("c", "passed"),
            mark("ended", "c"),
            mark("started", "d"),
            ran("d", "passed"),
        ];
        let tests = verdicts(&lines.join("\n")).expect("a readable report");
        let verdicts: Vec<&Verdict> = tests.values().collect();
        let failed = |why: &str| Verdict::Failed(why.to_owned());
        let expected = [
            &Verdict::Passed,
            &failed("why"),
            &Verdict::Skipped("why".to_owned()),
            &failed("it did not end"),
            &failed("it never began"),
        ];
        assert_eq!(verdicts, expected);
    }
}
