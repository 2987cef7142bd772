//! The command line: what can be asked of the binary.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod config;
mod drill;
mod example;
mod keeper;
mod run;

/// The verdict is negative: a drill failed a check.
const NEGATIVE: u8 = 1;
/// The command line or the configuration is wrong.
const USAGE: u8 = 2;
/// Something failed at run time, or a drill proved nothing.
const FAILED: u8 = 3;

#[derive(Debug, Parser)]
#[command(name = "mainstay", version, about, max_term_width = 100, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  mainstay run                     the built-in example: three replicas behind a gateway
  mainstay run mainstay.toml       your own services
  mainstay keeper --zoo-cfg FILE   a member of an ensemble that ZooKeeper's clients can use
  mainstay config validate FILE    every mistake of a file in one run
  mainstay drill                   break a service on purpose, with and without Mainstay";

/// Keeps a distributed service answering while its parts fail, and proves it.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run services: replicas, gateway, dashboard. Without CONFIG: ./mainstay.toml, else the
    /// built-in example.
    Run {
        /// The configuration file.
        config: Option<PathBuf>,
    },
    /// Run one member of a keeper: replicated coordination that speaks the ZooKeeper protocol.
    Keeper(keeper::Arguments),
    /// Break a service on purpose, with and without Mainstay, and measure what users see.
    Drill(drill::Arguments),
    /// Look at configuration files.
    #[command(subcommand)]
    Config(config::Command),
    /// The example service.
    #[command(hide = true)]
    Payment {
        /// Flags of the service.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Ties a program to the life of its parent, then becomes it.
    #[command(hide = true)]
    Leash {
        /// The parent's process, the program and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Kills the process groups it was told of once its standard input closes.
    #[command(hide = true)]
    Warden,
}

/// Does what the command line says.
pub(crate) fn run() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { config } => run::run(config),
        Command::Keeper(arguments) => keeper::run(arguments),
        Command::Drill(arguments) => drill::run(arguments),
        Command::Config(command) => config::run(&command),
        Command::Payment { arguments } => example::payment(arguments),
        Command::Leash { arguments } => example::leash(arguments),
        Command::Warden => example::warden(),
    }
}

/// Says on stderr why something failed.
fn complain(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    anstream::eprintln!("mainstay: {error}");
    ExitCode::from(code)
}

/// A runtime for work that needs one thread.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}
