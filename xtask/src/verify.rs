//! `cargo xtask verify`: everything that has to hold besides the tests.
//!
//! All checks run even when the first one fails, so that one run shows all there is to mend.

use std::process::Command;

use anyhow::Result;

use crate::{tidy, wait, workspace};

struct Check {
    name: &'static str,
    passed: bool,
    seconds: f64,
}

/// Runs all checks and says whether all passed.
pub(crate) fn run() -> Result<bool> {
    let checks = vec![
        check("fmt", || succeeds(fmt()))?,
        check("clippy", || {
            succeeds(clippy(&["--workspace", "--all-features"]))
        })?,
        // As users of the library build it: no feature that the services turn on.
        check("clippy (library)", || {
            succeeds(clippy(&["--package", "mainstay"]))
        })?,
        check("clippy (core)", || {
            succeeds(clippy(&["--package", "mainstay-core"]))
        })?,
        // Two runs: the library and the binary are both called `mainstay` and would write their
        // pages over each other.
        check("doc (binary)", || {
            succeeds(doc(&["--package", "mainstay-cli"]))
        })?,
        check("doc", || {
            succeeds(doc(&["--workspace", "--exclude", "mainstay-cli"]))
        })?,
        check("tidy", || tidy::run(tidy::Args::default()))?,
    ];
    println!();
    for check in &checks {
        let verdict = if check.passed { "ok" } else { "FAILED" };
        println!("{:<17} {verdict:<8} {:>6.1} s", check.name, check.seconds);
    }
    Ok(checks.iter().all(|check| check.passed))
}

fn check(name: &'static str, work: impl FnOnce() -> Result<bool>) -> Result<Check> {
    eprintln!("== {name}");
    let (passed, seconds) = wait::timed(work);
    let passed = passed?;
    Ok(Check {
        name,
        passed,
        seconds,
    })
}

fn succeeds(mut command: Command) -> Result<bool> {
    Ok(command.status()?.success())
}

fn fmt() -> Command {
    let mut cargo = workspace::cargo();
    cargo.args(["fmt", "--all", "--check"]);
    cargo
}

fn clippy(packages: &[&str]) -> Command {
    let mut cargo = workspace::cargo();
    cargo.args(["clippy", "--all-targets", "--keep-going"]);
    cargo.args(packages);
    cargo.args(["--", "-D", "warnings"]);
    cargo
}

fn doc(packages: &[&str]) -> Command {
    let mut cargo = workspace::cargo();
    cargo.args([
        "doc",
        "--keep-going",
        "--no-deps",
        "--document-private-items",
        "--all-features",
    ]);
    cargo.args(packages);
    cargo.env("RUSTDOCFLAGS", "-D warnings");
    cargo
}
