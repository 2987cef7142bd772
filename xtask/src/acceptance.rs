//! `cargo xtask acceptance`: suites that nobody here wrote, run against the keeper and against the
//! program that they were written for.
//!
//! Prevents a server that is compatible with its own idea of the protocol. Every suite runs
//! unmodified, the same way for both subjects, and the report names each test on which they differ.

mod c_client;
mod curator;
mod java;
mod kazoo;
mod oracle;
mod outcome;
mod patroni;
mod python;
mod sandbox;
mod server;
mod source;
mod zkcli;

use anyhow::Result;

/// What `acceptance` is asked to do.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    suite: Suite,
}

#[derive(Debug, clap::Subcommand)]
enum Suite {
    /// The test suite of kazoo, the Python client; five minutes for each subject.
    Kazoo(server::Choice),
    /// The tests of ZooKeeper's C client that talk to a server; ten minutes for each subject.
    CClient(server::Choice),
    /// The recipes of Apache Curator, the Java library; a minute for each subject.
    Curator(server::Choice),
    /// ZooKeeper's command line, typed at by a script; ten seconds for each subject.
    Zkcli(server::Choice),
    /// One random stream of requests to the keeper and to ZooKeeper, every answer compared.
    Oracle(oracle::Args),
    /// Patroni keeps a PostgreSQL cluster while its primaries are killed.
    Patroni(patroni::Args),
    /// What `java` is while a suite runs; called by the suites, not by hand.
    #[command(hide = true)]
    Java(java::Call),
}

/// Kazoo's suite against ours alone: passed, failed and skipped.
pub(crate) fn kazoo_on_ours() -> Result<(usize, usize, usize)> {
    let counts = kazoo::ours()?;
    Ok((counts.passed, counts.failed, counts.skipped))
}

/// Runs one suite and says whether it gave what it has to.
pub(crate) fn run(args: Args) -> Result<bool> {
    match args.suite {
        Suite::Kazoo(choice) => kazoo::run(&choice),
        Suite::CClient(choice) => c_client::run(&choice),
        Suite::Curator(choice) => curator::run(&choice),
        Suite::Zkcli(choice) => zkcli::run(&choice),
        Suite::Oracle(args) => oracle::run(&args),
        Suite::Patroni(args) => patroni::run(&args),
        Suite::Java(call) => java::become_it(&call),
    }
}
