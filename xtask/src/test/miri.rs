//! What the interpreter for undefined behaviour can run of the policies: miri, with its model of
//! weak memory and its detector of data races.
//!
//! Prevents a protocol that only the processor at hand makes right, and a dependency whose `unsafe`
//! is not. It takes a nightly toolchain, so it runs only when it is asked for; tests with too many
//! steps for it say so with `cfg_attr(miri, ignore)`, and still run everywhere else.

use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

use crate::workspace;

/// Of `mainstay-core`, what several threads share; the rest is arithmetic.
const OF_CORE: &[&str] = &[
    "breaker::",
    "bulkhead::",
    "retry::budget",
    "retry::tokens",
    "limit::rate",
    "limit::throttle",
    "edge::",
    "outlier::",
];

/// Of `mainstay`, the permits, queues and flights that threads hand each other; the rest waits on
/// these or on the engines above.
const OF_MAINSTAY: &[&str] = &[
    "batch::",
    "breaker::",
    "bulkhead::",
    "coalesce::",
    "lane::",
    "name::",
    "waiters::",
];

/// Random cases per property: each takes seconds.
const PROPTEST_CASES: &str = "1";

/// The unit tests of both crates, one command each.
pub(super) fn commands() -> Result<[Command; 2]> {
    let installed = nightly_cargo()
        .args(["miri", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    ensure!(
        installed.is_ok_and(|status| status.success()),
        "there is no miri; try: rustup toolchain install nightly --component miri,rust-src"
    );
    Ok([
        test("mainstay-core", OF_CORE)?,
        test("mainstay", OF_MAINSTAY)?,
    ])
}

fn test(package: &str, filters: &[&str]) -> Result<Command> {
    let mut cargo = nightly_cargo();
    cargo.args(["miri", "test", "--lib", "--package", package]);
    cargo.arg("--").args(filters).current_dir(workspace::root());
    cargo.env(
        "CARGO_TARGET_DIR",
        workspace::metadata()?.target_directory.join("miri"),
    );
    // Clocks are read, and failed random cases are written down.
    cargo.env("MIRIFLAGS", "-Zmiri-disable-isolation");
    cargo.env("PROPTEST_CASES", PROPTEST_CASES);
    Ok(cargo)
}

/// Not the cargo that runs this tool, nor what that one handed on.
fn nightly_cargo() -> Command {
    let mut rustup = Command::new("rustup");
    rustup.args(["run", "nightly", "cargo"]);
    for inherited in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN", "RUSTFLAGS"] {
        rustup.env_remove(inherited);
    }
    rustup
}
