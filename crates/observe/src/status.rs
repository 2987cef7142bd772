//! What a node looks like right now: the shape that API, dashboard and drill share.
//!
//! Services fill it in on request ([`StatusSource`]); nothing here is kept up to date behind
//! their backs.

use std::sync::Arc;

use mainstay_core::health::Verdict;
use serde::Serialize;

/// Who can say how services are doing. Asked about once a second; must not block.
pub trait StatusSource: Send + Sync + 'static {
    /// The services as they are now, in configuration order.
    fn services(&self) -> Vec<ServiceStatus>;
}

/// One service.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceStatus {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// The address it is served on.
    pub listen: String,
    /// Requests per second over the last ten seconds.
    pub rate: f64,
    /// The share of requests that got a good answer over the last ten seconds, 0 to 1; `None`
    /// without requests.
    pub success: Option<f64>,
    /// Median latency over the last ten seconds, milliseconds.
    pub p50_ms: Option<f64>,
    /// 99th percentile of latency over the last ten seconds, milliseconds.
    pub p99_ms: Option<f64>,
    /// Requests being worked on.
    pub in_flight: u32,
    /// Requests waiting in the bulkhead's queue.
    pub queued: u32,
    /// Requests since the start.
    pub requests: u64,
    /// Attempts at endpoints since the start; more than `requests` when calls were retried.
    pub attempts: u64,
    /// Answers given from a fallback since the start.
    pub fallbacks: u64,
    /// What the retry budget has left, 0 to 1.
    pub retry_budget: f64,
    /// Its endpoints.
    pub endpoints: Vec<EndpointStatus>,
}

/// One endpoint of a service.
#[derive(Clone, Debug, Serialize)]
pub struct EndpointStatus {
    /// Its name: `payment-1` for a supervised replica, else its address.
    pub name: Arc<str>,
    /// Its address.
    pub address: String,
    /// Its process, when this node supervises it.
    pub pid: Option<u32>,
    /// Restarts since the start, when this node supervises it.
    pub restarts: Option<u32>,
    /// Whether probes find it usable.
    pub health: Verdict,
    /// Its circuit.
    pub breaker: BreakerState,
    /// Milliseconds since health or breaker last changed.
    pub since_ms: u64,
    /// The last probe's result in words, for instance `200 in 1.2 ms`; empty before the first.
    pub last_check: String,
    /// Milliseconds since that probe.
    pub last_check_ms: Option<u64>,
    /// Calls in flight.
    pub in_flight: u32,
    /// Attempts since the start.
    pub attempts: u64,
    /// Attempts of which this was not the request's first, since the start.
    pub retries: u64,
    /// Failed attempts since the start.
    pub failures: u64,
    /// Peak EWMA of latency, milliseconds: what the balancer weighs.
    pub ewma_ms: f64,
}

/// The state of a circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Calls pass.
    Closed,
    /// Calls are rejected.
    Open,
    /// Probes pass.
    HalfOpen,
    /// No breaker is configured.
    Off,
}

impl BreakerState {
    /// The word on the page and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::Off => "off",
        }
    }
}
