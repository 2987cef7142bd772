//! A keeper of its own: one member of an ensemble, from the files that operators of ZooKeeper have.
//!
//! Prevents a second way to stop a process: signals, log and exit are those of every node.

use std::pin::pin;
use std::time::Duration;

use mainstay_core::event::Severity;
use mainstay_keeper::server::Server;
pub use mainstay_keeper::server::{
    ConfigError, MovedIn, MovedOut, ServerConfig, ServerError, move_in, move_out,
};
use mainstay_observe::Observer;
use tokio_util::sync::CancellationToken;

use crate::node::NodeError;
use crate::signal::{Request, Signals};

/// How long the last log lines may take to be written.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// The least severity that a keeper of its own logs: `zoo.cfg` has no word for it.
pub const LOG: Severity = Severity::Info;

/// Runs a member until SIGTERM or Ctrl-C; a second one stops at once.
///
/// # Errors
/// A port or the folder cannot be used, or the member could not keep what it promised.
pub async fn run(config: ServerConfig, observer: Observer) -> Result<(), NodeError> {
    let mut signals = Signals::listen().map_err(|source| NodeError::System {
        what: "listen for signals",
        source,
    })?;
    let server = Server::start(config).await?;
    let stop = CancellationToken::new();
    let mut running = pin!(server.run(observer.clone(), stop.cancelled()));
    let ended = loop {
        tokio::select! {
            ended = &mut running => break ended,
            request = signals.next() => match request {
                Request::Stop(_) if stop.is_cancelled() => break Ok(()),
                Request::Stop(_) => stop.cancel(),
                // There is nothing to read again yet.
                Request::Reload => {},
            },
        }
    };
    observer.flush(FLUSH_MAX);
    Ok(ended?)
}
