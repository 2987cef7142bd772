//! `mainstay keeper`: one member of an ensemble that speaks the ZooKeeper protocol.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use mainstay_node::keeper::{self, ServerConfig};
use mainstay_observe::Observer;
use mainstay_observe::log::Log;

use super::{FAILED, USAGE, complain};

/// Threads of a member: one answers clients while the other applies.
const THREADS: usize = 2;

/// Which member, by the files that ZooKeeper's operators have.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file of ZooKeeper's configuration; `myid` lies in its dataDir.
    #[arg(long, value_name = "FILE")]
    zoo_cfg: PathBuf,
    /// A property that the Java server takes as -Dkey=value; may be given several times.
    #[arg(long = "java-prop", value_name = "KEY=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
}

fn property(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} has no =; write KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Runs the member until told to stop.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let config = match ServerConfig::read(&arguments.zoo_cfg, &arguments.properties) {
        Ok(config) => config,
        Err(error) => return complain(USAGE, &error),
    };
    let name = format!("keeper-{}", config.member);
    let started = (|| {
        let observer = Observer::with_log(&name, Log::stderr(keeper::LOG))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .build()?;
        Ok::<_, std::io::Error>((observer, runtime))
    })();
    let (observer, runtime) = match started {
        Ok(started) => started,
        Err(error) => return complain(FAILED, &error),
    };
    match runtime.block_on(keeper::run(config, observer)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(FAILED, &error),
    }
}
