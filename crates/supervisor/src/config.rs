//! What the supervisor runs, already validated.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::restart;
use mainstay_observe::probe::Probe;

/// The replicas of one service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name; replicas are called `<name>-1`, `<name>-2` and so on.
    pub name: Arc<str>,
    /// Program and arguments; `{port}` and `{replica}` (the replica's name) are filled in. A
    /// relative path of the program starts in `dir`.
    pub command: Vec<String>,
    /// The port of each replica, kept over restarts; one replica per entry.
    pub ports: Vec<u16>,
    /// Added to the environment, after `MAINSTAY_SERVICE`, `MAINSTAY_REPLICA` and `PORT`.
    pub env: BTreeMap<String, String>,
    /// Working directory.
    pub dir: Option<PathBuf>,
    /// Between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// How restarts are spaced.
    pub restart: restart::Policy,
    /// Holds back the other probes until it succeeds once; failing for `within` kills.
    pub startup: Option<Startup>,
    /// Decides whether requests are routed to the replica.
    pub readiness: Option<Probe>,
    /// Decides whether the replica is killed and started again.
    pub liveness: Option<Probe>,
}

/// The startup probe: gives a slow starter time.
#[derive(Clone, Debug)]
pub struct Startup {
    /// What is asked.
    pub probe: Probe,
    /// How long the start may take.
    pub within: Duration,
}

/// How replicas are tied to the life of this process.
#[derive(Clone, Debug)]
pub struct Leash {
    /// Command that binds itself to its parent's life and then becomes the replica:
    /// `<leash…> <parent pid> <program> <args…>`. See [`crate::leash::exec`].
    pub exec: Vec<String>,
    /// Command that kills the process groups it was told of once its standard input closes. See
    /// [`crate::warden::run`].
    pub warden: Vec<String>,
}

impl Leash {
    /// The leash of a program that offers `exec` and `warden` as subcommands of its own.
    ///
    /// `/proc/self/exe` is the program that runs right now, even after an upgrade replaced its
    /// file: parent and child never differ in what they say to each other.
    pub fn of_this_program(exec: &str, warden: &str) -> Self {
        let own = |verb: &str| vec!["/proc/self/exe".to_owned(), verb.to_owned()];
        Self {
            exec: own(exec),
            warden: own(warden),
        }
    }
}
