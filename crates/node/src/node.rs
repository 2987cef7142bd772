//! One running node: gateway, replicas and admin, started together and stopped in order.
//!
//! Prevents half-starts and left-overs: everything that can fail for a plain reason (a taken port,
//! a missing program) fails before anything runs, and a stop goes readiness, gateway, replicas,
//! admin, so that nobody is routed to what is already gone.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mainstay_admin::{Admin, Readiness};
use mainstay_core::event::{Event, Observe};
use mainstay_core::health::Verdict;
use mainstay_core::outcome::Reason;
use mainstay_gateway::{Gateway, Handle, Rotation};
use mainstay_keeper::server::Server;
use mainstay_observe::status::{ServiceStatus, StatusSource};
use mainstay_observe::{Observer, clock};
pub use mainstay_supervisor::ReplicaStatus;
use mainstay_supervisor::config::Leash;
use mainstay_supervisor::{Change, Listener, Supervisor};
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::operator::{Operator, Stop};
use crate::port::Ports;
use crate::reload::Reloader;
use crate::replicas;
use crate::signal::Signals;
use crate::start_up::StartUp;

/// How often a node says that it is alive.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);

/// How long the last log lines may take to be written.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// The program that this node is.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its path, for commands that say `{mainstay}`.
    pub exe: PathBuf,
    /// How replicas are tied to its life.
    pub leash: Leash,
    /// Its version.
    pub version: &'static str,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The gateway's part.
    #[error(transparent)]
    Gateway(#[from] mainstay_gateway::BindError),
    /// The admin's part.
    #[error(transparent)]
    Admin(#[from] mainstay_admin::BindError),
    /// The supervisor's part.
    #[error(transparent)]
    Supervisor(#[from] mainstay_supervisor::StartError),
    /// The keeper's part.
    #[error(transparent)]
    Keeper(#[from] mainstay_keeper::server::ServerError),
    /// The data directory cannot be used.
    #[error(
        "cannot write to the data directory {path}: {source}; set `node.data_dir` to a directory that this user may write to"
    )]
    DataDir {
        /// The directory.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system refused something that every node needs.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// How a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Requests that were cut off when the drain ran out of time.
    pub cut_off: u64,
    /// Replicas that had to be killed.
    pub killed: usize,
}

/// A node whose ports are bound and whose replicas are starting.
#[derive(Debug)]
pub struct Node {
    config: Config,
    program: Program,
    ports: Ports,
    observer: Observer,
    readiness: Readiness,
    /// Told of every change of a replica.
    changed: Arc<Notify>,
    stop: Stop,
    keeper: Option<Server>,
    gateway: Gateway,
    admin: Admin,
    supervisor: Supervisor,
}

/// What runs where.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Dashboard, metrics and API.
    pub admin: SocketAddr,
    /// Each service with the address that clients use.
    pub services: Vec<(Arc<str>, SocketAddr)>,
    /// Where clients of the keeper come to.
    pub keeper: Option<SocketAddr>,
    /// The replicas that the node runs.
    pub replicas: Vec<ReplicaStatus>,
}

impl Node {
    /// Binds every port and starts every replica.
    ///
    /// # Errors
    /// A port is taken, a command does not exist, the data directory cannot be written. Nothing
    /// is left running then.
    pub async fn start(
        config: Config,
        program: Program,
        observer: Observer,
    ) -> Result<Self, NodeError> {
        let data_dir = |source| NodeError::DataDir {
            path: config.data_dir.display().to_string(),
            source,
        };
        std::fs::create_dir_all(&config.data_dir).map_err(data_dir)?;
        let ports = Ports::choose(&config.services).map_err(|source| NodeError::System {
            what: "choose ports for replicas",
            source,
        })?;
        let gateway = Gateway::bind(replicas::gateway(&config, &ports), observer.clone())?;
        // Replicas may need it from their first moment on.
        let keeper = match &config.keeper {
            Some(keeper) => Some(Server::start(keeper.clone()).await?),
            None => None,
        };
        let handle = gateway.handle();
        let (changed, stop) = (Arc::new(Notify::new()), Stop::default());
        let listener = listener(handle.clone(), Arc::clone(&changed), stop.replicas.clone());
        let supervised = replicas::supervised(&config, &ports, &program);
        let supervisor = Supervisor::start(
            supervised,
            program.leash.clone(),
            observer.clone(),
            listener,
        )?;
        let sources: Arc<dyn StatusSource> = Arc::new(Sources {
            gateway: handle,
            supervisor: supervisor.handle(),
        });
        let readiness = Readiness::new();
        let admin = Admin::bind(config.admin, observer.clone(), sources, readiness.clone()).await?;
        Ok(Self {
            config,
            program,
            ports,
            observer,
            readiness,
            changed,
            stop,
            keeper,
            gateway,
            admin,
            supervisor,
        })
    }

    /// What runs where.
    pub fn summary(&self) -> Summary {
        Summary {
            admin: self.admin.address(),
            services: self.gateway.addresses(),
            keeper: self.keeper.as_ref().map(Server::address),
            replicas: self.supervisor.handle().replicas(),
        }
    }

    /// Runs until SIGTERM or Ctrl-C, then drains and stops everything; a second one stops at once.
    ///
    /// `announce` is called once, when every replica is ready or
    /// [`crate::start_up::ANNOUNCE_MAX`] has passed.
    ///
    /// # Errors
    /// The data directory cannot be written, or signals cannot be listened for.
    pub async fn run(
        self,
        announce: impl FnOnce(&Summary) + Send + 'static,
    ) -> Result<Stopped, NodeError> {
        let signals = Signals::listen().map_err(|source| NodeError::System {
            what: "listen for signals",
            source,
        })?;
        self.write_node_file()?;
        let summary = self.summary();
        let Self {
            config,
            program,
            ports,
            observer,
            readiness,
            changed,
            stop,
            keeper,
            gateway,
            admin,
            supervisor,
        } = self;
        let start_up = StartUp {
            summary,
            replicas: supervisor.handle(),
            changed,
            readiness: readiness.clone(),
            observer: observer.clone(),
            version: program.version,
        };
        let operator = Operator {
            signals,
            replicas: supervisor.handle(),
            reloader: Reloader::new(config, ports, gateway.handle(), observer.clone()),
            observer: observer.clone(),
            readiness,
            stop: stop.clone(),
        };
        let mut background = JoinSet::new();
        background.spawn(heartbeats(observer.clone(), stop.background.clone()));
        background.spawn(admin.run(stop.background.clone()));
        if let Some(keeper) = keeper {
            let shutdown = stop.background.clone();
            let observer = observer.clone();
            // How it ended was told as an event; the rest of the node goes on.
            background.spawn(async move {
                drop(keeper.run(observer, shutdown.cancelled_owned()).await);
            });
        }
        background.spawn({
            let shutdown = stop.gateway.clone();
            async move {
                shutdown.run_until_cancelled(start_up.run(announce)).await;
            }
        });
        let draining = gateway.run(stop.gateway.clone());
        let stopping = supervisor.run(stop.replicas.clone());
        let stopped = operator.serve(draining, stopping).await;
        observer.observe(Event::NodeStopped {
            cut_off: stopped.cut_off,
        });
        stop.background.cancel();
        background.join_all().await;
        observer.flush(FLUSH_MAX);
        Ok(stopped)
    }

    /// Tells other programs where this node can be found.
    fn write_node_file(&self) -> Result<(), NodeError> {
        let summary = self.summary();
        let services: Vec<_> = summary
            .services
            .iter()
            .map(|(name, listen)| json!({"name": name, "listen": listen.to_string()}))
            .collect();
        let document = json!({
            "schema": "mainstay.node/v1",
            "name": self.config.name,
            "pid": std::process::id(),
            "admin": summary.admin.to_string(),
            "keeper": summary.keeper.map(|listen| listen.to_string()),
            "services": services,
        });
        let path = self.config.data_dir.join("node.json");
        let partial = self.config.data_dir.join("node.json.partial");
        std::fs::write(&partial, format!("{document:#}\n"))
            .and_then(|()| std::fs::rename(&partial, &path))
            .map_err(|source| NodeError::DataDir {
                path: path.display().to_string(),
                source,
            })
    }
}

/// Hears of every change of a replica, until replicas are told to stop: nobody calls them any more
/// then, so their end is no failure to tell.
fn listener(gateway: Handle, changed: Arc<Notify>, stopping: CancellationToken) -> Listener {
    Arc::new(move |change| {
        if !stopping.is_cancelled() {
            follow(&gateway, &change);
        }
        changed.notify_one();
    })
}

/// What happens to a replica changes the rotation before anything else hears of it.
fn follow(gateway: &Handle, change: &Change) {
    let (service, replica, rotation) = match change {
        Change::Started {
            service, replica, ..
        } => (service, replica, Rotation::Starting),
        Change::Ready { service, replica } => (service, replica, Rotation::In),
        Change::Unready { service, replica } => (service, replica, Rotation::Out(Reason::Probe)),
        Change::Exited {
            service, replica, ..
        } => (service, replica, Rotation::Out(Reason::Exited)),
    };
    let known = gateway.set_endpoint(service, replica, rotation);
    debug_assert!(
        known,
        "supervisor and gateway got their names from one place"
    );
}

async fn heartbeats(observer: Observer, shutdown: CancellationToken) {
    let mut every = tokio::time::interval(HEARTBEAT_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    while shutdown.run_until_cancelled(every.tick()).await.is_some() {
        observer.observe(Event::Heartbeat {
            node_id: Arc::clone(observer.node()),
            status: Verdict::Healthy,
            timestamp: clock::unix_seconds(),
        });
    }
}

/// The gateway's view of services, with what the supervisor knows of their processes.
struct Sources {
    gateway: Handle,
    supervisor: mainstay_supervisor::Handle,
}

impl StatusSource for Sources {
    fn services(&self) -> Vec<ServiceStatus> {
        let mut services = self.gateway.services();
        for replica in self.supervisor.replicas() {
            let endpoint = services
                .iter_mut()
                .filter(|service| service.name == replica.service)
                .flat_map(|service| &mut service.endpoints)
                .find(|endpoint| endpoint.name == replica.replica);
            if let Some(endpoint) = endpoint {
                endpoint.pid = replica.pid;
                endpoint.restarts = Some(replica.restarts);
                endpoint.health = replica.verdict;
                endpoint.last_check = replica.last_check;
                endpoint.last_check_ms = replica
                    .last_check_ago
                    .and_then(|ago| u64::try_from(ago.as_millis()).ok());
            }
        }
        services
    }
}
