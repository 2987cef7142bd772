//! The suites of tests and how each is run.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::tally::Tally;
use super::{Need, miri};
use crate::debian::Program;
use crate::{acceptance, sim, workspace};

/// Tests that would be skipped because a program is missing fail instead.
const NO_SKIP_VARIABLE: &str = "MAINSTAY_TESTS_NO_SKIP";
/// The same schedule of faults in every run, so that a failure can be repeated.
const DRILL_SEED: u64 = 7;

/// Rounds of the keeper's drill: enough for every kind of fault, in a minute and a half.
const KEEPER_ROUNDS: &str = "6";

/// One suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Suite {
    /// Unit, integration and documentation tests of all crates.
    Unit,
    /// Every interleaving of the lock-free state, by loom.
    Loom,
    /// The policies in an interpreter that sees undefined behaviour and races; needs a nightly, and
    /// runs only when it is named.
    Miri,
    /// The keeper in virtual time, two hundred seeds, and bugs that were planted to be found.
    Sim,
    /// The test suite of kazoo, the Python client, against three keepers.
    Kazoo,
    /// The drill on real processes, one seed.
    Drill,
    /// The drill of an ensemble of the keeper, one seed; and one that has to fail.
    Keeper,
}

impl Suite {
    /// The suites that run when none is named, fastest answer first. [`Miri`](Self::Miri) is not
    /// among them.
    pub(super) const ALL: &'static [Self] = &[
        Self::Unit,
        Self::Loom,
        Self::Sim,
        Self::Kazoo,
        Self::Drill,
        Self::Keeper,
    ];

    /// Its name in the summary.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit+integration",
            Self::Loom => "loom",
            Self::Miri => "miri",
            Self::Sim => "sim",
            Self::Kazoo => "kazoo",
            Self::Drill => "drill",
            Self::Keeper => "drill of the keeper",
        }
    }

    /// What its tests need besides Rust.
    pub(super) const fn needs(self) -> &'static [Need] {
        match self {
            Self::Unit => &[Need {
                program: Program {
                    name: "chromium",
                    package: "chromium",
                },
                tests: "dashboard in a browser",
            }],
            Self::Kazoo => &[Need {
                program: Program {
                    name: "python3",
                    package: "python3",
                },
                tests: "kazoo",
            }],
            Self::Loom | Self::Miri | Self::Sim | Self::Drill => &[],
            Self::Keeper => &[
                Need {
                    program: Program {
                        name: "ip",
                        package: "iproute2",
                    },
                    tests: "partitions of the keeper: network",
                },
                Need {
                    program: Program {
                        name: "nft",
                        package: "nftables",
                    },
                    tests: "partitions of the keeper: rules",
                },
            ],
        }
    }

    /// Runs it; what it prints is passed on.
    pub(super) fn run(self, no_skip: bool) -> Result<Tally> {
        let command = match self {
            Self::Unit => unit(no_skip),
            Self::Loom => loom()?,
            Self::Miri => return in_miri(),
            Self::Sim => return sim(),
            Self::Kazoo => return kazoo(),
            Self::Drill => return drill(),
            Self::Keeper => return keeper(no_skip),
        };
        cargo_test(command)
    }
}

fn unit(no_skip: bool) -> Command {
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--workspace", "--all-features", "--no-fail-fast"]);
    if no_skip {
        cargo.env(NO_SKIP_VARIABLE, "1");
    }
    cargo
}

fn loom() -> Result<Command> {
    let mut cargo = workspace::cargo();
    cargo.args([
        "test",
        "--package",
        "mainstay-core",
        "--release",
        "--test",
        "loom*",
    ]);
    // A folder of its own: another flag for rustc rebuilds everything, twice per run.
    cargo.env(
        "CARGO_TARGET_DIR",
        workspace::metadata()?.target_directory.join("loom"),
    );
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    cargo.env("RUSTFLAGS", format!("{flags} --cfg loom").trim());
    Ok(cargo)
}

fn in_miri() -> Result<Tally> {
    let mut total = Tally::default();
    for command in miri::commands()? {
        total += cargo_test(command)?;
    }
    Ok(total)
}

/// Runs Rust test programs and counts what they report.
fn cargo_test(mut command: Command) -> Result<Tally> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo does not start")?;
    let output = child.stdout.take().context("its output is a pipe")?;
    let counted = pass_on(output, &mut std::io::stdout());
    let status = child.wait()?;
    judge(counted?, status)
}

/// A run that failed without a failed test did not compile or crashed; one without a single test
/// has proved nothing.
fn judge(mut tally: Tally, status: ExitStatus) -> Result<Tally> {
    if !status.success() {
        tally.failed = tally.failed.max(1);
    }
    ensure!(tally.passed + tally.failed > 0, "no test ran");
    Ok(tally)
}

/// Copies test output, line by line, and adds up its sums.
fn pass_on(output: impl Read, copy: &mut impl Write) -> Result<Tally> {
    let mut output = BufReader::new(output);
    let mut total = Tally::default();
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line)? > 0 {
        copy.write_all(&line)?;
        total += Tally::of_line(&String::from_utf8_lossy(&line)).unwrap_or_default();
        line.clear();
    }
    Ok(total)
}

fn sim() -> Result<Tally> {
    let (passed, failed) = sim::suite()?;
    Ok(Tally {
        passed,
        failed,
        skipped: 0,
    })
}

fn kazoo() -> Result<Tally> {
    let (passed, failed, skipped) = acceptance::kazoo_on_ours()?;
    Ok(Tally {
        passed: passed as u64,
        failed: failed as u64,
        skipped: skipped as u64,
    })
}

fn drill() -> Result<Tally> {
    let (report, status) = drilled(&[])?;
    let tally =
        Tally::of_drill(&report).with_context(|| format!("mainstay drill ended: {status}"))?;
    judge(tally, status)
}

/// The keeper is broken; then a drill whose store loses everything has to notice.
fn keeper(no_skip: bool) -> Result<Tally> {
    let ended = |status: ExitStatus| format!("mainstay drill keeper ended: {status}");
    let (report, status) = drilled(&["keeper", "--rounds", KEEPER_ROUNDS])?;
    let tally = Tally::of_drill(&report).with_context(|| ended(status))?;
    let mut tally = judge(tally, status)?;
    if no_skip {
        tally.failed += std::mem::take(&mut tally.skipped);
    }
    let (report, status) = drilled(&["keeper", "--rounds", "1", "--plant", "wiped-disks"])?;
    tally += Tally::of_planted_drill(&report).with_context(|| ended(status))?;
    Ok(tally)
}

/// Builds `mainstay` and runs a drill with it: its report, and how it ended.
fn drilled(arguments: &[&str]) -> Result<(Vec<u8>, ExitStatus)> {
    let mainstay = workspace::mainstay()?;
    let seed = DRILL_SEED.to_string();
    let words = arguments.join(" ");
    eprintln!("mainstay drill {words} --json --seed {seed}");
    let drill = Command::new(mainstay)
        .arg("drill")
        .args(arguments)
        .args(["--json", "--seed", &seed])
        .current_dir(workspace::root())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("mainstay does not start")?;
    std::io::stdout().write_all(&drill.stdout)?;
    Ok((drill.stdout, drill.status))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    const PASSED: i32 = 0;
    const FAILED: i32 = 101 << 8;

    fn judged(tally: Tally, status: i32) -> Result<Tally> {
        judge(tally, ExitStatus::from_raw(status))
    }

    #[test]
    fn the_sums_of_all_test_programs_are_added() {
        let output = "running 1 test\ntest a ... ok\ntest result: ok. 1 passed; 0 failed; \
            0 ignored;\nnoise\ntest result: FAILED. 2 passed; 1 failed; 1 ignored;";
        let mut copy = Vec::new();
        let tally = pass_on(output.as_bytes(), &mut copy).expect("a readable text");
        assert_eq!(copy, output.as_bytes());
        assert_eq!(
            tally,
            Tally {
                passed: 3,
                failed: 1,
                skipped: 1
            }
        );
    }

    #[test]
    fn a_run_that_does_not_compile_has_failed() {
        assert_eq!(
            judged(Tally::default(), FAILED).expect("a failure").failed,
            1
        );
    }

    #[test]
    fn a_crash_after_passed_tests_has_failed() {
        let passed = Tally {
            passed: 3,
            failed: 0,
            skipped: 0,
        };
        assert_eq!(judged(passed, FAILED).expect("a failure").failed, 1);
        assert_eq!(judged(passed, PASSED).expect("a success"), passed);
    }

    #[test]
    fn a_run_without_a_test_has_proved_nothing() {
        assert!(judged(Tally::default(), PASSED).is_err());
        assert!(judged(Tally::SKIPPED, PASSED).is_err());
    }
}
