//! The one thread that starts replicas.
//!
//! Prevents replicas that die for no reason: `PR_SET_PDEATHSIG` fires when the *thread* that
//! forked ends, not the process. A runtime's worker or blocking thread may end at any time, so
//! all replicas are started from this thread, which ends when the last [`Spawner`] is dropped and
//! not before. Dropping it therefore kills whatever it started and is still running.

use std::io;
use std::process::{Child, Command};
use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;

/// Asks the thread to start processes; the last one keeps it alive.
#[derive(Clone, Debug)]
pub(crate) struct Spawner {
    // Each replica waits for its reply, so there are never more requests than replicas.
    requests: mpsc::Sender<Request>,
}

#[derive(Debug)]
struct Request {
    command: Command,
    reply: oneshot::Sender<io::Result<Child>>,
}

impl Spawner {
    /// Starts the thread.
    pub(crate) fn start() -> io::Result<Self> {
        let (requests, inbox) = mpsc::channel();
        thread::Builder::new()
            .name("replica-spawner".to_owned())
            .spawn(move || {
                for request in inbox {
                    serve(request);
                }
            })?;
        Ok(Self { requests })
    }

    /// Starts `command` from the thread.
    pub(crate) async fn spawn(&self, command: Command) -> io::Result<Child> {
        let (reply, started) = oneshot::channel();
        let ended = || io::Error::other("the thread that starts replicas has ended");
        self.requests
            .send(Request { command, reply })
            .map_err(|_| ended())?;
        started.await.map_err(|_| ended())?
    }
}

fn serve(Request { mut command, reply }: Request) {
    // Nobody waits for the child any more: end it, so that it is not left over.
    if let Err(Ok(mut unwanted)) = reply.send(command.spawn()) {
        let _ended = unwanted.kill().and_then(|()| unwanted.wait());
    }
}
