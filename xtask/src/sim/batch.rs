//! Seeds, two at a time.

use std::ops::Range;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};

use super::report::Report;
use crate::workspace;

/// Processes at once.
const JOBS: u64 = 2;
/// Between two lines that say how far it is.
const PROGRESS_SEEDS: u64 = 20;

/// The simulation's program.
#[derive(Debug)]
pub(super) struct Program(PathBuf);

impl Program {
    /// Builds it, with what makes it deterministic and with bugs to plant.
    pub(super) fn build() -> Result<Self> {
        let folder = workspace::metadata()?.target_directory.join("sim");
        let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
        let flags = format!("{flags} --cfg tokio_unstable --cfg mainstay_planted");
        let built = workspace::cargo()
            .args(["build", "--profile", "sim", "--package", "mainstay-sim"])
            // A folder of its own: other flags for rustc rebuild everything, twice per run.
            .env("CARGO_TARGET_DIR", &folder)
            .env("RUSTFLAGS", flags.trim())
            .status()?;
        ensure!(built.success(), "the simulation does not build");
        Ok(Self(folder.join("sim/mainstay-sim")))
    }

    /// Runs a seed.
    pub(super) fn run(&self, seed: u64, plant: Option<&str>) -> Result<Report> {
        let mut command = Command::new(&self.0);
        command.args(["--seed", &seed.to_string()]);
        if let Some(plant) = plant {
            command.args(["--plant", plant]);
        }
        let output = command
            .stdin(Stdio::null())
            .output()
            .context("the simulation does not start")?;
        if output.stdout.is_empty() {
            // It panicked, which is found as well.
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            return Ok(Report::of_a_crash(seed, text));
        }
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("seed {seed} printed something else"))
    }

    /// The names of all bugs that can be planted.
    pub(super) fn plants(&self) -> Result<Vec<String>> {
        let output = Command::new(&self.0).arg("--plants").output()?;
        let text = String::from_utf8(output.stdout)?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}

/// Runs of one kind.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    program: &'a Program,
    plant: Option<&'a str>,
}

impl<'a> Batch<'a> {
    pub(super) const fn new(program: &'a Program, plant: Option<&'a str>) -> Self {
        Self { program, plant }
    }

    /// Runs all seeds, in no order; reports are in the order of seeds.
    pub(super) fn run(&self, seeds: Range<u64>) -> Result<Vec<Report>> {
        self.each(seeds, |_| true)
    }

    /// The first seed from one on that finds something.
    pub(super) fn first_failure(&self, count: u64) -> Result<Option<Report>> {
        let reports = self.each(1..count + 1, |report| report.violations.is_empty())?;
        Ok(reports
            .into_iter()
            .find(|report| !report.violations.is_empty()))
    }

    /// Runs seeds while `goes_on`.
    fn each(&self, seeds: Range<u64>, goes_on: fn(&Report) -> bool) -> Result<Vec<Report>> {
        let work = Work {
            next: AtomicU64::new(seeds.start),
            seeds,
            is_over: AtomicBool::new(false),
            found: Mutex::default(),
            goes_on,
        };
        std::thread::scope(|scope| {
            let worker = || scope.spawn(|| self.work(&work));
            let workers: Vec<_> = (0..JOBS).map(|_| worker()).collect();
            workers.into_iter().try_for_each(|worker| {
                let ended = worker.join();
                ended.map_err(|_| anyhow::anyhow!("a thread of this tool died"))?
            })
        })?;
        let found = work.found.into_inner();
        let mut found = found.unwrap_or_else(PoisonError::into_inner);
        found.sort_by_key(|report| report.seed);
        Ok(found)
    }

    fn work(&self, work: &Work) -> Result<()> {
        while let Some(seed) = work.next() {
            let report = self.program.run(seed, self.plant)?;
            if !(work.goes_on)(&report) {
                work.is_over.store(true, Ordering::Relaxed);
            }
            if self.plant.is_none() {
                say(&report, &work.seeds);
            }
            let mut found = work.found.lock().unwrap_or_else(PoisonError::into_inner);
            found.push(report);
        }
        Ok(())
    }
}

/// Seeds that wait, and what became of others.
struct Work {
    seeds: Range<u64>,
    next: AtomicU64,
    is_over: AtomicBool,
    found: Mutex<Vec<Report>>,
    goes_on: fn(&Report) -> bool,
}

impl Work {
    fn next(&self) -> Option<u64> {
        if self.is_over.load(Ordering::Relaxed) {
            return None;
        }
        let seed = self.next.fetch_add(1, Ordering::Relaxed);
        (seed < self.seeds.end).then_some(seed)
    }
}

fn say(report: &Report, seeds: &Range<u64>) {
    for violation in &report.violations {
        eprintln!("seed {}: {violation}", report.seed);
    }
    if !report.violations.is_empty() {
        eprintln!("  again: {}", super::reproduction(report));
    }
    let done = report.seed + 1 - seeds.start;
    if done.is_multiple_of(PROGRESS_SEEDS) {
        eprintln!("{done} of {} seeds", seeds.end - seeds.start);
    }
}
