//! `cargo xtask sim`: the keeper in virtual time, seed after seed, each in a process of its own.
//!
//! Prevents a simulation that cannot be repeated, finds nothing or meets nothing: first one seed is
//! run twice and has to be the same run; a batch of seeds has to have met everything that it is for;
//! and `--planted` shows that bugs are found which are there on purpose.

mod batch;
mod report;

use anyhow::{Result, ensure};

use self::batch::{Batch, Program};
use self::report::{Planted, Report, Summary};

/// Seeds of a batch, when nobody says how many.
const SEEDS: u64 = 20;
/// A batch of so many has to have met everything.
const SEEDS_OF_ALL: u64 = 200;
/// Seeds within which each planted bug has to be found.
const SEEDS_OF_PLANTED: u64 = 200;

/// What `sim` is asked to do.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many seeds; one, when only a seed is given.
    count: Option<u64>,
    /// The first seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Plants bugs, one after the other, and says which seed finds each.
    #[arg(long)]
    planted: bool,
    /// Plants this bug only, see `--planted`.
    #[arg(long, requires = "planted")]
    only: Option<String>,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs what is asked and says whether all is well.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let program = Program::build()?;
    if args.planted {
        return planted(&program, args);
    }
    let alone = u64::from(args.seed.is_some());
    let count = args.count.unwrap_or(if alone == 1 { 1 } else { SEEDS });
    let first = args.seed.unwrap_or(1);
    let summary = seeds(&program, first, count)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        print!("{summary}");
    }
    Ok(summary.is_good())
}

/// The suite of `cargo xtask test`: two hundred seeds, and each planted bug until it is found. How
/// many passed, and how many did not.
pub(crate) fn suite() -> Result<(u64, u64)> {
    let program = Program::build()?;
    let summary = seeds(&program, 1, SEEDS_OF_ALL)?;
    print!("{summary}");
    let planted = plant(&program, None)?;
    let found = planted.iter().filter(|planted| planted.seeds.is_some());
    let found = found.count() as u64;
    let broken = summary.failed.len() + summary.missing.len();
    let not_found = planted.len() as u64 - found;
    Ok((summary.passed + found, broken as u64 + not_found))
}

/// One seed twice, and then all of them.
fn seeds(program: &Program, first: u64, count: u64) -> Result<Summary> {
    is_the_same_twice(program, first)?;
    let batch = Batch::new(program, None);
    let (reports, seconds) = crate::wait::timed(|| batch.run(first..first + count));
    let mut summary = Summary::of(&reports?, seconds);
    if count >= SEEDS_OF_ALL {
        summary.missing = report::missing(&summary.met);
    }
    Ok(summary)
}

/// The determinism of it all: the same seed in two processes.
fn is_the_same_twice(program: &Program, seed: u64) -> Result<()> {
    let [one, other] = [program.run(seed, None)?, program.run(seed, None)?];
    let differs = one
        .checkpoints
        .iter()
        .zip(&other.checkpoints)
        .position(|(one, other)| one != other);
    let place = differs.unwrap_or_else(|| one.checkpoints.len().min(other.checkpoints.len()));
    ensure!(
        one.hash == other.hash,
        "seed {seed} is not the same run twice: they part between events {} and {}",
        place * 1_000,
        (place + 1) * 1_000,
    );
    eprintln!(
        "seed {seed} twice: {} events, the same hash {}",
        one.events, one.hash
    );
    Ok(())
}

/// Plants what is asked, and says what was found.
fn planted(program: &Program, args: &Args) -> Result<bool> {
    let found = plant(program, args.only.as_deref())?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&found)?);
    }
    Ok(found.iter().all(|planted| planted.seeds.is_some()))
}

/// Plants each bug until it is found.
fn plant(program: &Program, only: Option<&str>) -> Result<Vec<Planted>> {
    let mut found = Vec::new();
    for name in program.plants()? {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let batch = Batch::new(program, Some(&name));
        let caught = batch.first_failure(SEEDS_OF_PLANTED)?;
        let planted = Planted::of(&name, caught.as_ref());
        eprintln!("{planted}");
        found.push(planted);
    }
    ensure!(!found.is_empty(), "no such bug");
    eprintln!(
        "{} of {} planted bugs found; median {} seeds",
        found
            .iter()
            .filter(|planted| planted.seeds.is_some())
            .count(),
        found.len(),
        report::median(&found),
    );
    Ok(found)
}

/// A run that broke something, in one line that repeats it.
fn reproduction(report: &Report) -> String {
    format!("cargo xtask sim --seed {}", report.seed)
}
