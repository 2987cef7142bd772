//! A gateway with all policies on, for measuring: `proxy LISTEN ENDPOINT...`.
//!
//! Prevents figures of a gateway that nobody runs: breaker, retries, budget, bulkhead, timeouts
//! and stale answers are on, as a configuration file would have them.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use mainstay_gateway::Gateway;
use mainstay_gateway::config::{
    Breaker, Bulkhead, Config, Endpoint, Fallback, Limits, Retry, Service, Timeout,
};
use mainstay_observe::Observer;
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let addresses = std::env::args()
        .skip(1)
        .map(|argument| argument.parse())
        .collect::<Result<Vec<SocketAddr>, _>>()?;
    let [listen, endpoints @ ..] = addresses.as_slice() else {
        return Err("usage: proxy LISTEN ENDPOINT...".into());
    };
    let config = Config {
        workers: NonZeroUsize::MIN,
        limits: Limits::default(),
        drain: Duration::from_secs(5),
        services: vec![service(*listen, endpoints)],
    };
    let gateway = Gateway::bind(config, Observer::new("bench"))?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(gateway.run(CancellationToken::new()));
    Ok(())
}

fn service(listen: SocketAddr, endpoints: &[SocketAddr]) -> Service {
    let count = |count: u32| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
    Service {
        name: "bench".into(),
        listen,
        endpoints: endpoints
            .iter()
            .map(|address| Endpoint {
                name: address.to_string().into(),
                address: *address,
            })
            .collect(),
        supervised: false,
        probe: None,
        breaker: Some(Breaker {
            error_rate: 0.5,
            calls_min: count(20),
            consecutive: Some(count(5)),
            window: Duration::from_secs(10),
            reopen: Duration::from_secs(5),
            reopen_max: Duration::from_mins(1),
            probes: count(3),
        }),
        retry: Some(Retry {
            attempts: count(3),
            backoff_min: Duration::from_millis(25),
            backoff_max: Duration::from_millis(250),
            budget_ratio: 0.2,
            budget_floor: 10,
            on_status: mainstay_gateway::config::ServerErrors::default(),
            replay_bytes_max: 64 * 1024,
        }),
        timeout: Timeout {
            total: Duration::from_secs(3),
            attempt: Duration::from_secs(1),
            connect: Duration::from_millis(250),
        },
        bulkhead: Some(Bulkhead {
            in_flight: count(512),
            queue: Some(count(64)),
            queue_wait: Duration::from_millis(200),
        }),
        fallback: vec![Fallback::Stale(Duration::from_mins(10))],
    }
}
