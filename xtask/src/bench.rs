//! `cargo xtask bench`: Mainstay beside its peers, in one run on one machine.
//!
//! Prevents figures without a peer: subjects take turns within each round, so that a busy minute of
//! the machine hits all of them, and ratios are taken within a round.

mod busy;
mod gateway;
mod http;
mod instructions;
mod keeper;
mod origin;
mod policies;
mod report;
mod subject;
mod wrk;

use anyhow::Result;

/// What `bench` is asked to do.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    suite: Suite,
}

#[derive(Debug, clap::Subcommand)]
enum Suite {
    /// The gateway beside `HAProxy` and nginx, one core each, wrk and the origin on the other.
    Gateway(gateway::Args),
    /// The keeper beside ZooKeeper and etcd, three members each.
    Keeper(keeper::Args),
    /// The policies beside other libraries' policies, in one process.
    Policies(policies::Args),
}

/// Runs one suite; a benchmark has no negative verdict, only figures or an error.
pub(crate) fn run(args: &Args) -> Result<bool> {
    match &args.suite {
        Suite::Gateway(args) => gateway::run(args)?,
        Suite::Keeper(args) => keeper::run(args)?,
        Suite::Policies(args) => policies::run(args)?,
    }
    Ok(true)
}
