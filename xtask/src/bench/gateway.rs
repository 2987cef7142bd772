//! `cargo xtask bench gateway`: requests per second and the 99th percentile, beside the peers.
//!
//! The subjects share core 0 and are loaded one at a time; wrk and the origin share core 1. Within a
//! round they take turns, each after a warm-up of its own. Every subject has to give the right
//! answer before and after, and one bad answer in between ends the benchmark without a figure.

use anyhow::{Context as _, Result, ensure};

use super::busy::{self, Ticks};
use super::origin::Origin;
use super::report::{Better, Report, Series};
use super::subject::{Running, Subject};
use super::wrk;
use crate::debian::{self, Program};
use crate::workspace;

const PROXY_CORE: usize = 0;
const LOAD_CORE: usize = 1;
const CORES: [usize; 2] = [PROXY_CORE, LOAD_CORE];
const WARM_UP_SECONDS: u32 = 1;
/// Below this share of its core a proxy was waiting for the load.
const BUSY_MIN: f64 = 90.0;

/// What `bench gateway` is asked to do.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print `mainstay.bench/v1` instead of the table.
    #[arg(long)]
    json: bool,
    /// How often all subjects take their turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// How long each measurement takes.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// Who takes part.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Subject::ALL.iter().copied())]
    subjects: Vec<Subject>,
}

/// How many connections, and what the figures are called.
#[derive(Debug)]
struct Load {
    connections: u32,
    rate: &'static str,
    /// Only measured where the queue in front of the proxy is short.
    p99: Option<&'static str>,
    busy: &'static str,
}

const LOADS: &[Load] = &[
    Load {
        connections: 32,
        rate: "rps_32",
        p99: Some("p99_32"),
        busy: "core_busy_32",
    },
    Load {
        connections: 256,
        rate: "rps_256",
        p99: None,
        busy: "core_busy_256",
    },
];

/// Measures and prints the report.
pub(super) fn run(args: &Args) -> Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    ensure!(
        cores > LOAD_CORE,
        "needs two cores, this machine offers {cores}"
    );
    provide(&args.subjects)?;

    let mut origin = Origin::start(LOAD_CORE)?;
    let mut subjects = Vec::new();
    let mut notes = Vec::new();
    for subject in Subject::ALL
        .iter()
        .filter(|subject| args.subjects.contains(subject))
    {
        subjects.push(subject.start(PROXY_CORE, origin.endpoints)?);
        notes.push(subject.note().into());
    }
    let before = busy::disturbance(&CORES)?;
    let series = measure(args, &subjects)?;
    notes.insert(0, busy::quietness(before.max(busy::disturbance(&CORES)?)));
    for subject in &mut subjects {
        subject.check()?;
    }
    origin.process.runs()?;

    notes.push("wrk is closed loop: p99 is at each subject's own highest rate".into());
    notes.extend(idle_cores(&series));
    let report = Report::new("gateway", Subject::Mainstay.name(), &series, notes)?;
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

/// Installs what is missing, and builds ours as it is shipped.
fn provide(subjects: &[Subject]) -> Result<()> {
    let mut programs = vec![
        Program {
            name: "wrk",
            package: "wrk",
        },
        Program {
            name: "taskset",
            package: "util-linux",
        },
        Program {
            name: "setpriv",
            package: "util-linux",
        },
    ];
    // The origin is an nginx in any case.
    programs.extend(Subject::Nginx.program());
    programs.extend(subjects.iter().filter_map(|subject| subject.program()));
    debian::provide(&programs)?;
    if subjects.contains(&Subject::Mainstay) {
        let mut cargo = workspace::cargo();
        cargo.args(["build", "--profile", "dist", "--package", "mainstay-cli"]);
        ensure!(cargo.status()?.success(), "mainstay does not build");
    }
    Ok(())
}

fn measure(args: &Args, subjects: &[Running]) -> Result<Vec<Series<'static>>> {
    let mut series = Vec::new();
    for round in 1..=args.rounds {
        let turns = LOADS
            .iter()
            .flat_map(|load| subjects.iter().map(move |one| (load, one)));
        for (load, running) in turns {
            eprint!(
                "round {round}/{}  {:>3} connections  ",
                args.rounds, load.connections
            );
            let figures = measure_once(args.seconds, load, running)?;
            add(&mut series, figures);
        }
    }
    series.sort_by_key(|one: &Series<'_>| position(one.case));
    Ok(series)
}

fn measure_once(seconds: u32, load: &Load, running: &Running) -> Result<Vec<Series<'static>>> {
    let subject = running.subject.name();
    let run = |seconds| wrk::run(LOAD_CORE, running.address, load.connections, seconds);
    let _warm = run(WARM_UP_SECONDS).context(subject)?;
    let before = Ticks::of_core(PROXY_CORE)?;
    let measured = run(seconds).context(subject)?;
    let busy = Ticks::of_core(PROXY_CORE)?.busy_since(before);
    let wrk::Measured {
        requests_per_second: rate,
        p99_ms,
    } = measured;
    eprintln!("{subject:<9} {rate:>9.0} requests/s  p99 {p99_ms:>7.2} ms  core {busy:>3.0} %");

    let one = |case, unit, better, value| Series {
        case,
        subject,
        unit,
        better,
        values: vec![value],
    };
    let mut figures = vec![
        one(load.rate, "requests/s", Better::Higher, rate),
        one(load.busy, "%", Better::Neither, busy),
    ];
    figures.extend(load.p99.map(|case| one(case, "ms", Better::Lower, p99_ms)));
    Ok(figures)
}

/// Appends each figure to the series it belongs to.
fn add(series: &mut Vec<Series<'static>>, figures: Vec<Series<'static>>) {
    for new in figures {
        let same = |one: &&mut Series<'static>| (one.case, one.subject) == (new.case, new.subject);
        match series.iter_mut().find(same) {
            Some(one) => one.values.extend(new.values),
            None => series.push(new),
        }
    }
}

/// The order of cases in the report: rates, percentiles, then what explains them.
fn position(case: &str) -> usize {
    let rates = LOADS.iter().map(|load| load.rate);
    let p99s = LOADS.iter().filter_map(|load| load.p99);
    rates
        .chain(p99s)
        .position(|known| known == case)
        .unwrap_or(usize::MAX)
}

/// Says where the load was the limit.
fn idle_cores(series: &[Series<'_>]) -> Vec<String> {
    let busy = series.iter().filter(|one| one.better == Better::Neither);
    let idle = busy.filter(|one| one.values.iter().any(|&value| value < BUSY_MIN));
    let note = |one: &Series<'_>| {
        format!(
            "{} of {}: its core was not always busy; the load was the limit",
            one.case, one.subject
        )
    };
    idle.map(note).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(case: &'static str, better: Better, value: f64) -> Series<'static> {
        Series {
            case,
            subject: "nginx",
            unit: "x",
            better,
            values: vec![value],
        }
    }

    #[test]
    fn figures_of_the_same_case_and_subject_are_one_series() {
        let mut all = Vec::new();
        for value in [1.0, 2.0] {
            add(&mut all, vec![series("rps_32", Better::Higher, value)]);
        }
        add(&mut all, vec![series("rps_256", Better::Higher, 3.0)]);
        let values: Vec<_> = all.iter().map(|one| one.values.clone()).collect();
        assert_eq!(values, [vec![1.0, 2.0], vec![3.0]]);
    }

    #[test]
    fn rates_come_before_percentiles_and_explanations() {
        let mut cases = ["core_busy_32", "p99_32", "rps_256", "rps_32"];
        cases.sort_by_key(|case| position(case));
        assert_eq!(cases, ["rps_32", "rps_256", "p99_32", "core_busy_32"]);
    }

    #[test]
    fn a_core_that_waited_for_the_load_is_named() {
        let all = [
            series("core_busy_32", Better::Neither, 60.0),
            series("core_busy_256", Better::Neither, 99.0),
            series("rps_32", Better::Higher, 1.0),
        ];
        let notes = idle_cores(&all);
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].starts_with("core_busy_32 of nginx"), "{notes:?}");
    }
}
