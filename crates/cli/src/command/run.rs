//! `mainstay run`: everything that the configuration says, until told to stop.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mainstay_node::config::problem::Style;
use mainstay_node::config::{Config, ConfigError, Machine};
use mainstay_node::node::{ReplicaStatus, Summary};
use mainstay_node::{Leash, Node, Program, example};
use mainstay_observe::Observer;
use mainstay_observe::log::Log;

use super::{FAILED, USAGE, complain, runtime};

/// The file that is used when none is named.
const DEFAULT_FILE: &str = "mainstay.toml";

/// Runs until told to stop.
pub(super) fn run(path: Option<PathBuf>) -> ExitCode {
    let config = match configuration(path) {
        Ok(config) => config,
        Err(error) => return complain(USAGE, &describe(&error)),
    };
    let started = (|| {
        let observer = Observer::with_log(&config.name, Log::stderr(config.log))?;
        Ok::<_, anyhow::Error>((observer, program()?, runtime()?))
    })();
    let (observer, program, runtime) = match started {
        Ok(started) => started,
        Err(error) => return complain(FAILED, &error),
    };
    let path = if config.path == example::PATH {
        "/accounts/7/balance"
    } else {
        "/"
    };
    runtime.block_on(async {
        let node = match Node::start(config, program, observer).await {
            Ok(node) => node,
            Err(error) => return complain(FAILED, &error),
        };
        // A closed stdout must not stop the gateway.
        let announce = move |summary: &Summary| {
            let _closed = anstream::stdout().write_all(introduction(summary, path).as_bytes());
        };
        match node.run(announce).await {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => complain(FAILED, &error),
        }
    })
}

/// The named file, else ./mainstay.toml, else the built-in example.
pub(super) fn configuration(path: Option<PathBuf>) -> Result<Config, ConfigError> {
    let machine = Machine::here();
    let default = Path::new(DEFAULT_FILE);
    match path {
        Some(path) => Config::read(&path, &machine),
        None if default.exists() => Config::read(default, &machine),
        None => Ok(Config::parse(example::PATH, example::SOURCE, &machine)?),
    }
}

/// An error for the terminal, with colours where they show.
pub(super) fn describe(error: &ConfigError) -> String {
    let colour = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    match error {
        ConfigError::Wrong(problems) if colour => format!("\n{}", problems.render(Style::Colour)),
        ConfigError::Wrong(problems) => format!("\n{}", problems.render(Style::Plain)),
        ConfigError::Unreadable { .. } => error.to_string(),
    }
}

/// This program, which is also its replicas' leash and warden.
fn program() -> std::io::Result<Program> {
    Ok(Program {
        exe: std::env::current_exe()?,
        leash: Leash::of_this_program("leash", "warden"),
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Says what runs where, and what to try.
fn introduction(summary: &Summary, path: &str) -> String {
    let mut lines = vec![
        String::new(),
        "Mainstay is running.".to_owned(),
        String::new(),
    ];
    for (name, listen) in &summary.services {
        lines.push(format!("  {name:<12}  http://{listen}"));
        let of_service = summary
            .replicas
            .iter()
            .filter(|replica| replica.service == *name);
        lines.extend(of_service.map(introduce));
    }
    if let Some(listen) = summary.keeper {
        lines.push(format!("  {:<12}  {listen}", "keeper"));
    }
    lines.push(format!("  {:<12}  http://{}", "dashboard", summary.admin));
    lines.extend([String::new(), "Try:".to_owned()]);
    if let Some((_, listen)) = summary.services.first() {
        lines.push(format!(
            "  curl -i http://{listen}{path}   # call the service"
        ));
    }
    if let Some(pid) = summary.replicas.iter().find_map(|replica| replica.pid) {
        lines.push(format!(
            "  kill -9 {pid}   # kill a replica, and watch the dashboard"
        ));
    }
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "mainstay".to_owned());
    lines.push(format!(
        "  {program} drill   # break everything on purpose, and measure"
    ));
    lines.extend([
        String::new(),
        "Ctrl-C drains and stops everything.".to_owned(),
        String::new(),
    ]);
    lines.join("\n")
}

/// One replica: where it listens, its process, and whether it keeps the others waiting.
fn introduce(replica: &ReplicaStatus) -> String {
    let pid = replica
        .pid
        .map_or_else(|| "no process".to_owned(), |pid| format!("pid {pid}"));
    let late = if replica.ready {
        ""
    } else {
        "  not ready yet: the log says why"
    };
    let (name, port) = (&replica.replica, replica.port);
    format!("    {name:<10}  127.0.0.1:{port}  {pid}{late}")
}
