//! `cargo xtask bench keeper`: the keeper beside `ZooKeeper` and etcd, three members each.
//!
//! Everything shares one machine and one disk: the load, and the members of all ensembles. So a
//! figure alone says little and a ratio within a round says much, and what the disk took to sync is
//! printed beside them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::busy;
use super::report::Report;
use crate::debian::{self, Program};
use crate::{wait, workspace};

mod ensemble;
mod gap;
mod load;
mod size;
mod speed;
mod subject;
mod tables;
mod usage;
mod watch;

use ensemble::Ensemble;
use subject::Subject;
use tables::{Table, figure};

use super::report::Better;

/// How long ensembles may rest before they are weighed empty.
const REST: Duration = Duration::from_secs(2);

/// What `bench keeper` is asked to do.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print `mainstay.bench/v1` instead of the table.
    #[arg(long)]
    json: bool,
    /// A third of the effort: figures to work with, none to quote.
    #[arg(long)]
    quick: bool,
    /// How often all subjects take their turn; 5, or 2 with --quick.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: Option<u32>,
    /// How long each measurement takes, in milliseconds; 1500, or 800 with --quick.
    #[arg(long, value_parser = clap::value_parser!(u32).range(100..=3_600_000))]
    ms: Option<u32>,
    /// Who takes part.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Subject::ALL.iter().copied())]
    subjects: Vec<Subject>,
    /// Measure this `mainstay` instead of building one.
    #[arg(long, value_name = "FILE")]
    mainstay: Option<PathBuf>,
    /// What is measured.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::ALL)]
    only: Vec<Part>,
}

/// A part of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Requests per second, percentiles, processor time.
    Speed,
    /// The leader is killed.
    Gap,
    /// Ten thousand sessions watch one node.
    Watch,
    /// A million nodes.
    Size,
}

impl Part {
    const ALL: [Self; 4] = [Self::Speed, Self::Gap, Self::Watch, Self::Size];
}

/// How much is done.
#[derive(Debug)]
struct Plan {
    mainstay: PathBuf,
    rounds: u32,
    ms: u32,
    warm_up_ms: u32,
    kills: u32,
    sessions: u32,
    nodes: u32,
    snapshot_ms: u32,
}

impl Plan {
    fn new(args: &Args) -> Result<Self> {
        let quick = args.quick;
        let either = |full, short| if quick { short } else { full };
        let mainstay = match &args.mainstay {
            Some(file) => std::path::absolute(file)?,
            None => workspace::metadata()?
                .target_directory
                .join("dist/mainstay"),
        };
        Ok(Self {
            mainstay,
            rounds: args.rounds.unwrap_or_else(|| either(5, 2)),
            ms: args.ms.unwrap_or_else(|| either(1_500, 800)),
            warm_up_ms: either(10_000, 4_000),
            kills: either(5, 1),
            sessions: 10_000,
            nodes: 1_000_000,
            snapshot_ms: either(12_000, 6_000),
        })
    }
}

/// Measures and prints the report.
pub(super) fn run(args: &Args) -> Result<()> {
    provide(args)?;
    let plan = Plan::new(args)?;
    let subjects: Vec<Subject> = Subject::ALL
        .iter()
        .copied()
        .filter(|subject| args.subjects.contains(subject))
        .collect();
    let cores: Vec<usize> = (0..std::thread::available_parallelism()?.get()).collect();
    let before = busy::disturbance(&cores)?;
    let mut table = Table::default();
    let mut notes = notes(&plan, &subjects);
    together(args, &plan, &subjects, &mut table)?;
    if args.only.contains(&Part::Size) {
        for &subject in &subjects {
            notes.extend(size::measure(&plan, subject, &mut table)?);
        }
    }
    let after = busy::disturbance(&cores)?;
    notes.insert(0, busy::quietness(before.max(after)));

    let names: Vec<&str> = subjects.iter().map(|subject| subject.name()).collect();
    let series = table.into_series(&names);
    let report = Report::new("keeper", Subject::Mainstay.name(), &series, notes)?;
    println!(
        "{}",
        if args.json {
            report.json()?
        } else {
            report.table()
        }
    );
    Ok(())
}

/// What is measured while all ensembles run.
fn together(args: &Args, plan: &Plan, subjects: &[Subject], table: &mut Table) -> Result<()> {
    if args.only.iter().all(|&part| part == Part::Size) {
        return Ok(());
    }
    let mut ensembles = Vec::new();
    for &subject in subjects {
        ensembles.push(Ensemble::start(subject, &plan.mainstay)?);
    }
    wait::pass(REST);
    for ensemble in &ensembles {
        let empty = figure("rss_empty", "MB", Better::Lower, ensemble.resident_mb()?);
        table.add(ensemble.subject.name(), empty);
        ensemble.prepare()?;
    }
    if args.only.contains(&Part::Speed) {
        speed::measure(plan, &mut ensembles, table)?;
    }
    if args.only.contains(&Part::Gap) {
        gap::measure(plan, &mut ensembles, table)?;
    }
    for ensemble in &mut ensembles {
        ensemble.leader()?;
    }
    if args.only.contains(&Part::Watch) {
        watch::measure(plan, &ensembles, table)?;
    }
    Ok(())
}

fn notes(plan: &Plan, subjects: &[Subject]) -> Vec<String> {
    let mut notes = vec![
        format!(
            "three members each and the load on one machine and one disk; subjects take turns \
             within a round while the others idle, after {} ms of load each to warm up",
            plan.warm_up_ms
        ),
        "1, 16 and 144 requests under way in all, on 3, 16 and 24 connections spread over the \
         members; 128-byte values, 1,000 keys"
            .into(),
        "a ratio above 1: ours is better; the median of the ratios within the rounds".into(),
    ];
    notes.extend(subjects.iter().map(|subject| subject.note().into()));
    notes
}

/// Installs what is missing, and builds ours as it is shipped.
fn provide(args: &Args) -> Result<()> {
    let subjects = &args.subjects;
    let mut programs = vec![Program {
        name: "setpriv",
        package: "util-linux",
    }];
    programs.extend(subjects.iter().flat_map(|subject| subject.programs()));
    debian::provide(&programs)?;
    load::build()?;
    if subjects.contains(&Subject::Mainstay) && args.mainstay.is_none() {
        let mut cargo = workspace::cargo();
        cargo.args(["build", "--profile", "dist", "--package", "mainstay-cli"]);
        ensure!(cargo.status()?.success(), "mainstay does not build");
    }
    Ok(())
}
