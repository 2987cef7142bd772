//! `mainstay drill`: break a service or an ensemble on purpose and measure what users see.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use mainstay_drill::keeper::{self, Plant, Subject};
use mainstay_drill::{Options, Verdict};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{FAILED, NEGATIVE, complain, runtime};

/// What this program says to itself in a network of its own.
const ISOLATED: &str = "--isolated";

/// What to break, and how to tell.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The scenario: `payment-outage`, or `keeper`, which breaks the members of an ensemble.
    #[arg(default_value = "payment-outage")]
    scenario: String,
    /// The seed of the schedule: the same seed, the same schedule. Without it one is drawn, and
    /// told.
    #[arg(long)]
    seed: Option<u64>,
    /// Print the result as a document instead of tables.
    #[arg(long)]
    json: bool,
    /// Write a self-contained page with the result.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    #[command(flatten)]
    keeper: KeeperArguments,
}

/// What the scenario `keeper` takes besides.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of `keeper`")]
struct KeeperArguments {
    /// Rounds; each has a kill and a pause or a partition in it. Half as many leaders are killed
    /// afterwards, at most 50, to measure how long nobody writes.
    #[arg(long, default_value_t = 6)]
    rounds: usize,
    /// Members of the ensemble.
    #[arg(long, default_value_t = 3)]
    members: usize,
    /// Whom to break: `mainstay`, or `zookeeper` to check the checkers.
    #[arg(long, default_value = "mainstay", value_parser = ["mainstay", "zookeeper"])]
    against: String,
    /// Where Java finds ZooKeeper; Debian's package by default.
    #[arg(long, default_value = keeper::CLASS_PATH_OF_DEBIAN)]
    class_path: String,
    /// Break a promise on purpose, to see whether the drill notices: `wiped-disks`,
    /// `forgotten-write`, `stale-read` or `doubled-event`.
    #[arg(long, value_parser = plant)]
    plant: Option<Plant>,
    /// This process is in a network of its own.
    #[arg(long, hide = true)]
    isolated: bool,
}

fn plant(word: &str) -> Result<Plant, String> {
    let known = || Plant::ALL.map(Plant::as_str).join(", ");
    Plant::parse(word).ok_or_else(|| format!("there is {}", known()))
}

/// Runs the drill; the verdict is the exit code.
pub(super) fn run(arguments: Arguments) -> ExitCode {
    let drilled = if arguments.scenario == keeper::SCENARIO {
        drill_keeper(arguments)
    } else {
        drill(arguments)
    };
    match drilled {
        Ok(Verdict::Pass) => ExitCode::SUCCESS,
        Ok(Verdict::Fail) => ExitCode::from(NEGATIVE),
        Ok(Verdict::Unknown | Verdict::Invalid) => ExitCode::from(FAILED),
        Err(error) => complain(FAILED, &format!("{error:#}")),
    }
}

fn drill(arguments: Arguments) -> anyhow::Result<Verdict> {
    let options = Options {
        scenario: arguments.scenario,
        seed: arguments.seed,
        json: arguments.json,
        report: arguments.report,
        mainstay: std::env::current_exe()?,
    };
    interruptible(async |shutdown| {
        let report = Box::pin(mainstay_drill::run(options, shutdown)).await?;
        Ok(report.verdict)
    })
}

fn drill_keeper(arguments: Arguments) -> anyhow::Result<Verdict> {
    let KeeperArguments {
        rounds,
        members,
        against,
        class_path,
        plant,
        isolated,
    } = arguments.keeper;
    if !isolated {
        // Goes on here only without a network of its own.
        let why = keeper::isolate(ISOLATED);
        anstream::eprintln!("mainstay: nothing is partitioned: {why}");
    }
    let options = keeper::Options {
        subject: match against.as_str() {
            "zookeeper" => Subject::ZooKeeper { class_path },
            _ => Subject::Mainstay,
        },
        seed: arguments.seed.unwrap_or_else(mainstay_drill::fresh_seed),
        rounds,
        members,
        is_isolated: isolated,
        plant,
        json: arguments.json,
        report: arguments.report,
        mainstay: std::env::current_exe()?,
    };
    interruptible(async |shutdown| {
        let report = keeper::run(options, shutdown).await?;
        Ok(report.verdict)
    })
}

/// Runs a drill that is told to stop when this process is.
fn interruptible(
    drill: impl AsyncFnOnce(CancellationToken) -> anyhow::Result<Verdict>,
) -> anyhow::Result<Verdict> {
    // The drill's processes die with the thread that started them: this one.
    runtime()?.block_on(async {
        let shutdown = CancellationToken::new();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let drill = drill(shutdown.clone());
        tokio::pin!(drill);
        loop {
            tokio::select! {
                verdict = &mut drill => return verdict,
                _ = interrupt.recv() => shutdown.cancel(),
                _ = terminate.recv() => shutdown.cancel(),
            }
        }
    })
}
