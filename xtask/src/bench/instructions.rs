//! Counted instructions of the policies: gungraun under valgrind, over the subjects of `benches/peers`.
//!
//! Prevents a regression that hides in the noise of a shared machine. It prints its own figures and
//! its own comparison with the last run; there is no ratio to peers here, because an instruction is
//! no measure of time across different code.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::debian::{self, Program};
use crate::workspace;

/// The runner has to be of the library's version; a test compares it with the manifest.
const RUNNER_VERSION: &str = "0.20.0";

/// Counts, and prints what was counted.
pub(super) fn run(folder: &Path) -> Result<()> {
    debian::provide(&[Program {
        name: "valgrind",
        package: "valgrind",
    }])?;
    let runner = provide_runner(folder)?;
    let mut cargo = workspace::cargo();
    cargo.args(["bench", "--locked", "--no-default-features"]);
    cargo.args(["--bench", "instructions"]);
    cargo.arg("--manifest-path").arg(folder.join("Cargo.toml"));
    cargo.arg("--target-dir").arg(folder.join("target"));
    cargo.env("GUNGRAUN_RUNNER", runner);
    ensure!(
        cargo.status()?.success(),
        "the instructions are not counted"
    );
    Ok(())
}

/// Installs the runner next to what it runs, where a first call does not find it.
fn provide_runner(folder: &Path) -> Result<PathBuf> {
    let root = folder.join("target/tools").join(RUNNER_VERSION);
    let runner = root.join("bin/gungraun-runner");
    if runner.is_file() {
        return Ok(runner);
    }
    eprintln!("installing gungraun-runner {RUNNER_VERSION}: a few minutes, once");
    let mut cargo = workspace::cargo();
    cargo.args(["install", "--quiet", "--locked", "gungraun-runner"]);
    cargo
        .args(["--version", RUNNER_VERSION, "--root"])
        .arg(&root);
    let by_hand = format!("try: cargo install --locked gungraun-runner --version {RUNNER_VERSION}");
    ensure!(cargo.status()?.success(), "could not install; {by_hand}");
    Ok(runner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_has_the_version_of_the_library() {
        let manifest = workspace::root().join("benches/peers/Cargo.toml");
        let manifest = std::fs::read_to_string(manifest).expect("the manifest of the peers");
        let line = format!("gungraun = \"={RUNNER_VERSION}\"");
        assert!(manifest.lines().any(|found| found == line), "no {line}");
    }
}
