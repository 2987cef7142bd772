//! A thousand readers ask for a price every two seconds: fresh, refreshed behind their backs, served
//! in need, too old. Time is virtual. `cargo run -p mainstay --example cache`
#![expect(
    clippy::print_stdout,
    reason = "an example shows what it does on the terminal"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, atomic};
use std::time::Duration;

use mainstay::cache::{Config, ConfigError, Served};
use mainstay::classify::ErrorsFail;
use mainstay::{Cache, Error};
use mainstay_core::freshness;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

type Price = Result<u64, &'static str>;
type Prices = Cache<&'static str, u64, &'static str>;

const SECOND: Duration = Duration::from_secs(1);

/// Gives a price, in half a second; goes down after 12 seconds.
async fn price(start: Instant, loads: Arc<atomic::AtomicU32>) -> Price {
    loads.fetch_add(1, atomic::Ordering::Relaxed);
    sleep(SECOND / 2).await;
    match start.elapsed().as_secs() {
        seconds @ ..12 => Ok(100 + seconds),
        _ => Err("connection refused"),
    }
}

/// Reads the price, from wherever it may come.
async fn read<F>(prices: Prices, load: F) -> Result<Served<u64>, Error<&'static str>>
where
    F: Future<Output = Price> + Send + 'static,
{
    prices.get_or_revalidate("tea", load, ErrorsFail).await
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), ConfigError> {
    let (start, loads) = (Instant::now(), Arc::new(atomic::AtomicU32::new(0)));
    let cache: Prices = Cache::builder("prices")
        .config(Config {
            freshness: freshness::Config {
                fresh: SECOND * 5,
                stale_while_revalidate: Some(SECOND * 3),
                stale_if_error: Some(SECOND * 10),
                ..freshness::Config::default()
            },
            ..Config::default()
        })
        .revalidate_with(|refresh| {
            #[expect(clippy::disallowed_methods, reason = "this program never waits for it")]
            drop(tokio::spawn(refresh));
        })
        .build()?;

    for _ in 0..12 {
        let asked = start.elapsed().as_secs_f32();
        let mut readers = JoinSet::new();
        for _ in 0..1_000 {
            readers.spawn(read(cache.clone(), price(start, Arc::clone(&loads))));
        }
        let mut answers = BTreeMap::new();
        for answer in readers.join_all().await {
            let answer = match answer {
                Ok(got) => format!("{} ({}, {:?} old)", got.value, got.kind.as_str(), got.age),
                Err(error) => error.to_string(),
            };
            *answers.entry(answer).or_insert(0) += 1;
        }
        let made = loads.swap(0, atomic::Ordering::Relaxed);
        println!("{asked:>5} s, {made} loads: {answers:?}");
        sleep(SECOND * 2).await;
    }
    Ok(())
}
