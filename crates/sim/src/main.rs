//! One seed, one process: `cargo xtask sim` starts as many as are wanted.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the report goes to stdout, what keeps it from being made to stderr"
)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use mainstay_sim::plant::Plant;
use mainstay_sim::run::{Order, is_deterministic, run};

/// What a run is told.
#[derive(Debug, Parser)]
struct Args {
    /// All of the run comes from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Names the bugs that can be planted, and that is all.
    #[arg(long)]
    plants: bool,
    /// Plants this bug.
    #[arg(long, value_parser = plant)]
    plant: Option<Plant>,
    /// Writes every event to this file.
    #[arg(long)]
    trace: Option<PathBuf>,
}

fn plant(name: &str) -> Result<Plant, String> {
    let all: Vec<String> = Plant::all().map(Plant::name).collect();
    Plant::named(name).ok_or_else(|| format!("one of {}", all.join(", ")))
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.plants {
        Plant::all().for_each(|plant| println!("{}", plant.name()));
        return ExitCode::SUCCESS;
    }
    if !is_deterministic() {
        eprintln!("error: not built for it; `cargo xtask sim` does that");
        return ExitCode::from(2);
    }
    let order = Order {
        seed: args.seed,
        plant: args.plant,
        trace: args.trace,
    };
    let report = match run(&order) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(3);
        },
    };
    match serde_json::to_string(&report) {
        Ok(text) => println!("{text}"),
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(3);
        },
    }
    ExitCode::from(u8::from(!report.violations.is_empty()))
}
