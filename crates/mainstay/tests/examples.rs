//! The examples run, end by themselves, tell something, and are short enough to be read.
//!
//! Prevents documentation that compiles and fails. `cargo test` builds the examples beside the
//! tests (with `--test examples` alone it does not); they are found by listing their directory, so
//! that none is forgotten.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that finds no example fails"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// More is no example but a program.
const LINES_MAX: usize = 80;

/// The techniques of the overview, then what goes with them, and the example that puts them
/// together.
const TECHNIQUES: &[&str] = &[
    "breaker",
    "retry",
    "bulkhead",
    "graceful_degradation",
    "failure_detection",
    "voting",
    "rate_limit",
    "hedge",
    "cache",
    "concurrency_limit",
    "fault",
    "timeout",
    "pipeline",
];

/// The names of the examples, sorted.
fn names() -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let entries = fs::read_dir(directory).expect("the package has examples");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

/// `target/<profile>/examples`, beside the `deps` that this test is in.
fn binaries() -> PathBuf {
    let test = std::env::current_exe().expect("this test is a file");
    let profile = test.ancestors().nth(2);
    profile
        .expect("tests are in target/<profile>/deps")
        .join("examples")
}

fn run(name: &str) -> Output {
    let path = binaries().join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    Command::new(&path).output().unwrap_or_else(|error| {
        panic!(
            "{} does not start: {error}; `cargo test -p mainstay` builds it",
            path.display()
        )
    })
}

#[test]
fn every_example_ends_well_and_tells_something() {
    // All at once: each waits most of its time.
    let running: Vec<_> = names()
        .into_iter()
        .map(|name| (name.clone(), std::thread::spawn(move || run(&name))))
        .collect();
    assert!(!running.is_empty(), "there are examples");
    for (name, running) in running {
        let output = running.join().expect("its message is above");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{name}: {}: {stderr}",
            output.status
        );
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.lines().count() > 1, "{name} told: {told:?}");
    }
}

#[test]
fn every_example_can_be_read_at_once_and_says_how_it_is_run() {
    for name in names() {
        let path = format!("{}/examples/{name}.rs", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(&path).expect("it was listed");
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{name} has {lines} lines");
        let command = format!("cargo run -p mainstay --example {name}");
        assert!(text.contains(&command), "{name} does not say `{command}`");
    }
}

#[test]
fn every_technique_has_an_example() {
    let names = names();
    for technique in TECHNIQUES {
        let there = names.iter().any(|name| name == technique);
        assert!(there, "{technique} is not among {names:?}");
    }
}
