//! The gateway as a whole: ports first, then workers, then the drain.
//!
//! Prevents a half-started gateway: everything that can be wrong with ports and policies is an
//! error before anything runs.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use mainstay_observe::Observer;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Config;
use crate::handle::Handle;
use crate::listen;
use crate::metrics;
use crate::probe;
use crate::service::Service;
use crate::worker::Worker;

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A service's address cannot be listened on.
    #[error(
        "service `{service}` cannot listen on {address}: {source}; free the address or choose another"
    )]
    Listen {
        /// The service.
        service: Arc<str>,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A policy's values cannot work.
    #[error("service `{service}`: {reason}")]
    Policy {
        /// The service.
        service: Arc<str>,
        /// Which policy, and what is wrong with it.
        reason: String,
    },
}

/// How a gateway ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Requests that were still in flight when the drain ran out of time.
    pub cut_off: u64,
}

/// A gateway that holds its ports.
#[derive(Debug)]
pub struct Gateway {
    workers: Vec<Vec<(TcpListener, Arc<Service>)>>,
    config: Config,
    handle: Handle,
}

impl Gateway {
    /// Listens on the addresses of all services; nothing is accepted yet.
    ///
    /// # Errors
    ///
    /// [`BindError`] for the first address that is taken or policy that cannot work.
    pub fn bind(config: Config, observer: Observer) -> Result<Self, BindError> {
        let clock = Clock::start();
        let count = config.workers.get();
        let mut workers: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
        let mut services = Vec::with_capacity(config.services.len());
        for wanted in &config.services {
            let (address, listeners) =
                listen::bind(wanted.listen, count).map_err(|source| BindError::Listen {
                    service: Arc::clone(&wanted.name),
                    address: wanted.listen,
                    source,
                })?;
            let service = Service::new(wanted, address, count, clock, &observer);
            let service = Arc::new(service.map_err(|reason| BindError::Policy {
                service: Arc::clone(&wanted.name),
                reason,
            })?);
            for (worker, listener) in workers.iter_mut().zip(listeners) {
                worker.push((listener, Arc::clone(&service)));
            }
            services.push(service);
        }
        metrics::register(&observer, &services);
        let handle = Handle::new(services, clock, observer);
        Ok(Self {
            workers,
            config,
            handle,
        })
    }

    /// The services and the addresses that they really listen on, in configuration order.
    pub fn addresses(&self) -> Vec<(Arc<str>, SocketAddr)> {
        self.handle
            .shared()
            .iter()
            .map(|service| (Arc::clone(&service.name), service.listen))
            .collect()
    }

    /// The handle for whoever steers and watches the gateway.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until `shutdown`, then finishes what is in flight for at most the configured drain.
    /// Dropping the future stops the gateway too.
    pub async fn run(self, shutdown: CancellationToken) -> Drained {
        let shutdown = shutdown.child_token();
        let _stop_when_dropped = shutdown.clone().drop_guard();
        let mut probes = JoinSet::new();
        for service in self.handle.shared() {
            probes.spawn(probe::watch(Arc::clone(service)));
        }
        let mut running = Vec::new();
        for (index, listeners) in self.workers.into_iter().enumerate() {
            let worker = Worker {
                index,
                listeners,
                limits: self.config.limits,
                drain: self.config.drain,
                shutdown: shutdown.clone(),
            };
            let (done, ended) = oneshot::channel();
            let spawned = thread::Builder::new()
                .name(format!("gateway-{index}"))
                .spawn(move || {
                    // A runtime that cannot be made drops its sockets: the other workers serve.
                    let cut_off = worker.run().unwrap_or_default();
                    // Nobody waits for it when the gateway's future was dropped.
                    let _unheard: Result<(), u64> = done.send(cut_off);
                });
            if let Ok(thread) = spawned {
                running.push((thread, ended));
            }
        }
        let mut cut_off = 0;
        for (thread, ended) in running {
            cut_off += ended.await.unwrap_or_default();
            // It has nothing left to do; what it panicked with, if it did, was printed.
            drop(thread.join());
        }
        Drained { cut_off }
    }
}
