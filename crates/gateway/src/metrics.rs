//! The gateway's metrics, read from the workers' own counts when somebody asks.
//!
//! Prevents a second bookkeeping on the request path, and labels without bound: their values are
//! the configuration's names and closed lists.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mainstay_observe::Observer;
use mainstay_observe::status::BreakerState;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::service::Service;
use crate::tally::{DURATION_BOUNDS, Denied, Tally};

const REQUESTS: &str = "mainstay_gateway_requests_total";
const DURATION: &str = "mainstay_gateway_request_duration_seconds";
const ATTEMPTS: &str = "mainstay_gateway_attempts_total";
const FAILURES: &str = "mainstay_gateway_attempt_failures_total";
const RETRIES: &str = "mainstay_gateway_retries_total";
const DENIED: &str = "mainstay_gateway_retries_denied_total";
const FALLBACKS: &str = "mainstay_gateway_fallbacks_total";
const BREAKER: &str = "mainstay_gateway_breaker_state";
const IN_FLIGHT: &str = "mainstay_gateway_in_flight";
const CONNECTIONS: &str = "mainstay_gateway_pool_connections";
const PANICS: &str = "mainstay_gateway_panics_total";

/// Names as they are scraped, and meanings.
pub const METRICS: &[(&str, &str)] = &[
    (
        REQUESTS,
        "Answers given to clients, by service and status class",
    ),
    (
        DURATION,
        "Time from a request's head to its answer's head, by service",
    ),
    (ATTEMPTS, "Attempts at endpoints, by service and endpoint"),
    (
        FAILURES,
        "Failed attempts at endpoints, by service and endpoint",
    ),
    (
        RETRIES,
        "Attempts that were not a request's first, by service",
    ),
    (
        DENIED,
        "Failed attempts that were not tried again, by service and reason",
    ),
    (FALLBACKS, "Answers from a fallback, by service and kind"),
    (
        BREAKER,
        "1 for the state that an endpoint's circuit is in, else 0",
    ),
    (IN_FLIGHT, "Requests being worked on, by service"),
    (
        CONNECTIONS,
        "Connections to endpoints, by service and state",
    ),
    (
        PANICS,
        "Requests that ended in a panic of the gateway, by service",
    ),
];

/// Lets `observer` read the metrics of `services`.
pub(crate) fn register(observer: &Observer, services: &[Arc<Service>]) {
    let metrics = Metrics(services.to_vec());
    observer.register(|registry| registry.register_collector(Box::new(metrics)));
}

#[derive(Debug)]
struct Metrics(Vec<Arc<Service>>);

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help) in METRICS {
            let kind = match *name {
                DURATION => MetricType::Histogram,
                BREAKER | IN_FLIGHT | CONNECTIONS => MetricType::Gauge,
                _ => MetricType::Counter,
            };
            // The encoder adds this to the name of a counter by itself.
            let base = name.strip_suffix("_total").unwrap_or(name);
            let mut metric = encoder.encode_descriptor(base, help, None, kind)?;
            for service in &self.0 {
                encode(name, service, &mut metric)?;
            }
        }
        Ok(())
    }
}

fn encode(name: &str, service: &Service, metric: &mut MetricEncoder<'_>) -> fmt::Result {
    match name {
        REQUESTS => requests(service, metric),
        DURATION => duration(service, metric),
        ATTEMPTS | FAILURES | BREAKER => endpoints(name, service, metric),
        RETRIES => {
            let retries = service.sum(|tally| tally.retries.load(Ordering::Relaxed));
            counter(metric, &[("service", &service.name)], retries)
        },
        DENIED => Denied::ALL
            .iter()
            .enumerate()
            .try_for_each(|(index, (_, reason))| {
                let denied = service.sum(|tally| tally.denials()[index]);
                counter(
                    metric,
                    &[("service", &service.name), ("reason", reason)],
                    denied,
                )
            }),
        FALLBACKS => {
            let stale = service.sum(|tally| tally.stale.load(Ordering::Relaxed));
            let fixed = service.sum(|tally| tally.fixed.load(Ordering::Relaxed));
            counter(
                metric,
                &[("service", &service.name), ("kind", "stale")],
                stale,
            )?;
            counter(
                metric,
                &[("service", &service.name), ("kind", "static")],
                fixed,
            )
        },
        IN_FLIGHT => gauge(
            metric,
            &[("service", &service.name)],
            u64::from(service.in_flight()),
        ),
        CONNECTIONS => {
            let open = service.sum(|tally| tally.pool_open.load(Ordering::Relaxed));
            let idle = service.sum(|tally| tally.pool_idle.load(Ordering::Relaxed));
            gauge(
                metric,
                &[("service", &service.name), ("state", "in_use")],
                open,
            )?;
            gauge(
                metric,
                &[("service", &service.name), ("state", "idle")],
                idle,
            )
        },
        _ => {
            let panics = service.sum(|tally| tally.panics.load(Ordering::Relaxed));
            counter(metric, &[("service", &service.name)], panics)
        },
    }
}

type Labels<'a> = [(&'a str, &'a str)];

fn counter(metric: &mut MetricEncoder<'_>, labels: &Labels<'_>, value: u64) -> fmt::Result {
    metric
        .encode_family(&labels)?
        .encode_counter::<NoLabelSet, _, u64>(&value, None)
}

fn gauge(metric: &mut MetricEncoder<'_>, labels: &Labels<'_>, value: u64) -> fmt::Result {
    metric.encode_family(&labels)?.encode_gauge(&value)
}

fn requests(service: &Service, metric: &mut MetricEncoder<'_>) -> fmt::Result {
    const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
    CLASSES.iter().enumerate().try_for_each(|(index, class)| {
        let count = service.sum(|tally| tally.classes()[index]);
        counter(
            metric,
            &[("service", &service.name), ("class", class)],
            count,
        )
    })
}

fn duration(service: &Service, metric: &mut MetricEncoder<'_>) -> fmt::Result {
    let mut counts = [0; DURATION_BOUNDS.len() + 1];
    let mut sum = 0.0;
    for (worker_counts, worker_sum) in service.tallies.iter().map(Tally::durations) {
        sum += worker_sum;
        for (count, more) in counts.iter_mut().zip(worker_counts) {
            *count += more;
        }
    }
    let bounds = DURATION_BOUNDS.into_iter().chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
    let labels: &Labels<'_> = &[("service", &service.name)];
    metric
        .encode_family(&labels)?
        .encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
}

fn endpoints(name: &str, service: &Service, metric: &mut MetricEncoder<'_>) -> fmt::Result {
    const STATES: [BreakerState; 3] = [
        BreakerState::Closed,
        BreakerState::Open,
        BreakerState::HalfOpen,
    ];
    let now = service.clock.now();
    for endpoint in &service.plan().endpoints {
        let labels = [("service", &*service.name), ("endpoint", &*endpoint.name)];
        match name {
            ATTEMPTS => counter(metric, &labels, endpoint.attempts.load(Ordering::Relaxed))?,
            FAILURES => counter(metric, &labels, endpoint.failures.load(Ordering::Relaxed))?,
            _ => {
                let current = endpoint.breaker_state(now);
                for state in STATES {
                    let labels = [labels[0], labels[1], ("state", state.as_str())];
                    gauge(metric, &labels, u64::from(state == current))?;
                }
            },
        }
    }
    Ok(())
}
