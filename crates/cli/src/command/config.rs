//! `mainstay config`: what a file says, before anything runs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use mainstay_node::config::{ConfigError, reference};
use serde_json::json;

use super::run::{configuration, describe};
use super::{USAGE, complain};

/// Look at configuration files.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Report every mistake of a file in one run.
    Validate {
        /// The file; without it ./mainstay.toml, else the built-in example.
        file: Option<PathBuf>,
        /// Print the result as a document.
        #[arg(long)]
        json: bool,
    },
    /// Print every value in force with its origin.
    Explain {
        /// The file; without it ./mainstay.toml, else the built-in example.
        file: Option<PathBuf>,
        /// Print the values as a document.
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of the file, for editors.
    Schema,
}

/// Does what the command says.
pub(super) fn run(command: &Command) -> ExitCode {
    match command {
        Command::Validate { file, json } => validate(file.clone(), *json),
        Command::Explain { file, json } => explain(file.clone(), *json),
        Command::Schema => {
            anstream::println!("{:#}", reference::schema());
            ExitCode::SUCCESS
        },
    }
}

fn validate(file: Option<PathBuf>, json: bool) -> ExitCode {
    let result = configuration(file);
    if !json {
        return match result {
            Ok(config) => {
                anstream::println!("{} is right", config.path);
                ExitCode::SUCCESS
            },
            Err(error) => complain(USAGE, &describe(&error)),
        };
    }
    let (problems, code) = match &result {
        Ok(_) => (json!([]), ExitCode::SUCCESS),
        Err(ConfigError::Wrong(problems)) => (json!(problems.located()), ExitCode::from(USAGE)),
        Err(error @ ConfigError::Unreadable { .. }) => (
            json!([{"message": error.to_string()}]),
            ExitCode::from(USAGE),
        ),
    };
    anstream::println!(
        "{:#}",
        json!({"schema": "mainstay.problems/v1", "problems": problems})
    );
    code
}

fn explain(file: Option<PathBuf>, json: bool) -> ExitCode {
    let config = match configuration(file) {
        Ok(config) => config,
        Err(error) => return complain(USAGE, &describe(&error)),
    };
    if json {
        let document = json!({"schema": "mainstay.config/v1", "values": config.effective});
        anstream::println!("{document:#}");
        return ExitCode::SUCCESS;
    }
    let width = config
        .effective
        .iter()
        .map(|value| value.path.len())
        .max()
        .unwrap_or(0);
    for value in &config.effective {
        let origin = match value.line {
            Some(line) => format!("{}:{line}", config.path),
            None => "default".to_owned(),
        };
        anstream::println!("{:width$}  {:<28}  {origin}", value.path, value.value);
    }
    ExitCode::SUCCESS
}
