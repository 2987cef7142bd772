//! Breaks an ensemble that speaks the ZooKeeper protocol, while clients use it, and judges every
//! answer that they got.
//!
//! Prevents a promise that only its makers believe: members are real processes that are killed,
//! stopped and cut off; clients speak the bare protocol; checkers that know nothing of the members'
//! insides look for a lost write, a reply that no order explains, an event that was missed. The
//! same drill runs against Apache ZooKeeper, which shows that the checkers do not ask for too much.
//!
//! | module | what |
//! |---|---|
//! | `plan` | rounds and faults, from the seed |
//! | `subject`, `ensemble`, `network` | members as processes, and their network |
//! | `wire`, `session` | clients of the bare protocol |
//! | `load` | what clients do |
//! | `fault`, `round` | breaking, and what was seen of it |
//! | `history`, `judge` | what was asked and told, and what that says |
//! | `plant` | broken promises on purpose: do the checkers see them? |
//! | `report` | the result |

mod ensemble;
mod fault;
mod history;
mod judge;
mod load;
mod network;
mod plan;
mod plant;
mod report;
mod round;
mod session;
mod subject;
mod wire;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use mainstay_core::random::Random;
use tokio_util::sync::CancellationToken;

pub use plan::Kind;
pub use plant::Plant;
pub use report::{Counts, FaultReport, Gap, Report};
pub use subject::{CLASS_PATH_OF_DEBIAN, Subject};

use crate::clock::Clock;
use ensemble::Ensemble;
use history::Notes;
use judge::Judgement;
use load::Clients;
use network::Network;
use plan::{Plan, Round};
use report::{Frame, Material};
use round::{Outcome, Seen, Setting};
use session::World;

/// The name of the scenario.
pub const SCENARIO: &str = "keeper";

/// Faults of a round that a line of progress tells.
const FAULTS_TOLD_MAX: usize = 3;

/// Members of an ensemble, at most: more only cost time.
const MEMBERS_MAX: usize = 9;

/// What to run, and how to tell.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who is broken.
    pub subject: Subject,
    /// What everything random derives from.
    pub seed: u64,
    /// Rounds with a kill and something else in each.
    pub rounds: usize,
    /// Members of the ensemble, an odd number from 3.
    pub members: usize,
    /// Whether this process is in a namespace of its own, see [`isolate`].
    pub is_isolated: bool,
    /// A promise that is broken on purpose.
    pub plant: Option<Plant>,
    /// Whether standard output gets the JSON document instead of tables.
    pub json: bool,
    /// Where the page for the browser goes.
    pub report: Option<PathBuf>,
    /// The `mainstay` program that runs members and leash.
    pub mainstay: PathBuf,
}

/// Becomes this same command with `flag` behind it in a network of its own, if that can be.
/// Returns why not.
pub fn isolate(flag: &str) -> String {
    network::lacking().unwrap_or_else(|| {
        let error = network::enter(flag);
        format!("partitions need a network of their own: {error}")
    })
}

/// Runs the drill: progress to standard error, the result to standard output and into the report.
///
/// Must be awaited on a thread that lives as long as the drill, see [`crate::run`].
///
/// # Errors
/// The options are wrong, something could not be started, or `shutdown` was cancelled. Also then
/// all that was started is gone.
pub async fn run(options: Options, shutdown: CancellationToken) -> anyhow::Result<Report> {
    let members = options.members;
    ensure!(
        (3..=MEMBERS_MAX).contains(&members) && members % 2 == 1,
        "--members {members}: an odd number from 3 to {MEMBERS_MAX} is needed"
    );
    ensure!(options.rounds > 0, "--rounds 0 would prove nothing");
    let mut page = options.report.as_deref().map(crate::open).transpose()?;
    let folder = tempfile::Builder::new().prefix("mainstay-drill-").tempdir();
    let folder = folder.context("cannot make a temporary folder; is TMPDIR right?")?;
    let report = tokio::select! {
        report = perform(&options, folder.path()) => report?,
        () = shutdown.cancelled() => bail!("the drill was told to stop"),
    };
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
    crate::print(&text)?;
    Ok(report)
}

async fn perform(options: &Options, folder: &Path) -> anyhow::Result<Report> {
    let network = if options.is_isolated {
        Some(Network::new(options.members, &options.mainstay, folder).await?)
    } else {
        None
    };
    let plan = Plan::new(options.seed, options.rounds, network.is_some());
    let subject = (options.subject.clone(), options.mainstay.as_path());
    let mut ensemble = Ensemble::new(subject, options.members, network, folder)?;
    let (name, count, seed) = (options.subject.as_str(), options.members, options.seed);
    say(format_args!(
        "{name} with {count} members, seed {seed}: {} faults in {} rounds",
        plan.faults(),
        plan.rounds.len()
    ));
    ensemble.start_missing()?;
    let ready = ensemble.ready().await;
    if let Err(error) = ready {
        ensemble.stop().await;
        return Err(error.context("the ensemble does not start"));
    }
    let report = rounds(options, &plan, &mut ensemble).await;
    ensemble.stop().await;
    report
}

async fn rounds(options: &Options, plan: &Plan, ensemble: &mut Ensemble) -> anyhow::Result<Report> {
    let world = World {
        members: ensemble.addresses().into(),
        notes: Notes::default(),
        clock: Clock::starting_in(Duration::ZERO),
        sessions: Arc::new(AtomicU64::new(1)),
    };
    let random = Random::seeded(options.seed).fork("clients");
    let setting = Setting {
        clients: Clients::new(&world, ensemble.len(), &random),
        world,
        values: Arc::new(AtomicU64::new(1)),
    };
    let mut material = Material {
        frame: frame(options, plan),
        judgement: Judgement::default(),
        faults: Vec::new(),
        gaps_ms: Vec::new(),
        stuck: None,
    };
    for round in &plan.rounds {
        let outcome = match round::run(round, ensemble, &setting).await {
            Ok(outcome) => outcome,
            Err(stuck) => {
                say(format_args!("round {}: {stuck:#}", round.number));
                material.stuck = Some(format!("round {}: {stuck:#}", round.number));
                break;
            },
        };
        let outcome = match &options.plant {
            Some(plant) => plant.harm(outcome, ensemble, &setting).await?,
            None => outcome,
        };
        let judgement = take(options, round, outcome, &mut material).await?;
        tell(round, plan, &judgement, &material);
        material.judgement.add(judgement);
        material.frame.rounds[0] += 1;
        if options.plant.is_some() {
            // What comes after is not the store's doing.
            break;
        }
    }
    Ok(Report::new(material))
}

/// Judges a round beside the drill's own thread, whose clients go on saying that they live.
async fn take(
    options: &Options,
    round: &Round,
    outcome: Outcome,
    material: &mut Material,
) -> anyhow::Result<Judgement> {
    let Outcome {
        evidence, faults, ..
    } = outcome;
    if round.measures_gap {
        material.gaps_ms.extend(round::gaps_ms(&faults));
    }
    material.faults.extend(faults);
    let (subject, number) = (options.subject.clone(), round.number);
    let judging = tokio::task::spawn_blocking(move || judge::judge(&evidence, &subject));
    let mut judgement = judging.await?;
    for words in &mut judgement.words {
        *words = format!("round {number}: {words}");
    }
    Ok(judgement)
}

fn frame(options: &Options, plan: &Plan) -> Frame {
    let skipped = (!options.is_isolated)
        .then(|| format!("partitions: {}", network::lacking().unwrap_or_default()));
    let (seed, rounds, members) = (options.seed, options.rounds, options.members);
    let mut rerun = vec![format!(
        "mainstay drill {SCENARIO} --seed {seed} --rounds {rounds}"
    )];
    if members != 3 {
        rerun.push(format!("--members {members}"));
    }
    if options.subject != Subject::Mainstay {
        rerun.push(format!("--against {}", options.subject.as_str()));
    }
    if let Some(plant) = options.plant {
        rerun.push(format!("--plant {}", plant.as_str()));
    }
    Frame {
        subject: options.subject.as_str(),
        keeps_connections: options.subject.keeps_connections(),
        seed,
        members,
        rounds: [0, plan.rounds.len()],
        faults_planned: plan.faults(),
        skipped: skipped.into_iter().collect(),
        rerun: rerun.join(" "),
    }
}

fn tell(round: &Round, plan: &Plan, judgement: &Judgement, material: &Material) {
    let seen = material.faults.iter().rev().take(round.faults.len()).rev();
    let mut faults: Vec<String> = seen.map(without_writes).collect();
    let more = faults.len().saturating_sub(FAULTS_TOLD_MAX);
    faults.truncate(FAULTS_TOLD_MAX);
    if more > 0 {
        faults.push(format!("{more} more"));
    }
    let verdict = if judgement.is_kept() {
        "kept"
    } else {
        "BROKEN"
    };
    say(format_args!(
        "round {:>3} of {}: {:<50} {} acknowledged, {} unknown: {verdict}",
        round.number,
        plan.rounds.len(),
        faults.join(", "),
        judgement.acknowledged,
        judgement.unknown,
    ));
    for words in &judgement.words {
        say(format_args!("  {words}"));
    }
}

/// A fault and how long nobody wrote: `kill_leader 372 ms`.
fn without_writes(seen: &Seen) -> String {
    let kind = seen.inflicted.kind;
    let ms = seen.gap_us.map(|us| us / 1_000);
    ms.map_or_else(|| kind.to_string(), |ms| format!("{kind} {ms} ms"))
}

/// A line of progress.
fn say(what: std::fmt::Arguments<'_>) {
    // Nobody has to listen.
    writeln!(std::io::stderr().lock(), "{what}").ok();
}
