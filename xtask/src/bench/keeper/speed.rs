//! Requests per second, the 99th percentile, and what they cost the processors.
//!
//! All ensembles run all the time and take turns within a round, one loaded at a time; each round
//! begins with another one.

use anyhow::{Context as _, Result};

use super::Plan;
use super::ensemble::Ensemble;
use super::load;
use super::tables::{Table, figure};
use crate::bench::report::Better;

/// What is asked, and what the figures are called.
#[derive(Debug)]
struct Case {
    mix: &'static str,
    outstanding: u32,
    rate: &'static str,
    p99: &'static str,
    /// Where processor time is told as well: of the servers, and of the client.
    cpu: Option<[&'static str; 2]>,
}

const fn case(mix: &'static str, outstanding: u32, [rate, p99]: [&'static str; 2]) -> Case {
    Case {
        mix,
        outstanding,
        rate,
        p99,
        cpu: None,
    }
}

const CASES: &[Case] = &[
    case("set", 1, ["set_1", "set_1_p99"]),
    case("set", 16, ["set_16", "set_16_p99"]),
    Case {
        cpu: Some(["cpu_100k", "cpu_100k_client"]),
        ..case("set", 144, ["set_144", "set_144_p99"])
    },
    Case {
        cpu: Some(["cpu_100k_get", "cpu_100k_get_client"]),
        ..case("get", 144, ["get_144", "get_144_p99"])
    },
    case("mix", 144, ["mix_144", "mix_144_p99"]),
    case("create", 144, ["create_144", "create_144_p99"]),
];

/// Before each measurement, milliseconds.
const WARM_UP_MS: u32 = 500;
/// Syncs of the disk that are measured in each round.
const SYNCS: u32 = 300;

/// Measures all cases.
pub(super) fn measure(plan: &Plan, ensembles: &mut [Ensemble], table: &mut Table) -> Result<()> {
    for ensemble in &*ensembles {
        // The Java machine compiles what runs often; the others gain nothing by it and get it too.
        eprintln!(
            "{}: {} ms to warm up",
            ensemble.subject.name(),
            plan.warm_up_ms
        );
        for mix in ["set", "get"] {
            run(ensemble, mix, 144, (0, plan.warm_up_ms / 2))?;
        }
    }
    for round in 1..=plan.rounds {
        disk(&ensembles[0], table)?;
        for case in CASES {
            for ensemble in &*ensembles {
                eprint!("round {round}/{}  {:<11}", plan.rounds, case.rate);
                once(plan, case, ensemble, table).with_context(|| case.rate)?;
            }
        }
        ensembles.rotate_left(1);
    }
    Ok(())
}

fn run(
    ensemble: &Ensemble,
    mix: &str,
    outstanding: u32,
    (warm_up_ms, ms): (u32, u32),
) -> Result<load::Figures> {
    load::run(&[
        "speed",
        ensemble.subject.protocol(),
        &ensemble.addresses(),
        mix,
        &outstanding.to_string(),
        &warm_up_ms.to_string(),
        &ms.to_string(),
    ])
}

fn once(plan: &Plan, case: &Case, ensemble: &Ensemble, table: &mut Table) -> Result<()> {
    let name = ensemble.subject.name();
    let before = ensemble.cpu_seconds()?;
    let figures = run(ensemble, case.mix, case.outstanding, (WARM_UP_MS, plan.ms))?;
    let servers = ensemble.cpu_seconds()? - before;
    let (rate, p99) = (figures.one("rate")?, figures.one("p99_us")?);
    eprintln!("{name:<9} {rate:>9.0} ops/s  p99 {p99:>8.0} µs");
    table.add(name, figure(case.rate, "ops/s", Better::Higher, rate));
    table.add(name, figure(case.p99, "µs", Better::Lower, p99));
    if let Some([of_servers, of_client]) = case.cpu {
        let per_100k = 100_000.0 / figures.one("answered")?;
        let client = figures.one("cpu_seconds")? * per_100k;
        table.add(
            name,
            figure(of_servers, "s", Better::Lower, servers * per_100k),
        );
        table.add(name, figure(of_client, "s", Better::Neither, client));
    }
    Ok(())
}

/// How long the disk takes, beside every figure that waits for it.
fn disk(ensemble: &Ensemble, table: &mut Table) -> Result<()> {
    let folder = ensemble.disk().to_string_lossy();
    let figures = load::run(&["sync", &folder, &SYNCS.to_string()])?;
    for (case, name) in [("fdatasync_p50", "p50_us"), ("fdatasync_p99", "p99_us")] {
        table.add(
            "disk",
            figure(case, "µs", Better::Neither, figures.one(name)?),
        );
    }
    Ok(())
}
