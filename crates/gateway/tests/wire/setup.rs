//! A gateway with small limits in front of a test's origins.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use mainstay_core::breaker;
use mainstay_gateway::config::{
    Bulkhead, Config, Endpoint, Limits, Retry, ServerErrors, Service, Timeout,
};
use mainstay_gateway::{Drained, Gateway, Handle};
use mainstay_observe::Observer;
use mainstay_observe::status::{ServiceStatus, StatusSource as _};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clients::Client;

pub(crate) fn count(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).expect("tests use positive counts")
}

/// A service named `pay` with endpoints `a`, `b`, ... and no policies but time limits.
pub(crate) fn service(endpoints: &[SocketAddr]) -> Service {
    Service {
        name: "pay".into(),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        endpoints: ["a", "b", "c"]
            .iter()
            .zip(endpoints)
            .map(|(name, address)| Endpoint {
                name: (*name).into(),
                address: *address,
            })
            .collect(),
        supervised: false,
        probe: None,
        breaker: None,
        retry: None,
        timeout: Timeout {
            total: Duration::from_secs(10),
            attempt: Duration::from_secs(5),
            connect: Duration::from_secs(2),
            endpoint: Duration::from_millis(20),
        },
        bulkhead: None,
        fallback: Vec::new(),
    }
}

pub(crate) fn retry(attempts: u32) -> Retry {
    Retry {
        attempts: count(attempts),
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(5),
        budget_ratio: 0.2,
        budget_floor: 100,
        on_status: ServerErrors::of(&[502, 503, 504]).expect("server errors"),
        replay_bytes_max: 64 * 1024,
    }
}

pub(crate) fn breaker(consecutive: u32, reopen: Duration) -> breaker::Config {
    breaker::Config {
        error_rate: Some(1.0),
        calls_min: count(1_000),
        consecutive: Some(count(consecutive)),
        window: breaker::Span::Time(Duration::from_secs(10)),
        reopen,
        reopen_max: reopen,
        probes: count(1),
        ..breaker::Config::default()
    }
}

pub(crate) fn bulkhead(in_flight: u32, queue: u32, queue_wait: Duration) -> Bulkhead {
    Bulkhead {
        in_flight: count(in_flight),
        queue: NonZeroU32::new(queue),
        queue_wait,
    }
}

pub(crate) fn limits() -> Limits {
    Limits::default()
}

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) handle: Handle,
    pub(crate) config: Config,
    pub(crate) shutdown: CancellationToken,
    pub(crate) observer: Observer,
    gateway: JoinSet<Drained>,
}

impl Running {
    pub(crate) fn start(service: Service) -> Self {
        Self::with(service, limits(), 1)
    }

    pub(crate) fn with(service: Service, limits: Limits, workers: usize) -> Self {
        let config = Config {
            workers: NonZeroUsize::new(workers).expect("tests have workers"),
            limits,
            drain: Duration::from_secs(10),
            services: vec![service],
        };
        Self::run(config)
    }

    pub(crate) fn run(config: Config) -> Self {
        let observer = Observer::new("test");
        let gateway =
            Gateway::bind(config.clone(), observer.clone()).expect("the configuration is valid");
        let shutdown = CancellationToken::new();
        let (address, handle) = (gateway.addresses()[0].1, gateway.handle());
        let mut running = JoinSet::new();
        running.spawn(gateway.run(shutdown.clone()));
        Self {
            address,
            handle,
            config,
            shutdown,
            observer,
            gateway: running,
        }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    pub(crate) fn status(&self) -> ServiceStatus {
        self.handle.services().remove(0)
    }

    /// The names of the events so far, in order.
    pub(crate) fn events(&self) -> Vec<&'static str> {
        let records = self.observer.recent(0, 1_000);
        records
            .iter()
            .map(|record| record.event.kind().name)
            .collect()
    }

    /// The end of the gateway, once it was told to stop.
    pub(crate) async fn drained(mut self) -> Drained {
        self.gateway
            .join_next()
            .await
            .expect("the gateway runs")
            .expect("the gateway does not panic")
    }
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..4_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited in vain until {what}");
}

/// An address that nobody listens on.
pub(crate) async fn nobody() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("loopback has ports");
    listener.local_addr().expect("it is bound")
}
