//! `mainstay drill`: break a service on purpose and measure what users see.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use mainstay_drill::{Options, Report, Verdict};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{FAILED, NEGATIVE, complain, runtime};

/// What to break, and how to tell.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The scenario.
    #[arg(default_value = "payment-outage")]
    scenario: String,
    /// The seed of the schedule: the same seed, the same schedule. Without it one is drawn, and
    /// told.
    #[arg(long)]
    seed: Option<u64>,
    /// Print the result as a document instead of tables.
    #[arg(long)]
    json: bool,
    /// Write a self-contained page with a timeline.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

/// Runs the drill; the verdict is the exit code.
pub(super) fn run(arguments: Arguments) -> ExitCode {
    match drill(arguments) {
        Ok(report) => match report.verdict {
            Verdict::Pass => ExitCode::SUCCESS,
            Verdict::Fail => ExitCode::from(NEGATIVE),
            Verdict::Invalid => ExitCode::from(FAILED),
        },
        Err(error) => complain(FAILED, &format!("{error:#}")),
    }
}

fn drill(arguments: Arguments) -> anyhow::Result<Report> {
    let options = Options {
        scenario: arguments.scenario,
        seed: arguments.seed,
        json: arguments.json,
        report: arguments.report,
        mainstay: std::env::current_exe()?,
    };
    // The drill's processes die with the thread that started them: this one.
    runtime()?.block_on(async {
        let shutdown = CancellationToken::new();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let drill = mainstay_drill::run(options, shutdown.clone());
        tokio::pin!(drill);
        loop {
            tokio::select! {
                report = &mut drill => return report,
                _ = interrupt.recv() => shutdown.cancel(),
                _ = terminate.recv() => shutdown.cancel(),
            }
        }
    })
}
