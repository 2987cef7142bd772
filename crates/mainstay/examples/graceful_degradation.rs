//! A service goes down: first yesterday's answers are served, then a default, and in the end
//! everything is fresh again. Time is virtual. `cargo run -p mainstay --example graceful_degradation`
#![expect(
    clippy::print_stdout,
    reason = "an example shows what it does on the terminal"
)]

use std::sync::Arc;
use std::time::Duration;

use mainstay::cache::{Config, ConfigError};
use mainstay::classify::ErrorsFail;
use mainstay::{Breaker, Cache, Error, Event, Fallback, Observe};
use mainstay_core::freshness;
use tokio::time::{Instant, sleep};

const MINUTE: Duration = Duration::from_mins(1);

/// Prints when degraded answers begin and when they end.
struct Printer;

impl Observe for Printer {
    fn observe(&self, event: Event) {
        println!("        {event:?}");
    }
}

/// Recommends, except from minute 2 to minute 12.
async fn recommend(start: Instant) -> Result<&'static str, &'static str> {
    sleep(Duration::from_millis(20)).await;
    match start.elapsed().as_secs() / 60 {
        2..12 => Err("connection refused"),
        _ => Ok("books that you will like"),
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), ConfigError> {
    let start = Instant::now();
    let observer: Arc<dyn Observe> = Arc::new(Printer);
    let cache = Cache::builder("recommendations")
        .config(Config {
            freshness: freshness::Config {
                fresh: MINUTE,
                stale_if_error: Some(MINUTE * 5),
                ..freshness::Config::default()
            },
            ..Config::default()
        })
        .observer(Arc::clone(&observer))
        .build()?;
    let fallback = Fallback::builder("recommendations")
        .observer(observer)
        .build();
    let Ok(breaker) = Breaker::builder("recommendations").build() else {
        return Ok(());
    };

    for minute in 0..15 {
        // From the inside out: the call, its breaker, what was known before, and a default.
        let call = breaker.call(recommend(start));
        let cached = cache.get_or_nested_with("Ada", call, ErrorsFail);
        let answer: Result<_, Error<&str>> = fallback
            .call_nested(
                async {
                    cached
                        .await
                        .map(|served| (served.value, served.kind.as_str()))
                },
                |_failed| async { Ok(("bestsellers", "default")) },
            )
            .await;
        match answer {
            Ok((books, from)) => println!("{minute:>2} min {from:<8} {books}"),
            Err(error) => println!("{minute:>2} min failed   {error}"),
        }
        sleep(MINUTE).await;
    }
    Ok(())
}
