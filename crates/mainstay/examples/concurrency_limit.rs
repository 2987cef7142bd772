//! A callee that works at five calls at a time, and callers that want twice as much: the limit finds
//! out, and what cannot be served is shed by priority.
//! `cargo run -p mainstay --example concurrency_limit`
#![expect(
    clippy::print_stdout,
    reason = "an example shows what it does on the terminal"
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use mainstay::concurrency_limit::{AdaptiveConfig, Algorithm, Config, Priority, Vegas};
use mainstay::{Clock, ConcurrencyLimit, Deadline};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

type Callee = Arc<Semaphore>;

/// The callee: five servers of 10 ms, and a queue that nobody sees.
async fn search(servers: Callee) -> Result<(), io::Error> {
    let _server = servers.acquire().await.map_err(io::Error::other)?;
    sleep(Duration::from_millis(10)).await;
    Ok(())
}

/// A caller: its priority, and whether it was served.
async fn ask(limit: ConcurrencyLimit, priority: Priority, callee: Callee) -> (Priority, bool) {
    let answer = limit.call(Deadline::NEVER, priority, search(callee)).await;
    (priority, answer.is_ok())
}

// Time is virtual: twenty seconds pass at once, and always in the same way.
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    let clock = Clock::new();
    let limit = ConcurrencyLimit::builder("search")
        .config(Config {
            limit: AdaptiveConfig {
                algorithm: Algorithm::Vegas(Vegas::default()),
                ..AdaptiveConfig::default()
            },
            ..Config::default()
        })
        .clock(clock)
        .build()?;

    let servers = Arc::new(Semaphore::new(5));
    let mut calls = JoinSet::new();
    let mut wanted = 0;
    while clock.now().as_nanos() < 20_000_000_000 {
        for priority in [
            Priority::Low,
            Priority::Normal,
            Priority::Normal,
            Priority::Critical,
        ] {
            calls.spawn(ask(limit.clone(), priority, Arc::clone(&servers)));
            wanted += 1;
        }
        sleep(Duration::from_millis(4)).await;
    }
    let mut served = BTreeMap::<_, (u32, u32)>::new();
    for (priority, ok) in calls.join_all().await {
        let (all, good) = served.entry(priority).or_default();
        *all += 1;
        *good += u32::from(ok);
    }
    println!("of {wanted} calls, where five run at a time:");
    for (priority, (all, good)) in served.into_iter().rev() {
        let share = 100 * good / all;
        println!("  {:<8} {share:>3} % served", priority.as_str());
    }
    println!("the limit went from 20 to {}", limit.limit());
    Ok(())
}
