//! One drill from start to end: bring both arms up, run the plan, take everything down.
//!
//! Prevents remains: the arms are stopped in order on success, on error and when the drill is told
//! to stop, and the folder with all of their files goes last.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;

use crate::arm::{self, Arm as _, Baseline, Observed, Places, Protected, fresh_status};
use crate::client::Client;
use crate::clock::Clock;
use crate::detection::Watched;
use crate::ledger::{self, Charges};
use crate::load::Tally;
use crate::plan::Plan;
use crate::progress::{Progress, Step};
use crate::watch::watch;

/// Between the last preparation and the first request.
const LEAD: Duration = Duration::from_millis(200);

/// All that was observed of one drill.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Without protection.
    pub(crate) baseline: Observed,
    /// With protection.
    pub(crate) protected: Observed,
    /// What was charged without protection.
    pub(crate) baseline_charges: Charges,
    /// What was charged with protection.
    pub(crate) protected_charges: Charges,
    /// Attempts that the gateway made for the plan's requests; `None` when it did not say.
    pub(crate) attempts: Option<u64>,
    /// What was seen of the protected node.
    pub(crate) watched: Watched,
}

/// Both arms, as far as they were started.
#[derive(Debug, Default)]
struct Stage {
    baseline: Option<Baseline>,
    protected: Option<Protected>,
}

impl Stage {
    async fn stop(&mut self) {
        let baseline = async {
            if let Some(baseline) = &mut self.baseline {
                baseline.stop().await;
            }
        };
        let protected = async {
            if let Some(protected) = &mut self.protected {
                protected.stop().await;
            }
        };
        tokio::join!(baseline, protected);
    }
}

/// Runs `plan` against two arms made of `mainstay`.
///
/// # Errors
/// An arm cannot be started, a ledger cannot be read, or `shutdown` was cancelled.
pub(crate) async fn run(
    plan: &Plan,
    mainstay: &Path,
    shutdown: &CancellationToken,
) -> anyhow::Result<Outcome> {
    let progress = Progress::new(plan.length_ms);
    let folder = tempfile::Builder::new().prefix("mainstay-drill-").tempdir();
    let folder = folder.context("cannot make a temporary folder; is TMPDIR right?")?;
    let mut stage = Stage::default();
    let outcome = tokio::select! {
        outcome = perform(plan, mainstay, folder.path(), &mut stage, &progress) => outcome,
        () = shutdown.cancelled() => Err(anyhow::anyhow!("the drill was told to stop")),
    };
    stage.stop().await;
    progress.finish();
    let mut outcome = outcome?;
    // Only now nobody writes any more.
    if let Stage {
        baseline: Some(baseline),
        protected: Some(protected),
    } = &stage
    {
        outcome.baseline_charges = ledger::charges(&baseline.places().ledger())?;
        outcome.protected_charges = ledger::charges(&protected.places().ledger())?;
    }
    Ok(outcome)
}

async fn perform(
    plan: &Plan,
    mainstay: &Path,
    folder: &Path,
    stage: &mut Stage,
    progress: &Progress,
) -> anyhow::Result<Outcome> {
    let names = format_args!(
        "{} with seed {}: two arms of 3 replicas",
        plan.scenario, plan.seed
    );
    progress.say(Step::Start, 0, names);
    let places = |name| Places::new(mainstay, folder, name);
    let (baseline, protected) = tokio::join!(
        Baseline::start(places("baseline")?),
        Protected::start(places("protected")?),
    );
    // Whichever arm came up is stopped in order even when the other did not.
    let (baseline, protected) = match (baseline, protected) {
        (Ok(baseline), Ok(protected)) => (
            stage.baseline.insert(baseline),
            stage.protected.insert(protected),
        ),
        (baseline, protected) => {
            let error = [baseline.as_ref().err(), protected.as_ref().err()];
            let error = error
                .into_iter()
                .flatten()
                .map(|error| format!("{error:#}"));
            let error = error.collect::<Vec<_>>().join("\n");
            stage.baseline = baseline.ok();
            stage.protected = protected.ok();
            bail!(error);
        },
    };
    measure(plan, baseline, protected, progress).await
}

async fn measure(
    plan: &Plan,
    baseline: &mut Baseline,
    protected: &mut Protected,
    progress: &Progress,
) -> anyhow::Result<Outcome> {
    let clients = [baseline.front(), protected.front()].map(|front| Client::new(&front));
    let [one, two] = clients.map(|client| client.map(Arc::new));
    let (one, two) = (one?, two?);
    tokio::try_join!(arm::warm_up(&one), arm::warm_up(&two))?;
    let admin = protected.admin();
    let attempts_before = fresh_status(admin).await?.attempts;
    let (tallies, watched) = ([Tally::default(), Tally::default()], Mutex::default());
    let clock = Clock::starting_in(LEAD);
    let done = CancellationToken::new();
    let both = async {
        let both = tokio::join!(
            arm::observe(baseline, plan, clock, &one, &tallies[0]),
            arm::observe(protected, plan, clock, &two, &tallies[1]),
        );
        done.cancel();
        both
    };
    let named = [("baseline", &tallies[0]), ("protected", &tallies[1])];
    let ((baseline, seen), (), ()) = tokio::join!(
        both,
        watch(admin, clock, &watched, &done),
        progress.narrate(plan, clock, &named, &done),
    );
    progress.say(
        Step::Check,
        clock.now_ms(),
        format_args!("counting answers and charges"),
    );
    protected.still_runs()?;
    let attempts = fresh_status(admin).await.ok().map(|status| status.attempts);
    Ok(Outcome {
        baseline,
        protected: seen,
        baseline_charges: Charges::new(),
        protected_charges: Charges::new(),
        attempts: attempts.map(|attempts| attempts.saturating_sub(attempts_before)),
        watched: watched.into_inner().unwrap_or_else(PoisonError::into_inner),
    })
}
