//! `mainstay keeper`: one member of an ensemble that speaks the ZooKeeper protocol.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use mainstay_node::keeper::{self, ServerConfig};
use mainstay_observe::Observer;
use mainstay_observe::log::Log;

use super::{FAILED, USAGE, complain};

/// Which member, by the files that ZooKeeper's operators have.
#[derive(Debug, Args)]
#[command(subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(flatten)]
    files: Option<Files>,
    #[command(subcommand)]
    command: Option<Move>,
}

#[derive(Debug, Args)]
struct Files {
    /// The file of ZooKeeper's configuration; `myid` lies in its dataDir.
    #[arg(long, value_name = "FILE")]
    zoo_cfg: PathBuf,
    /// A property that the Java server takes as -Dkey=value; may be given several times.
    #[arg(long = "java-prop", value_name = "KEY=VALUE")]
    #[arg(value_parser = |text: &str| Ok::<_, Infallible>(property(text)))]
    properties: Vec<(String, String)>,
}

/// Moving between Apache ZooKeeper and here.
#[derive(Debug, Subcommand)]
enum Move {
    /// Take over the data of an Apache ZooKeeper that does not run any more. Run it at each
    /// member of the ensemble, then start them.
    Import {
        #[command(flatten)]
        files: Files,
        /// ZooKeeper's dataDir; without it the one of FILE.
        #[arg(long, value_name = "FOLDER")]
        from: Option<PathBuf>,
        /// ZooKeeper's dataLogDir; without it the one of FILE, or the dataDir.
        #[arg(long, value_name = "FOLDER")]
        from_log: Option<PathBuf>,
    },
    /// Write this member's data, which must not run, as a snapshot that Apache ZooKeeper reads.
    Export {
        #[command(flatten)]
        files: Files,
        /// The dataDir that ZooKeeper will have.
        #[arg(long, value_name = "FOLDER")]
        to: PathBuf,
    },
}

/// As Java reads what stands behind `-D`: without `=` the value is empty.
fn property(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}

/// Does what was asked.
pub(super) fn run(arguments: Arguments) -> ExitCode {
    let (files, command) = match (arguments.files, arguments.command) {
        (
            _,
            Some(Move::Import {
                files,
                from,
                from_log,
            }),
        ) => {
            return with(&files, |config| move_in(&config, from, from_log));
        },
        (_, Some(Move::Export { files, to })) => {
            return with(&files, |config| move_out(&config, &to));
        },
        (Some(files), None) => (files, serve),
        // The parser asks for one of them.
        (None, None) => return complain(USAGE, &"--zoo-cfg FILE is missing"),
    };
    with(&files, command)
}

fn with(files: &Files, command: impl FnOnce(ServerConfig) -> anyhow::Result<()>) -> ExitCode {
    let config = match ServerConfig::read(&files.zoo_cfg, &files.properties) {
        Ok(config) => config,
        Err(error) => return complain(USAGE, &error),
    };
    match command(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(FAILED, &error),
    }
}

/// Runs the member until told to stop.
fn serve(config: ServerConfig) -> anyhow::Result<()> {
    let name = format!("keeper-{}", config.member);
    let observer = Observer::with_log(&name, Log::stderr(keeper::LOG))?;
    // One thread does everything but the log's own writes and snapshots: most of what a request
    // costs is waking other threads, and a second one takes more than it gives.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(keeper::run(config, observer))?)
}

fn move_in(
    config: &ServerConfig,
    from: Option<PathBuf>,
    from_log: Option<PathBuf>,
) -> anyhow::Result<()> {
    let own_log = || config.zoo.data_log_dir.clone();
    let log = from_log.or_else(|| {
        if from.is_some() {
            from.clone()
        } else {
            own_log()
        }
    });
    let from = from.unwrap_or_else(|| config.zoo.data_dir.clone());
    let moved = keeper::move_in(config, (&from, log.as_deref().unwrap_or(&from)))?;
    let imported = &moved.imported;
    for (path, why) in &imported.skipped {
        anstream::eprintln!("left out {}: {why}", path.display());
    }
    anstream::println!(
        "{} nodes, {} of them ephemeral, and {} sessions, up to zxid {:#x} ({} transactions after \
         the snapshot), are in {} now. {} is as it was.",
        imported.state.tree().len(),
        imported.state.tree().ephemerals_len(),
        imported.state.sessions().len(),
        imported.state.zxid(),
        imported.replayed,
        moved.folder.display(),
        from.display(),
    );
    Ok(())
}

fn move_out(config: &ServerConfig, to: &Path) -> anyhow::Result<()> {
    let moved = keeper::move_out(config, to)?;
    let last = moved.last.unwrap_or_default();
    anstream::println!(
        "{} nodes up to zxid {:#x} are in {}. The last entry of this member's log is {} of term \
         {}: of several members, take the one with the highest term, then the highest entry.",
        moved.state.tree().len(),
        moved.state.zxid(),
        moved.file.display(),
        last.index,
        last.term,
    );
    Ok(())
}
