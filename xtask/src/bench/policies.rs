//! `cargo xtask bench policies`: nanoseconds and bytes per call, beside other libraries.
//!
//! The subjects are defined in `benches/peers`, a workspace of its own, and measured there: all in
//! one process, in turns within each round. Time and bytes come from two programs, because an
//! allocator that counts is slower. A gap in the table is a note with its reason.

use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};

use super::report::{Better, Report, Series};
use super::{busy, instructions};
use crate::workspace;

/// The name of our subject.
const OURS: &str = "mainstay";
/// Where the subjects are.
const WORKSPACE: &str = "benches/peers";

/// What `bench policies` is asked to do.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print `mainstay.bench/v1` instead of the table.
    #[arg(long)]
    json: bool,
    /// How often all subjects take their turn.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// How long each subject is measured in each case, all rounds together.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// Count instructions instead, with valgrind: the same on a busy machine.
    #[arg(long, conflicts_with_all = ["json", "rounds", "seconds"])]
    instructions: bool,
}

/// What the programs print, line by line.
#[derive(Debug, Default, PartialEq)]
struct Printed {
    measured: Vec<Measured>,
    missing: Vec<Missing>,
}

#[derive(Debug, PartialEq)]
struct Measured {
    case: String,
    subject: String,
    unit: String,
    values: Vec<f64>,
}

#[derive(Debug, PartialEq)]
struct Missing {
    case: String,
    subject: String,
    reason: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            case,
            subject,
            reason,
        } = self;
        write!(f, "no {case} of {subject}: {reason}")
    }
}

/// Measures and prints the report.
pub(super) fn run(args: &Args) -> Result<()> {
    if args.instructions {
        return instructions::run(&folder());
    }
    build()?;
    let cores: Vec<usize> = (0..std::thread::available_parallelism()?.get()).collect();
    let before = busy::disturbance(&cores)?;
    // Whole milliseconds: the programs take no fractions.
    let milliseconds = (args.seconds * 1_000 / args.rounds).max(1).to_string();
    let times = program("times", &[&args.rounds.to_string(), &milliseconds])?;
    let after = busy::disturbance(&cores)?;
    let bytes = program("bytes", &[])?;

    let mut measured = times.measured;
    measured.extend(bytes.measured);
    let mut notes = vec![
        busy::quietness(before.max(after)),
        "a ratio above 1: ours takes less time; the median of the ratios within the rounds".into(),
    ];
    notes.extend(times.missing.iter().map(ToString::to_string));
    let series: Vec<Series<'_>> = measured.iter().map(series).collect();
    let report = Report::new("policies", OURS, &series, notes)?;
    let text = if args.json {
        report.json()?
    } else {
        report.table()
    };
    println!("{text}");
    Ok(())
}

fn series(measured: &Measured) -> Series<'_> {
    Series {
        case: &measured.case,
        subject: &measured.subject,
        unit: &measured.unit,
        // Zero bytes have no ratio to anything.
        better: if measured.unit == "B" {
            Better::Neither
        } else {
            Better::Lower
        },
        values: measured.values.clone(),
    }
}

fn folder() -> PathBuf {
    workspace::root().join(WORKSPACE)
}

/// Builds as `mainstay` is shipped, without the virtual time of the tests.
fn build() -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--locked", "--profile", "dist", "--bins"]);
    cargo.arg("--no-default-features");
    cargo
        .arg("--manifest-path")
        .arg(folder().join("Cargo.toml"));
    cargo.arg("--target-dir").arg(folder().join("target"));
    ensure!(cargo.status()?.success(), "the peers do not build");
    Ok(())
}

fn binary(name: &str) -> PathBuf {
    folder().join("target/dist").join(name)
}

fn program(name: &str, arguments: &[&str]) -> Result<Printed> {
    let output = std::process::Command::new(binary(name))
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{name} does not start"))?;
    ensure!(output.status.success(), "{name}: {}", output.status);
    let text = String::from_utf8(output.stdout).context("the figures are no text")?;
    parse(&text).with_context(|| format!("{name} printed:\n{text}"))
}

fn parse(text: &str) -> Result<Printed> {
    let mut printed = Printed::default();
    for line in text.lines() {
        let (kind, rest) = line.split_once(' ').context("a line of one word")?;
        let mut words = rest.splitn(3, ' ').map(str::to_owned);
        let mut word = || words.next().context("a line that ends too early");
        let (case, subject, rest) = (word()?, word()?, word()?);
        match kind {
            "measured" => {
                let (unit, values) = rest.split_once(' ').context("a unit without figures")?;
                let values = values.split(' ').map(str::parse);
                printed.measured.push(Measured {
                    case,
                    subject,
                    unit: unit.to_owned(),
                    values: values.collect::<Result<_, _>>()?,
                });
            },
            "missing" => printed.missing.push(Missing {
                case,
                subject,
                reason: rest,
            }),
            _ => bail!("a line of another kind: {line}"),
        }
    }
    Ok(printed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "measured breaker_open_rejection mainstay ns 8.5 9
measured breaker_open_rejection_bytes mainstay B 0
missing limiter_acquire seatbelt it has no rate limit
";

    #[test]
    fn figures_and_gaps_are_read() {
        let printed = parse(PRINTED).expect("as the programs print it");
        assert_eq!(printed.measured[0].values, [8.5, 9.0]);
        assert_eq!(printed.measured[1].unit, "B");
        assert_eq!(
            printed.missing[0].to_string(),
            "no limiter_acquire of seatbelt: it has no rate limit"
        );
    }

    #[test]
    fn a_line_of_another_kind_is_an_error() {
        for line in [
            "guessed a b ns 1",
            "measured a b ns",
            "measured a",
            "measured a b ns fast",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn times_have_a_ratio_and_bytes_have_none() {
        let printed = parse(PRINTED).expect("as the programs print it");
        let better: Vec<Better> = printed
            .measured
            .iter()
            .map(|one| series(one).better)
            .collect();
        assert_eq!(better, [Better::Lower, Better::Neither]);
    }
}
