//! The project's own tooling: `cargo xtask test | sim | pitfalls | verify | tidy | bench |
//! acceptance`.
//!
//! Prevents rules that live in a document only, and figures that nobody can repeat: what the
//! project asks of a change is a command here, one file per command. Everything a command starts
//! has ended when it returns.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool of the project: stdout is its result, stderr its progress"
)]

mod acceptance;
mod bench;
mod debian;
mod pitfalls;
mod process;
mod sim;
mod test;
mod tidy;
mod verify;
mod wait;
mod workspace;
mod zookeeper;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", about = "The project's own tooling")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs every test; installs what the tests need, or says what it skips.
    Test(test::Args),
    /// Runs the keeper in virtual time, seed after seed.
    Sim(sim::Args),
    /// Plants the bugs of docs/pitfalls.md, and has the tests find each.
    Pitfalls(pitfalls::Args),
    /// Formatting, lints, documentation and the rules of `tidy`.
    Verify,
    /// The rules that no other tool knows: edges between crates, files, generated documents.
    Tidy(tidy::Args),
    /// Measures Mainstay beside its peers, in one run on one machine.
    Bench(bench::Args),
    /// Suites that others wrote, against the keeper and against ZooKeeper.
    Acceptance(acceptance::Args),
}

fn main() -> ExitCode {
    let passed = match Cli::parse().command {
        Command::Test(args) => Ok(test::run(args)),
        Command::Sim(args) => sim::run(&args),
        Command::Pitfalls(args) => pitfalls::run(&args),
        Command::Verify => verify::run(),
        Command::Tidy(args) => tidy::run(args),
        Command::Bench(args) => bench::run(&args),
        Command::Acceptance(args) => acceptance::run(args),
    };
    match passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(3)
        },
    }
}
