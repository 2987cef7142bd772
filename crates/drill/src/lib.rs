//! Breaks a service on purpose, with and without protection, and measures what users see.
//!
//! Prevents belief: whoever runs Mainstay can watch it keep a service answering while its parts
//! fail, next to the same service without it. Two arms of real processes get the same load and
//! the same faults at the same time ([`Plan`]); every fault has to prove that it bit; what users
//! saw is counted per request, and what was charged is counted in the ledger ([`Report`]).
//! Whatever happens, everything that was broken or started is undone.

mod arm;
mod availability;
mod check;
mod client;
mod clock;
mod detection;
mod experiment;
mod fault;
pub mod keeper;
mod ledger;
mod load;
mod plan;
mod port;
mod process;
mod progress;
mod report;
mod timeline;
mod watch;

use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
pub use check::{Check, Verdict};
pub use plan::{Arrival, Ask, Kind, Plan, PlannedFault, SCENARIOS, Target};
pub use report::{ArmReport, FaultReport, MISSED_MAX, Missed, Report};
pub use timeline::Slot;
use tokio_util::sync::CancellationToken;

/// What to run, and how to tell.
#[derive(Clone, Debug)]
pub struct Options {
    /// One of [`SCENARIOS`].
    pub scenario: String,
    /// What everything random derives from; chosen and told when `None`.
    pub seed: Option<u64>,
    /// Whether standard output gets the JSON document instead of tables.
    pub json: bool,
    /// Where the page for the browser goes.
    pub report: Option<PathBuf>,
    /// The `mainstay` program that runs node, replicas and leash.
    pub mainstay: PathBuf,
}

/// Runs a drill: progress to standard error, the result to standard output and into the report.
///
/// Must be awaited on a thread that lives as long as the drill (the main thread of a
/// current-thread runtime): the kernel kills the drill's processes when the thread that started
/// them ends. `shutdown` ends the drill early and in order.
///
/// # Errors
/// The scenario is unknown, something could not be started or read, or `shutdown` was cancelled.
/// Also then everything is undone.
pub async fn run(options: Options, shutdown: CancellationToken) -> anyhow::Result<Report> {
    let seed = options.seed.unwrap_or_else(fresh_seed);
    let plan = Plan::new(&options.scenario, seed).with_context(|| {
        let known = SCENARIOS.join(", ");
        format!("unknown scenario {}: there is {known}", options.scenario)
    })?;
    // Found out now, not after a minute.
    let mut page = options.report.as_deref().map(open).transpose()?;
    let outcome = experiment::run(&plan, &options.mainstay, &shutdown).await?;
    let report = Report::new(&plan, &outcome)?;
    if let Some(page) = &mut page {
        page.set_len(0)
            .and_then(|()| page.write_all(report.to_html().as_bytes()))
            .context("cannot write the report; free some space or choose another --report")?;
    }
    let text = if options.json {
        report.to_json()?
    } else {
        report.to_text(options.report.as_deref())
    };
    print(&text)?;
    Ok(report)
}

/// Writes the result to standard output.
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        // Whoever read the output has seen enough of it.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

fn open(path: &Path) -> anyhow::Result<std::fs::File> {
    if path.is_dir() {
        bail!("--report {} is a folder: name a file in it", path.display());
    }
    // The report of an earlier drill stays until this one has a result.
    let page = std::fs::File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(path);
    page.with_context(|| format!("cannot write the report {}", path.display()))
}

/// A seed that nobody chose. Short, because people type it again.
pub fn fresh_seed() -> u64 {
    std::hash::RandomState::new().build_hasher().finish() % 1_000_000
}
