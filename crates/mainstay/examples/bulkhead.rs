//! Twelve calls at once where two fit and four may wait: the rest is turned away at once. Then the
//! bulkhead is made larger while it is in use.
//! `cargo run -p mainstay --example bulkhead`
#![expect(
    clippy::print_stdout,
    reason = "an example shows what it does on the terminal"
)]

use std::io::Error;
use std::num::NonZeroU32;
use std::time::Duration;

use mainstay::bulkhead::{Config, ConfigError};
use mainstay::{Bulkhead, Clock, Deadline};
use tokio::task::JoinSet;
use tokio::time::sleep;

async fn pay() -> Result<&'static str, Error> {
    sleep(Duration::from_millis(100)).await;
    Ok("paid")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ConfigError> {
    let clock = Clock::new();
    let bulkhead = Bulkhead::builder("payment")
        .config(Config {
            in_flight: NonZeroU32::MIN.saturating_add(1),
            queue: NonZeroU32::new(4),
            queue_wait: Duration::from_millis(150),
        })
        .clock(clock)
        .build()?;

    let mut calls = JoinSet::new();
    for call in 1..=12 {
        let bulkhead = bulkhead.clone();
        let deadline = Deadline::after(clock.now(), Duration::from_secs(1));
        calls.spawn(async move {
            match bulkhead.call(deadline, pay()).await {
                Ok(answer) => println!("call {call:>2}: {answer}"),
                Err(error) => println!("call {call:>2}: {error}"),
            }
        });
    }
    calls.join_all().await;

    println!("now three fit, and one of them is a blocking call:");
    bulkhead.resize(NonZeroU32::MIN.saturating_add(2), None);
    let permit = bulkhead.acquire(Deadline::NEVER).await;
    let work = tokio::task::spawn_blocking(move || {
        // The place is taken as long as the work runs, whoever waits for it.
        let _place = permit;
        "computed"
    });
    let paid = bulkhead.call(Deadline::NEVER, pay()).await;
    println!("{:?}, {:?}", work.await.ok(), paid.ok());
    println!(
        "{} in flight, {} waiting",
        bulkhead.in_flight(),
        bulkhead.queued()
    );
    Ok(())
}
