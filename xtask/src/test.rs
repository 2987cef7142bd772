//! `cargo xtask test`: every test of the project, after installing what the tests need.
//!
//! Prevents a green run that ran nothing: what cannot run is named and counted as skipped,
//! `--no-skip` makes it a failure, and a suite in which no test ran has failed.

mod miri;
mod suite;
mod tally;

use self::suite::Suite;
use self::tally::Tally;
use crate::debian::{self, Program};
use crate::wait;

/// What `test` is asked to do.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What cannot run fails instead of being skipped.
    #[arg(long)]
    no_skip: bool,
    /// Run this suite only.
    #[arg(long, value_enum)]
    only: Option<Suite>,
}

/// A program without which some tests of a suite cannot run.
#[derive(Clone, Copy, Debug)]
struct Need {
    program: Program,
    tests: &'static str,
}

/// One line of the summary.
#[derive(Debug)]
struct Row {
    name: String,
    tally: Tally,
    seconds: f64,
    /// Why tests were skipped or could not run; empty where there is nothing to say.
    note: String,
}

/// Runs the suites and says whether all passed.
#[expect(
    clippy::needless_pass_by_value,
    reason = "commands consume their arguments, all alike"
)]
pub(crate) fn run(args: Args) -> bool {
    let suites = args
        .only
        .map_or_else(|| Suite::ALL.to_vec(), |only| vec![only]);
    let mut rows = Vec::new();
    for suite in suites {
        eprintln!("== {}", suite.name());
        for need in suite.needs() {
            let installed = debian::provide(&[need.program]);
            rows.extend(
                installed
                    .err()
                    .map(|error| lacking(need, &error, args.no_skip)),
            );
        }
        let (outcome, seconds) = wait::timed(|| suite.run(args.no_skip));
        let (tally, note) = match outcome {
            Ok(tally) => (tally, String::new()),
            Err(error) => (Tally::FAILED, format!("{error:#}")),
        };
        rows.push(Row {
            name: suite.name().into(),
            tally,
            seconds,
            note,
        });
    }
    print!("\n{}", summary(&rows));
    rows.iter().all(|row| row.tally.failed == 0)
}

/// Tests that cannot run because a program is missing.
fn lacking(need: &Need, error: &anyhow::Error, no_skip: bool) -> Row {
    let tally = if no_skip {
        Tally::FAILED
    } else {
        Tally::SKIPPED
    };
    Row {
        name: need.tests.into(),
        tally,
        seconds: 0.0,
        note: format!("{error:#}"),
    }
}

/// The table, and the counts alone on the last line.
fn summary(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<26} {:>7} {:>7} {:>8} {:>8}\n",
        "suite", "passed", "failed", "skipped", "seconds"
    );
    let mut total = Tally::default();
    for row in rows {
        let Tally {
            passed,
            failed,
            skipped,
        } = row.tally;
        let line = format!(
            "{:<26} {passed:>7} {failed:>7} {skipped:>8} {:>8.1}  {}",
            row.name, row.seconds, row.note
        );
        text.push_str(line.trim_end());
        text.push('\n');
        total += row.tally;
    }
    format!("{text}\n{total}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEED: Need = Need {
        program: Program {
            name: "chromium",
            package: "chromium",
        },
        tests: "dashboard in a browser",
    };

    #[test]
    fn the_summary_ends_with_the_counts_alone_on_a_line() {
        let row = |name: &str, passed, failed| Row {
            name: name.into(),
            tally: Tally {
                passed,
                failed,
                skipped: 1,
            },
            seconds: 1.25,
            note: String::new(),
        };
        let text = summary(&[row("unit", 10, 0), row("loom", 3, 2)]);
        assert_eq!(text.lines().last(), Some("13 passed, 2 failed, 2 skipped"));
        let line = "unit                            10       0        1      1.2";
        assert_eq!(text.lines().nth(1), Some(line));
    }

    #[test]
    fn a_missing_program_is_a_skip_or_with_no_skip_a_failure() {
        let error = anyhow::anyhow!("chromium not installed");
        let skipped = lacking(&NEED, &error, false);
        assert_eq!((skipped.tally.skipped, skipped.tally.failed), (1, 0));
        assert_eq!(skipped.note, "chromium not installed");
        let failed = lacking(&NEED, &error, true);
        assert_eq!((failed.tally.skipped, failed.tally.failed), (0, 1));
    }
}
